//! Who a rule does not count.

use ipnet::IpNet;

use crate::config::field::{Field, Kind, Section};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::server::network;
use crate::config::tree::{Node, Value};
use crate::config::{Name, name};

/// The declaration of the long form.
pub(super) static EXEMPT: Section = Section {
    name: "rate_limit.exempt[]",
    doc: "Somebody who is not counted: exactly one of the two.",
    fields: &[&[
        Field::new("user", NAMED, "This user."),
        Field::new("api_key", NAMED, "The API key with this name or prefix."),
    ]],
};

const NAMED: Kind = Kind::Word { what: "a name", sample: "sample" };

/// One of them.
pub(super) enum Exempt {
    Network(IpNet),
    User(Name),
    /// By its name or its prefix.
    Key(Name),
}

/// Reads one: an address, a network, or a name.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Exempt> {
    let Value::Map(_) = &node.value else { return network(reader, node).map(Exempt::Network) };
    let mut fields = reader.section(node, &EXEMPT)?;
    let is_one = fields.written("user").is_some() != fields.written("api_key").is_some();
    let user = fields.get("user", |reader, node, field| reader.parse(node, &field.kind, name::free));
    let key = fields.get("api_key", |reader, node, field| reader.parse(node, &field.kind, name::free));
    if !is_one {
        let fault = Fault::new(Code::Conflict, "an exemption has exactly one of `user` and `api_key`")
            .hint("exempt: [10.0.0.0/8, {user: ann}, {api_key: ci}]");
        reader.error(node.place, fault);
        return None;
    }
    user.map(Exempt::User).or(key.map(Exempt::Key))
}
