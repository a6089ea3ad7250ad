//! What a request must look like, whatever it says: its method, the type of its body, the size of JSON.

use std::sync::Arc;

use crate::config::policy::Shape;

/// How a request does not look as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    Method,
    ContentType,
    JsonSize,
    JsonDepth,
}

impl Misfit {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Method => "threat_method",
            Self::ContentType => "threat_content_type",
            Self::JsonSize => "threat_json_size",
            Self::JsonDepth => "threat_json_depth",
        }
    }

    /// What it is called beside the rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::ContentType => "content_type",
            Self::JsonSize => "json_size",
            Self::JsonDepth => "json_depth",
        }
    }

    /// What it is refused with. The nesting of a body is found out when some of it went on: the rest is not read.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::ContentType => 415,
            Self::JsonSize | Self::JsonDepth => 413,
        }
    }
}

/// What is known of a request when its head is here.
#[derive(Clone, Copy, Debug)]
pub struct Arriving<'a> {
    pub method: &'a str,
    pub has_body: bool,
    /// The length of the body, where it was announced.
    pub announced: Option<u64>,
    /// None: no line of it, or several.
    pub content_type: Option<&'a [u8]>,
    /// There are several: each reads the one it likes.
    pub is_ambiguous: bool,
    /// The body is compressed: what is in it cannot be seen.
    pub is_encoded: bool,
}

/// Whether this method is taken. Where GET is, HEAD is: it asks for the same.
pub fn takes(shape: &Shape, method: &str) -> bool {
    let is_named = |method: &str| shape.methods.iter().any(|named| **named == *method);
    shape.methods.is_empty() || is_named(method) || method == "HEAD" && is_named("GET")
}

/// The methods that are taken, as they stand in `Allow`.
pub fn allowed(shape: &Shape) -> String {
    let mut allowed = shape.methods.join(", ");
    if takes(shape, "HEAD") && !shape.methods.iter().any(|method| **method == *"HEAD") {
        allowed.push_str(", HEAD");
    }
    allowed
}

/// What does not fit, if something does not.
pub fn misfit(shape: &Shape, arriving: &Arriving<'_>) -> Option<Misfit> {
    if !takes(shape, arriving.method) {
        return Some(Misfit::Method);
    }
    if !arriving.has_body {
        return None;
    }
    // What is no media type is read by each as it likes, as several lines are.
    let content_type = arriving.content_type.filter(|line| is_one_type(line));
    let is_ambiguous = arriving.is_ambiguous || content_type.is_none() && arriving.content_type.is_some();
    if !shape.content_types.is_empty() && !allows(&shape.content_types, content_type) {
        return Some(Misfit::ContentType);
    }
    let json = shape.json.filter(|_| is_ambiguous || content_type.is_some_and(is_json))?;
    if is_ambiguous || arriving.is_encoded || content_type.is_some_and(is_in_other_letters) {
        return Some(Misfit::ContentType);
    }
    arriving.announced.filter(|bytes| *bytes > json.max_bytes).map(|_| Misfit::JsonSize)
}

/// Whether a body of this type is JSON: `application/json`, `text/json`, or a type that ends in `+json` (RFC 6839).
pub fn is_json(content_type: &[u8]) -> bool {
    let kind = media_type(content_type);
    let suffix = kind.len().checked_sub(b"+json".len()).and_then(|at| kind.get(at..));
    kind.eq_ignore_ascii_case(b"application/json")
        || kind.eq_ignore_ascii_case(b"text/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
}

fn allows(patterns: &[Arc<str>], content_type: Option<&[u8]>) -> bool {
    let kind = content_type.map(media_type);
    patterns.iter().any(|pattern| match (pattern.strip_suffix("/*"), kind) {
        (Some("*"), _) => true,
        (_, None) => false,
        (Some(family), Some(kind)) => kind
            .split_at_checked(family.len())
            .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(family.as_bytes()) && rest.starts_with(b"/")),
        (None, Some(kind)) => kind.eq_ignore_ascii_case(pattern.as_bytes()),
    })
}

/// Whether the type says that its text is not in UTF-8, in which alone brackets are looked for. US-ASCII is a part of it.
fn is_in_other_letters(content_type: &[u8]) -> bool {
    let charset = |parameter: &[u8]| {
        let at = memchr::memchr(b'=', parameter)?;
        let (name, value) = (parameter.get(..at)?, parameter.get(at + 1..)?);
        name.trim_ascii().eq_ignore_ascii_case(b"charset").then(|| {
            let value = value.trim_ascii();
            !["utf-8", "\"utf-8\"", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known.as_bytes()))
        })
    };
    content_type.split(|octet| *octet == b';').skip(1).filter_map(charset).any(|is_other| is_other)
}

/// Whether this is one media type (RFC 9110 section 8.3.1): two tokens with a slash between them, and nothing behind it that could
/// be read as another. Parameters may be sloppy, as those of honest clients are.
fn is_one_type(content_type: &[u8]) -> bool {
    let is_token = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet))
    };
    let kind = media_type(content_type);
    let Some((family, of)) = memchr::memchr(b'/', kind).and_then(|at| kind.get(..at).zip(kind.get(at + 1..))) else {
        return false;
    };
    if !is_token(family) || !is_token(of) {
        return false;
    }
    let (mut is_quoted, mut is_escaped) = (false, false);
    for octet in content_type {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return false,
            _ => {}
        }
    }
    !is_quoted
}

