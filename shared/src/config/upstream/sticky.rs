//! `upstreams.NAME.sticky`: a cookie that keeps a client at its endpoint.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::Read;
use crate::config::report::Fault;

/// `upstreams.NAME.sticky`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Arc<str>,
    /// How long a browser keeps it; none: until it is closed.
    pub max_age: Option<Duration>,
    /// What the cookie is signed with; none: a key that is kept in the state folder.
    pub secret: Option<Arc<str>>,
}

// By hand: secrets are in no log.
impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sticky")
            .field("cookie", &self.cookie)
            .field("max_age", &self.max_age)
            .field("has_secret", &self.secret.is_some())
            .finish()
    }
}

/// The declaration of the section.
pub(super) static STICKY: Section = Section {
    name: "upstreams.NAME.sticky",
    doc: "A signed cookie that brings a client back to the endpoint that served it, as long as that one may be chosen. It comes before `balance`.",
    fields: &[&[
        Field::new("cookie", Kind::Text { what: "the name of a cookie", sample: "proxyd_node" }, "The cookie's name.")
            .default("proxyd_node"),
        Field::new(
            "max_age",
            Kind::Or("off", &Kind::Duration { min: "1s", max: "400d" }),
            "How long a browser keeps the cookie; `off`: until it is closed.",
        )
        .default("off"),
        Field::new(
            "secret",
            Kind::Secret { what: "a secret", sample: "sample-secret-sample-secret" },
            "What cookies are signed with, by reference: `${env:STICKY}`; 16 bytes or more, the same on every proxy of a group. The default is a key that is made once and kept in `server.state_dir`.",
        ),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Sticky> {
    let cookie = fields.scalar("cookie", |reader, node, field| reader.parse(node, &field.kind, name::cookie));
    let max_age = fields.duration_or_off("max_age");
    let secret = read_secret(fields);
    Some(Sticky { cookie: cookie?, max_age: max_age?, secret: secret? })
}

fn read_secret(fields: &mut Fields<'_, '_>) -> Read<Option<Arc<str>>> {
    let Some(entry) = fields.written("secret") else { return Some(None) };
    let secret = fields.get("secret", |reader, node, field| {
        reader.parse(node, &field.kind, |text| {
            if (16..=1024).contains(&text.len()) {
                return Ok(Arc::<str>::from(text));
            }
            Err(Fault::invalid("a secret has 16 to 1024 bytes").hint("make one with `openssl rand -hex 32`"))
        })
    })?;
    if !entry.value.has_resolved() {
        let fault = Fault::new(Code::ClearSecret, "this secret is written in clear")
            .hint("take it from outside: `${env:STICKY}` or `${file:/run/secrets/sticky}`");
        fields.reader().under(&entry.key, |reader| reader.warn(entry.value.place, fault));
    }
    Some(Some(secret))
}
