//! The policy `cors`: which origins' scripts may read the answers (Fetch standard, CORS protocol).

use std::sync::Arc;
use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader, is_word};
use crate::config::report::Fault;
use crate::config::tree::Node;

/// `cors`. With `credentials`, origins, methods, headers and exposed headers are all listed by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub allow_origins: CorsOrigins,
    /// Upper case.
    pub allow_methods: Names,
    /// Lower case.
    pub allow_headers: Names,
    /// Lower case.
    pub expose_headers: Vec<Arc<str>>,
    pub credentials: bool,
    /// How long a browser may keep a preflight's answer; none: its own default.
    pub max_age: Option<Duration>,
}

/// The origins that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    Any,
    /// Serialised origins (`https://app.example.com`, lower case), and host wildcards (`https://*.example.com`, kept
    /// as the text before and after the star).
    List {
        exact: Vec<Arc<str>>,
        wildcard: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// Names that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Any,
    List(Vec<Arc<str>>),
}

/// What is allowed where nobody says otherwise: what browsers' own forms and the usual clients send.
const DEFAULT_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const ORIGIN: Kind =
    Kind::Text { what: "an origin such as `https://app.example.com`", sample: "https://app.example.com" };
const METHOD: Kind = Kind::Text { what: "a method", sample: "GET" };

/// The declaration of the policy.
pub(super) static CORS: Section = Section {
    name: "cors",
    doc: "Which origins' scripts may read the answers (Fetch standard, CORS protocol). Preflights are answered here.",
    fields: &[&[
        Field::new(
            "allow_origins",
            Kind::OneOrMany(&ORIGIN),
            "Origins that are let in: `https://app.example.com`, `https://*.example.com`, or `\"*\"` for any.",
        )
        .required(),
        Field::new(
            "allow_methods",
            Kind::OneOrMany(&METHOD),
            "Methods that are let in; `\"*\"`: any (not with credentials).",
        )
        .default("[GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]"),
        Field::new(
            "allow_headers",
            Kind::OneOrMany(&HEADER),
            "Request headers that are let in; `\"*\"`: any (not with credentials). The default is any without credentials, and `accept`, `authorization`, `content-type` and `x-requested-with` with them.",
        ),
        Field::new("expose_headers", Kind::OneOrMany(&HEADER), "Response headers that scripts may read.").default("[]"),
        Field::new(
            "credentials",
            Kind::Boolean,
            "Whether cookies and authorization may be sent along; origins must then be named.",
        )
        .default("false"),
        Field::new(
            "max_age",
            Kind::Duration { min: "0s", max: "24h" },
            "How long a browser may keep a preflight's answer; the default is the browser's own, `0s` forbids it.",
        ),
    ]],
};

/// Headers that are let in with credentials where nobody names them.
const CREDENTIAL_HEADERS: [&str; 4] = ["accept", "authorization", "content-type", "x-requested-with"];

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Cors> {
    let mut fields = reader.section(node, &CORS)?;
    let credentials = fields.boolean("credentials");
    let allow_origins = fields.get("allow_origins", |reader, node, field| {
        let origins = reader.one_or_many(node, &field.kind, |reader, node| reader.parse(node, &ORIGIN, origin))?;
        if origins.is_empty() {
            reader.error(
                node.place,
                Fault::invalid("no origin is named here").hint("allow_origins: [\"https://app.example.com\"]"),
            );
            return None;
        }
        if origins.contains(&OriginPattern::Any) && credentials == Some(true) {
            let fault =
                Fault::new(Code::Conflict, "any origin together with credentials would let every site act as the user")
                    .hint("name the origins, or remove `credentials`");
            reader.error(node.place, fault);
        }
        Some(gather(origins))
    });
    let with_credentials = credentials.unwrap_or_default();
    let allow_methods = names(&mut fields, "allow_methods", with_credentials, method);
    let allow_headers = names(&mut fields, "allow_headers", with_credentials, |reader, node, kind| {
        reader.parse(node, kind, name::header)
    });
    let expose_headers = fields.list_of("expose_headers", |reader, node, kind| reader.parse(node, kind, name::header));
    let max_age = if fields.written("max_age").is_some() { fields.duration("max_age").map(Some) } else { Some(None) };
    Some(Cors {
        allow_origins: allow_origins?,
        allow_methods: allow_methods?.unwrap_or_else(|| list(&DEFAULT_METHODS)),
        allow_headers: allow_headers?
            .unwrap_or_else(|| if with_credentials { list(&CREDENTIAL_HEADERS) } else { Names::Any }),
        expose_headers: expose_headers?,
        credentials: credentials?,
        max_age: max_age?,
    })
}

