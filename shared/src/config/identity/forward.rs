//! `identity.forward`: another service is asked about each request.

use std::sync::Arc;
use std::time::Duration;

use super::address;
use super::outgoing::{self, Named};
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::report::Fault;

/// `identity.forward`. 2xx lets the request in, 3xx and 4xx are the client's answer; whatever else comes is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    pub url: Arc<str>,
    /// Headers of the request that are sent along (lower case).
    pub send: Vec<Arc<str>>,
    /// Headers of the answer that go upstream (lower case); a client's copies are always stripped.
    pub copy: Vec<Arc<str>>,
    /// Headers of the answer that go to the client, such as `set-cookie`.
    pub copy_back: Vec<Arc<str>>,
    /// The answer's header that says who it is.
    pub user_header: Arc<str>,
    pub roles_header: Arc<str>,
    pub scopes_header: Arc<str>,
    pub timeout: Duration,
}

/// The declaration of the section.
pub(super) static FORWARD: Section = Section {
    name: "identity.forward",
    doc: "Another service is asked about each request; `auth` names it `forward`. It gets the method and address as `x-forwarded-method`, `-proto`, `-host`, `-uri` and `-for`. 2xx lets the request in. 3xx and 4xx are the client's answer: status, up to 64 KiB of body, `content-type`, `location`, `set-cookie`, `www-authenticate`, `retry-after` and `cache-control`. Anything else, or no answer, is a 503.",
    fields: &[&[
        Field::new(
            "url",
            Kind::Text { what: "a URL such as `http://127.0.0.1:9091/verify`", sample: "http://127.0.0.1:9091/verify" },
            "Whom to ask, by GET.",
        )
        .required(),
        Field::new("send", Kind::OneOrMany(&HEADER), "Headers of the request that are sent along.")
            .default("[authorization, cookie]"),
        Field::new(
            "copy",
            Kind::OneOrMany(&HEADER),
            "Headers of the answer that go upstream; clients' copies of them are stripped, on every route.",
        ),
        Field::new(
            "copy_back",
            Kind::OneOrMany(&HEADER),
            "Headers of the answer that go to the client, such as `set-cookie`.",
        ),
        Field::new("user_header", HEADER, "The answer's header that says who it is.").default("x-user"),
        Field::new("roles_header", HEADER, "The answer's header with the roles, apart by commas.").default("x-roles"),
        Field::new("scopes_header", HEADER, "The answer's header with the scopes, apart by spaces or commas.")
            .default("x-scopes"),
        Field::new("timeout", Kind::Duration { min: "10ms", max: "1m" }, "Of each question (503 beyond it).")
            .default("1s"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>, named: &mut Named) -> Option<ForwardAuth> {
    let url = fields.get("url", |reader, node, field| reader.parse(node, &field.kind, address::any));
    let send = fields.items("send", |reader, node, kind| reader.parse(node, kind, sent));
    let copy = fields.list_of("copy", |reader, node, kind| {
        let name = reader.parse(node, kind, outgoing::header)?;
        named.note(reader, node.place, &name).map(|()| name)
    });
    let copy_back = fields.list_of("copy_back", |reader, node, kind| reader.parse(node, kind, name::editable_header));
    let [user_header, roles_header, scopes_header] = ["user_header", "roles_header", "scopes_header"]
        .map(|key| fields.scalar(key, |reader, node, field| reader.parse(node, &field.kind, name::header)));
    let timeout = fields.duration("timeout");
    Some(ForwardAuth {
        url: url?,
        send: send?,
        copy: copy?,
        copy_back: copy_back?,
        user_header: user_header?,
        roles_header: roles_header?,
        scopes_header: scopes_header?,
        timeout: timeout?,
    })
}

/// A header of the request that may be sent along.
fn sent(text: &str) -> Result<Arc<str>, Fault> {
    let name = name::editable_header(text)?;
    if name.starts_with("x-forwarded-") || &*name == "forwarded" {
        return Err(Fault::invalid("what came from where is told by the proxy itself").hint("remove it"));
    }
    Ok(name)
}
