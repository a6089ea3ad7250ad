//! Who a rule does not count.

use std::fmt;

use ipnet::IpNet;

use crate::config::field::{Field, Kind, Section};
use crate::config::identity::{PROVIDER, Providers};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::server::network_or;
use crate::config::tree::{Node, Value};
use crate::config::{Name, name};

/// The declaration of the long form.
pub(super) static EXEMPT: Section = Section {
    name: "rate_limit.exempt[]",
    doc: "Somebody who is not counted: exactly one of `user` and `api_key`.",
    fields: &[&[
        Field::new("user", NAMED, "This user."),
        Field::new(
            "provider",
            PROVIDER,
            "With `user`: only as this one recognises it, such as `jwt.main`. Without, whoever any of them calls so.",
        ),
        Field::new("api_key", NAMED, "The API key with this name or prefix."),
    ]],
};

const NAMED: Kind = Kind::Word { what: "a name", sample: "sample" };

/// A user that is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptUser {
    pub name: Name,
    /// Who must have recognised it; none: anybody.
    pub provider: Option<Name>,
}

impl ExemptUser {
    /// Whether that is the user of this name, recognised by this provider.
    #[must_use]
    pub fn is(&self, user: &str, provider: &str) -> bool {
        *self.name == *user && self.provider.as_ref().is_none_or(|of| **of == *provider)
    }
}

/// `ann`, or `ann of jwt.main`.
impl fmt::Display for ExemptUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.provider.iter().try_for_each(|provider| write!(f, " of {provider}"))
    }
}

/// One of them.
pub(super) enum Exempt {
    Network(IpNet),
    User(ExemptUser),
    /// By its name or its prefix.
    Key(Name),
}

/// Reads one: an address, a network, or a name.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, providers: &Providers) -> Option<Exempt> {
    let Value::Map(_) = &node.value else {
        let hint = "write an address or a network such as `10.0.0.0/8`; for a user `{user: ann}`, for an API key `{api_key: ci}`";
        return network_or(reader, node, hint).map(Exempt::Network);
    };
    let mut fields = reader.section(node, &EXEMPT)?;
    let is_one = fields.written("user").is_some() != fields.written("api_key").is_some();
    let user = fields.get("user", |reader, node, field| reader.parse(node, &field.kind, name::free));
    let key = fields.get("api_key", |reader, node, field| reader.parse(node, &field.kind, name::free));
    let provider = fields.optional("provider", |reader, node, _| providers.mentioned(reader, node));
    if !is_one {
        let fault = Fault::new(Code::Conflict, "an exemption has exactly one of `user` and `api_key`")
            .hint("exempt: [10.0.0.0/8, {user: ann}, {api_key: ci}]");
        reader.error(node.place, fault);
        return None;
    }
    if fields.written("provider").is_some() && fields.written("user").is_none() {
        let fault = Fault::new(Code::Conflict, "`provider` says who recognised the `user`: an API key is what it is");
        fields.fault("provider", fault.hint("remove it"));
        return None;
    }
    let names = providers.names();
    if fields.written("user").is_some() && fields.written("provider").is_none() && names.len() > 1 {
        let message = "several recognise users here, and whoever any of them calls so is exempt: who may choose a name at one has it";
        let fault = Fault::new(Code::MissingKey, message);
        let first = names.first().copied().unwrap_or_default();
        fields.warn("user", fault.hint(format!("say whose user is meant: {{user: NAME, provider: {first}}}")));
    }
    let provider = provider?;
    user.map(|name| Exempt::User(ExemptUser { name, provider })).or(key.map(Exempt::Key))
}