fn list(names: &[&str]) -> Names {
    Names::List(names.iter().map(|name| (*name).into()).collect())
}

fn method(reader: &mut Reader<'_>, node: &Node<'_>, kind: &Kind) -> Option<Arc<str>> {
    reader.method(node, kind)
}

/// A list of names or the star; none where nothing was written.
fn names(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    credentials: bool,
    read: impl Fn(&mut Reader<'_>, &Node<'_>, &Kind) -> Option<Arc<str>>,
) -> Read<Option<Names>> {
    if fields.written(key).is_none() {
        return Some(None);
    }
    let found = fields.list_of(key, |reader, node, kind| {
        if is_word(node, "*") {
            if credentials {
                let fault = Fault::new(Code::Conflict, "with credentials, `*` is a name like any other to browsers")
                    .hint("write the names out");
                reader.error(node.place, fault);
                return None;
            }
            return Some(None);
        }
        read(reader, node, kind).map(Some)
    })?;
    Some(Some(found.into_iter().collect::<Option<Vec<_>>>().map_or(Names::Any, Names::List)))
}

#[derive(Debug, PartialEq)]
enum OriginPattern {
    Any,
    Exact(Arc<str>),
    Wildcard(Arc<str>, Arc<str>),
}

fn gather(origins: Vec<OriginPattern>) -> CorsOrigins {
    let (mut exact, mut wildcard) = (Vec::new(), Vec::new());
    for origin in origins {
        match origin {
            OriginPattern::Any => return CorsOrigins::Any,
            OriginPattern::Exact(text) => exact.push(text),
            OriginPattern::Wildcard(before, after) => wildcard.push((before, after)),
        }
    }
    CorsOrigins::List { exact, wildcard }
}

/// An origin as browsers serialise it: scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Result<OriginPattern, Fault> {
    if text == "*" {
        return Ok(OriginPattern::Any);
    }
    if text == "null" {
        return Err(Fault::invalid(
            "the origin `null` is claimed by any sandboxed page: letting it in lets everybody in",
        ));
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, authority)) = lower.split_once("://") else {
        return Err(Fault::invalid("this is not an origin")
            .hint("an origin has a scheme and a host: `https://app.example.com`"));
    };
    let sound_scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    if !sound_scheme || authority.contains(['/', '?', '#', '@']) {
        return Err(
            Fault::invalid("this is not an origin").hint("an origin ends after the host and port, without a slash")
        );
    }
    let (wild, rest) = authority.strip_prefix("*.").map_or((false, authority), |rest| (true, rest));
    let port_at = rest.rfind(':').filter(|at| !rest.get(*at..).is_some_and(|tail| tail.contains(']')));
    let (host, port) = port_at.map_or((rest, None), |at| (&rest[..at], rest.get(at + 1..)));
    let host = name::host(host)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let port = match port.map(str::parse::<u16>) {
        None => String::new(),
        Some(Ok(80)) if scheme == "http" => String::new(),
        Some(Ok(443)) if scheme == "https" => String::new(),
        Some(Ok(port)) if port > 0 => format!(":{port}"),
        Some(_) => return Err(Fault::invalid("this port is not a number between 1 and 65535")),
    };
    Ok(if wild {
        OriginPattern::Wildcard(format!("{scheme}://").into(), format!(".{host}{port}").into())
    } else {
        OriginPattern::Exact(format!("{scheme}://{host}{port}").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&OriginPattern>) {
        assert_eq!(origin(text).ok().as_ref(), expected, "{text}");
    }

    #[test]
    fn origins() {
        let exact = |text: &str| OriginPattern::Exact(text.into());
        check("*", Some(&OriginPattern::Any));
        check("HTTPS://App.Example.com", Some(&exact("https://app.example.com")));
        check("https://a.example:443", Some(&exact("https://a.example")));
        check("http://[::1]:3000", Some(&exact("http://[::1]:3000")));
        check("http://localhost:3000", Some(&exact("http://localhost:3000")));
        check("https://*.example.com", Some(&OriginPattern::Wildcard("https://".into(), ".example.com".into())));
        for wrong in ["null", "app.example.com", "https://a/", "https://", "https://*", "https://a:x", "https://a*b"] {
            check(wrong, None);
        }
    }
}
