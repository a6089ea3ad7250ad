//! Whom a rule counts.

use std::sync::Arc;

use crate::config::field::{Field, Kind, Section};
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::reader::{Reader, closest};
use crate::config::report::Fault;
use crate::config::tree::{Node, Value};

/// Whom a rule counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Ip,
    /// Who it is, by provider and name; an API key that acts for nobody counts as itself.
    User,
    /// By the API key.
    ApiKey,
    /// By the client certificate's name: its common name, else its first alternative name.
    Certificate,
    /// By this header's value (lower-case name).
    Header(Arc<str>),
}

static HEADER_KEY: Section = Section {
    name: "rate_limit.by[]",
    doc: "Whom a rule counts.",
    fields: &[&[Field::new("header", HEADER, "By this header's value.").required()]],
};

/// How one is written.
pub(super) const KEY: Kind = Kind::Short(&Kind::Choice(&KEYS), &HEADER_KEY);
const KEYS: [&str; 4] = ["ip", "user", "api_key", "certificate"];

/// Reads one.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Key> {
    if let Value::Map(_) = &node.value {
        let mut fields = reader.section(node, &HEADER_KEY)?;
        return fields
            .get("header", |reader, node, field| reader.parse(node, &field.kind, name::header))
            .map(Key::Header);
    }
    reader.parse(node, &KEY, |text| match text {
        "ip" => Ok(Key::Ip),
        "certificate" => Ok(Key::Certificate),
        "user" => Ok(Key::User),
        "api_key" => Ok(Key::ApiKey),
        _ => {
            let fault = Fault::invalid("expected `ip`, `user`, `api_key`, `certificate` or `header: NAME`");
            Err(match closest(text, KEYS.into_iter()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("by: [user, api_key, ip], or by: {header: x-tenant}"),
            })
        }
    })
}
