//! Headers that tell an upstream who somebody is: only we may set them, so that none may be one that means something else.

use std::collections::HashSet;
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
pub(super) struct Named(HashSet<String>);

impl Named {
    /// Notes an error where the header was named before: servers take `x_user` for `x-user`.
    pub(super) fn note(&mut self, reader: &mut Reader<'_>, place: Place, name: &str) -> Option<()> {
        if self.0.insert(name.replace('_', "-")) {
            return Some(());
        }
        let fault = Fault::new(Code::DuplicateName, "this header already tells something else")
            .hint("`identity.send` and `identity.forward.copy` name each header once; `_` counts as `-`");
        reader.error(place, fault);
        None
    }
}