/// The type without its parameters.
fn media_type(content_type: &[u8]) -> &[u8] {
    content_type.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::policy::JsonShape;

    const JSON: Option<&[u8]> = Some(b"application/json; charset=utf-8");

    #[track_caller]
    fn check(method: &str, body: Option<(Option<&[u8]>, Option<u64>)>, expected: Option<Misfit>) {
        let shape = Shape {
            methods: vec!["GET".into(), "POST".into()],
            content_types: vec!["application/json".into(), "image/*".into()],
            json: Some(JsonShape { max_bytes: 100, max_depth: 3 }),
        };
        let (content_type, announced) = body.unwrap_or_default();
        let arriving = Arriving {
            method,
            has_body: body.is_some(),
            announced,
            content_type,
            is_ambiguous: false,
            is_encoded: false,
        };
        assert_eq!(misfit(&shape, &arriving), expected);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        check("DELETE", None, Some(Misfit::Method));
        check("get", None, Some(Misfit::Method));
        check("HEAD", None, None);
        check("head", None, Some(Misfit::Method));
        check("POST", Some((None, None)), Some(Misfit::ContentType));
        check("POST", Some((Some(b"text/xml"), None)), Some(Misfit::ContentType));
        check("POST", Some((Some(b"application/jsonx"), None)), Some(Misfit::ContentType));
        check("POST", Some((Some(b"imagex/png"), None)), Some(Misfit::ContentType));
        check("POST", Some((JSON, Some(101))), Some(Misfit::JsonSize));
        check("POST", Some((JSON, Some(100))), None);
        check("POST", Some((JSON, None)), None);
        check("POST", Some((Some(b"Image/PNG"), Some(1000))), None);
        check("GET", None, None);
    }

    #[test]
    fn head_is_allowed_where_get_is() {
        let told = |methods: &[&str]| {
            let methods = methods.iter().map(|method| (*method).into()).collect();
            allowed(&Shape { methods, ..Shape::default() })
        };
        assert_eq!(told(&["GET", "POST"]), "GET, POST, HEAD");
        assert_eq!(told(&["HEAD", "GET"]), "HEAD, GET");
        assert_eq!(told(&["POST"]), "POST");
    }

    #[test]
    fn json_that_cannot_be_judged_is_refused() {
        let shape = Shape { json: Some(JsonShape { max_bytes: 100, max_depth: 3 }), ..Shape::default() };
        let plain = Arriving {
            method: "POST",
            has_body: true,
            announced: None,
            content_type: JSON,
            is_ambiguous: false,
            is_encoded: false,
        };
        let compressed = Arriving { is_encoded: true, ..plain };
        let ambiguous = Arriving { content_type: None, is_ambiguous: true, ..plain };
        assert_eq!(misfit(&shape, &compressed), Some(Misfit::ContentType));
        assert_eq!(misfit(&shape, &ambiguous), Some(Misfit::ContentType));
        assert_eq!(misfit(&shape, &Arriving { content_type: Some(b"text/plain"), ..compressed }), None);
        assert_eq!(misfit(&shape, &plain), None);
        let of = |content_type: &'static str| Arriving { content_type: Some(content_type.as_bytes()), ..plain };
        for (parameters, expected) in [
            ("; charset=UTF-8", None),
            (";charset=\"utf-8\"; profile=x", None),
            ("; version=utf-16", None),
            ("; charset=utf-16", Some(Misfit::ContentType)),
            ("; profile=x ;CHARSET = UTF-16LE", Some(Misfit::ContentType)),
            ("; charset=utf-8; charset=utf-7", Some(Misfit::ContentType)),
            ("; charset=", Some(Misfit::ContentType)),
        ] {
            let content_type = format!("application/json{parameters}");
            let arriving = Arriving { content_type: Some(content_type.as_bytes()), ..plain };
            assert_eq!(misfit(&shape, &arriving), expected, "{parameters}");
        }
        assert_eq!(misfit(&shape, &of("text/plain; charset=utf-16")), None);
        assert_eq!(misfit(&Shape::default(), &compressed), None);
    }

    #[test]
    fn a_line_with_several_types_is_none() {
        let json = Shape { json: Some(JsonShape { max_bytes: 100, max_depth: 3 }), ..Shape::default() };
        let listed = Shape { content_types: vec!["text/*".into(), "application/json".into()], ..Shape::default() };
        let anything = Shape { content_types: vec!["*/*".into()], ..Shape::default() };
        for (content_type, is_refused) in [
            ("application/json , text/plain", true),
            ("text/plain,application/json", true),
            ("text/plain; charset=utf-8, application/json", true),
            ("text/plain; a=\"b\\\", c\", application/json", true),
            ("text/plain; a=\"never closed, application/json", true),
            ("application/json text/plain", true),
            ("application / json", true),
            ("text/plain; a=\"b, c\"", false),
            ("text/plain; a=\"b\\\", c\"", false),
            ("text/plain;", false),
            ("text/plain", false),
        ] {
            let arriving = Arriving {
                method: "POST",
                has_body: true,
                announced: None,
                content_type: Some(content_type.as_bytes()),
                is_ambiguous: false,
                is_encoded: false,
            };
            let expected = is_refused.then_some(Misfit::ContentType);
            assert_eq!(misfit(&json, &arriving), expected, "{content_type}");
            assert_eq!(misfit(&listed, &arriving), expected, "{content_type}");
            assert_eq!(misfit(&anything, &arriving), None, "{content_type}");
        }
    }

    #[test]
    fn json_is_known_by_its_type() {
        for (text, expected) in [
            ("text/plain", false),
            ("application/jsonp", false),
            ("", false),
            ("json", false),
            ("APPLICATION/JSON", true),
            ("application/problem+json;charset=utf-8", true),
            ("application/vnd.api+JSON", true),
            ("text/json", true),
        ] {
            assert_eq!(is_json(text.as_bytes()), expected, "{text}");
        }
    }
}
