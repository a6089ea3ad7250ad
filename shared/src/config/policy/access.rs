//! The policy `access`: which addresses may come in.

use ipnet::IpNet;

use crate::config::field::{Field, Kind, Section};
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::server::{NETWORK, network};
use crate::config::tree::Node;

/// `deny` wins; with an allow list, everyone else is refused (403).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
}

/// The declaration of the policy.
pub(super) static ACCESS: Section = Section {
    name: "access",
    doc: "Which addresses may come in. `deny` wins; with an allow list, everyone else is refused (403).",
    fields: &[&[
        Field::new("allow", Kind::OneOrMany(&NETWORK), "Addresses and networks that may come in."),
        Field::new("deny", Kind::OneOrMany(&NETWORK), "Addresses and networks that may not."),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Access> {
    let mut fields = reader.section(node, &ACCESS)?;
    let written_allow = fields.written("allow").is_some();
    let allow = fields.list_of("allow", |reader, node, _| network(reader, node));
    let deny = fields.list_of("deny", |reader, node, _| network(reader, node));
    let (allow, deny) = (allow?, deny?);
    if allow.is_empty() && (written_allow || deny.is_empty()) {
        let fault = Fault::invalid("this access list names nobody")
            .hint("name addresses under `allow` or `deny`, or write `access: off`");
        reader.error(node.place, fault);
        return None;
    }
    Some(Access { allow, deny })
}
