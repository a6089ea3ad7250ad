//! The policy `security_headers`: what every answer tells browsers to beware of.

use std::sync::Arc;

use crate::config::field::Kind;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::{Reader, is_word};
use crate::config::report::Fault;
use crate::config::tree::{Node, Value};

/// Lower-case names with checked values, set on every answer, over what the upstream sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// `strict-transport-security`, sent over TLS only.
    pub hsts: Option<Arc<str>>,
}

/// What is sent where nobody says otherwise.
const DEFAULTS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];
const HSTS: &str = "strict-transport-security";
const HSTS_DEFAULT: &str = "max-age=31536000";

/// How the map is written.
pub(super) const MAP: Kind =
    Kind::Map(&Kind::Or("off", &Kind::Word { what: "the value of a header", sample: "sample" }));
/// How the policy is written.
pub(super) const SECURITY_HEADERS: Kind = Kind::Or("on", &MAP);

/// Reads the policy: `on`, or a map over the defaults.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<SecurityHeaders> {
    let mut set: Vec<(Arc<str>, Arc<str>)> =
        DEFAULTS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mut hsts: Option<Arc<str>> = Some(HSTS_DEFAULT.into());
    if is_word(node, "on") {
        return Some(SecurityHeaders { set, hsts });
    }
    if !matches!(node.value, Value::Map(_)) {
        let fault =
            Fault::new(Code::WrongType, "expected `on`, `off` or a map of headers").hint("security_headers: on");
        reader.error(node.place, fault);
        return None;
    }
    let edits = reader.map(node, &MAP, |reader, entry| {
        let name = match name::editable_header(&entry.key) {
            Ok(name) => name,
            Err(fault) => {
                reader.error(entry.key_place, fault);
                return None;
            }
        };
        let Kind::Map(kind) = &MAP else { return None };
        if is_word(&entry.value, "off") {
            return Some((name, None));
        }
        reader.parse(&entry.value, kind.scalar(), name::header_value).map(|value| (name, Some(value)))
    })?;
    for (name, value) in edits {
        if &*name == HSTS {
            hsts = value;
            continue;
        }
        set.retain(|(earlier, _)| *earlier != name);
        set.extend(value.map(|value| (name, value)));
    }
    Some(SecurityHeaders { set, hsts })
}
