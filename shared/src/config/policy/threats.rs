//! The policy `threats`: requests that look like an attack.

use std::sync::Arc;

use crate::config::field::{Field, Kind, ON, Section};
use crate::config::fields::Fields;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::{Reader, closest, is_word};
use crate::config::report::Fault;
use crate::config::tree::{Node, Value};

/// `threats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threats {
    pub mode: ThreatMode,
    /// A request whose rules add up to this is blocked.
    pub score: u32,
    /// By rule, over the built-in set: another score, or `off` (0).
    pub rules: Vec<(Arc<str>, u32)>,
    pub shape: Shape,
}

/// What becomes of a request that reaches the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreatMode {
    /// Counted and told in the audit row.
    Shadow,
    Block,
}

/// What a request must look like; refused whatever the score, or told in shadow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Any of these (upper case); empty: all.
    pub methods: Vec<Arc<str>>,
    /// Of requests with a body: media types, `application/*` and `*/*` too; empty: all.
    pub content_types: Vec<Arc<str>>,
    pub json: Option<JsonShape>,
}

/// Bounds of JSON bodies, which are looked at as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonShape {
    pub max_bytes: u64,
    pub max_depth: u32,
}

/// The built-in rules.
pub const THREAT_RULES: &[&str] = &[
    "traversal",
    "sql_injection",
    "cross_site_scripting",
    "command_injection",
    "template_injection",
    "header_injection",
    "null_byte",
    "scanner_agent",
    "protocol_wrapper",
];

static JSON: Section = Section {
    name: "threats.json",
    doc: "Bounds of JSON bodies, which are looked at as they come.",
    fields: &[&[
        Field::new("max_size", Kind::Size { min: "1B", max: "64MiB" }, "The largest body.").default("1MiB"),
        Field::new("max_depth", Kind::Integer { min: 1, max: 1000 }, "How deep lists and objects may be nested.")
            .default("32"),
    ]],
};

/// The declaration of the policy.
pub(super) static THREATS: Section = Section {
    name: "threats",
    doc: "Requests that look like an attack, by patterns in path, query and headers, and requests that do not look as they must. What is told of one is the rule, never what was found. `shadow` and `block` are short for the mode.",
    fields: &[&[
        Field::new(
            "mode",
            Kind::Choice(&["shadow", "block"]),
            "What becomes of such a request: counted and told in the audit row (`shadow`), or refused too (`block`).",
        )
        .default("block"),
        Field::new("score", SCORE, "A request whose rules add up to this is refused.").default("5"),
        Field::new(
            "rules",
            Kind::Map(&Kind::Or("off", &SCORE)),
            "By rule, over the built-in scores: another score, or `off`. The rules are `traversal`, `sql_injection`, `cross_site_scripting`, `command_injection`, `template_injection`, `header_injection`, `null_byte`, `scanner_agent` and `protocol_wrapper`.",
        ),
        Field::new(
            "methods",
            Kind::OneOrMany(&Kind::Text { what: "a method", sample: "GET" }),
            "Only these methods are taken, whatever the score; with GET, HEAD too.",
        ),
        Field::new(
            "content_types",
            Kind::OneOrMany(&Kind::Text {
                what: "a media type such as `application/json` or `text/*`",
                sample: "application/json",
            }),
            "Bodies are only taken with one of these types, whatever the score.",
        ),
        Field::new("json", Kind::Or("off", &Kind::Short(&ON, &JSON)), "JSON bodies are looked at too.").default("off"),
    ]],
};

const SCORE: Kind = Kind::Integer { min: 1, max: 1000 };
/// How the policy is written.
pub(super) static POLICY: Kind = Kind::Short(&Kind::Choice(&["shadow", "block"]), &THREATS);

const MODES: [(&str, ThreatMode); 2] = [("shadow", ThreatMode::Shadow), ("block", ThreatMode::Block)];

/// Reads the policy: its mode, or the long form.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Threats> {
    if let Value::Map(_) = &node.value {
        let mut fields = reader.section(node, &THREATS)?;
        return read_long(&mut fields);
    }
    let mode = reader.parse(node, POLICY.scalar(), |text| {
        if let Some((_, mode)) = MODES.iter().find(|(word, _)| *word == text) {
            return Ok(*mode);
        }
        Err(Fault::invalid("expected `off`, `shadow` or `block`")
            .hint("`shadow` only tells of such requests, `block` refuses them"))
    })?;
    reader.defaults(&THREATS, read_long).map(|threats| Threats { mode, ..threats })
}

fn read_long(fields: &mut Fields<'_, '_>) -> Option<Threats> {
    let mode = fields.choice("mode", &MODES);
    let score = fields.count("score");
    let rules = fields.optional("rules", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            if !THREAT_RULES.contains(&&*entry.key) {
                let fault = Fault::new(Code::UnknownName, "there is no such rule");
                let fault = match closest(&entry.key, THREAT_RULES.iter().copied()) {
                    Some(near) => fault.hint(format!("did you mean `{near}`?")),
                    None => fault.hint(format!("the rules are {}", THREAT_RULES.join(", "))),
                };
                reader.error(entry.key_place, fault);
                return None;
            }
            if is_word(&entry.value, "off") {
                return Some((Arc::from(&*entry.key), 0));
            }
            if is_word(&entry.value, "on") || is_word(&entry.value, "true") {
                let fault = Fault::new(Code::WrongType, "expected `off` or a score");
                reader
                    .error(entry.value.place, fault.hint("leave it out: every rule is on that is not switched `off`"));
                return None;
            }
            let score = reader.integer(&entry.value, &SCORE)?;
            Some((Arc::from(&*entry.key), u32::try_from(score).ok()?))
        })
    });
    let methods = fields.list_of("methods", |reader, node, kind| reader.method(node, kind));
    let content_types = fields.list_of("content_types", |reader, node, kind| reader.parse(node, kind, media_type));
    for (key, is_empty) in [
        ("methods", methods.as_ref().is_some_and(Vec::is_empty)),
        ("content_types", content_types.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if is_empty && fields.written(key).is_some() {
            fields.fault(key, Fault::invalid("this list is empty: no request would be taken").hint("remove it"));
        }
    }
    let json = fields.section_or_switch("json", |fields| {
        let (max_bytes, max_depth) = (fields.size("max_size"), fields.count("max_depth"));
        Some(JsonShape { max_bytes: max_bytes?, max_depth: max_depth? })
    });
    let shape = Shape { methods: methods?, content_types: content_types?, json: json? };
    Some(Threats { mode: mode?, score: score?, rules: rules?.unwrap_or_default(), shape })
}

/// A media type or a range of such (RFC 9110, 12.5.1) in lower case, without parameters.
fn media_type(text: &str) -> Result<Arc<str>, Fault> {
    let sound = text
        .split_once('/')
        .is_some_and(|(kind, of)| name::is_token(kind) && name::is_token(of) && (kind != "*" || of == "*"));
    let has_star = |part: &str| part.contains('*') && part != "*";
    if !sound || text.split('/').any(has_star) || text.len() > 128 {
        return Err(
            Fault::invalid("this is not a media type").hint("write it like `application/json`, `text/*` or `*/*`")
        );
    }
    Ok(text.to_ascii_lowercase().into())
}
