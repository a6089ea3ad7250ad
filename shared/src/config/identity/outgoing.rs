//! Headers that tell an upstream who somebody is: only we may set them, so that none may be one that means something else.

use std::sync::Arc;

use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::Place;

/// What the proxy itself says of a request, or clients of themselves.
const RESERVED: &[&str] = &[
    "authorization",
    "client-cert",
    "client-cert-chain",
    "cookie",
    "forwarded",
    "proxy-authorization",
    "set-cookie",
    "via",
    "x-real-ip",
    "x-request-id",
];

/// Checks such a header.
pub(super) fn header(text: &str) -> Result<Arc<str>, Fault> {
    let name = name::editable_header(text)?;
    if RESERVED.contains(&&*name) || name.starts_with("x-forwarded-") {
        return Err(Fault::invalid(format!(
            "the header `{name}` cannot tell who it is: clients' copies of such a header are stripped, and of this one they are needed"
        ))
        .hint("name a header of its own, such as `x-user`"));
    }
    Ok(name)
}

/// The headers that were named so far.
#[derive(Default)]
pub(super) struct Named(Vec<Header>);

/// One of them.
struct Header {
    name: Arc<str>,
    place: Place,
}

/// Whether servers may take one name for the other: those that make underscores of hyphens do.
pub(super) fn are_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    one.bytes().map(plain).eq(other.bytes().map(plain))
}

impl Named {
    /// Notes an error where the header was named before: servers take `x_user` for `x-user`.
    pub(super) fn note(&mut self, reader: &mut Reader<'_>, place: Place, name: &Arc<str>) -> Option<()> {
        if self.0.iter().all(|known| !are_alike(&known.name, name)) {
            self.0.push(Header { name: Arc::clone(name), place });
            return Some(());
        }
        let fault = Fault::new(Code::DuplicateName, "this header already tells something else")
            .hint("`identity.send` and `identity.forward.copy` name each header once; `_` counts as `-`");
        reader.error(place, fault);
        None
    }

    /// Notes an error for each header in which credentials are looked for, too: `read_at` says where.
    pub(super) fn check_places<'n>(
        &self,
        reader: &mut Reader<'_>,
        places: impl Iterator<Item = (&'n Arc<str>, String)>,
    ) {
        for (name, read_at) in places {
            for header in self.0.iter().filter(|header| are_alike(&header.name, name)) {
                let message = format!(
                    "`{read_at}` looks for credentials in the header `{name}`, of which clients' copies are stripped because it tells upstreams who it is: nobody could be recognised"
                );
                let fault = Fault::new(Code::Conflict, message).hint("name another header here, such as `x-user`");
                reader.error(header.place, fault);
            }
        }
    }
}
