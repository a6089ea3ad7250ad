//! `identity.send`: what upstreams are told of who it is.

use std::sync::Arc;
use std::time::Duration;

use super::claim;
use super::jwt::{optional_word, word};
use super::outgoing::{self, Named};
use crate::config::field::{Field, Kind, ON, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::path;
use crate::config::reader::Read;

/// `identity.send`. Every header named here is stripped from what clients send, on every route, under every spelling that a
/// server may take for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Send {
    /// Lower-case header names.
    pub user: Option<Arc<str>>,
    /// Apart by commas.
    pub roles: Option<Arc<str>>,
    /// Apart by spaces.
    pub scopes: Option<Arc<str>>,
    /// The prefix of the API key.
    pub key: Option<Arc<str>>,
    /// Who recognised it: `jwt.main`.
    pub provider: Option<Arc<str>>,
    /// Header and claim.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
    pub token: Option<InternalToken>,
}

/// A short-lived token of our own, in place of whatever the client brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalToken {
    pub header: Arc<str>,
    pub issuer: Arc<str>,
    pub audience: Option<Arc<str>>,
    pub lasts: Duration,
    /// Where the traffic listeners serve the keys to check it with (JWKS, `EdDSA`).
    pub jwks_path: Arc<str>,
}

impl Send {
    /// Every header that only we may set.
    pub fn headers(&self) -> impl Iterator<Item = &Arc<str>> {
        let plain = [&self.user, &self.roles, &self.scopes, &self.key, &self.provider];
        let claims = self.claims.iter().map(|(header, _)| header);
        plain.into_iter().flatten().chain(claims).chain(self.token.iter().map(|token| &token.header))
    }
}

/// Where our own keys are served where nobody says otherwise.
pub(in crate::config) const JWKS_PATH: &str = "/.well-known/proxyd/jwks.json";

static TOKEN: Section = Section {
    name: "identity.send.token",
    doc: "A short-lived token of our own (a JWT, EdDSA) that says who it is. `on` is the section with its defaults.",
    fields: &[&[
        Field::new("header", HEADER, "The header that it is sent in.").default("x-identity-token"),
        Field::new("issuer", Kind::Word { what: "an issuer", sample: "proxyd" }, "Its `iss`.").default("proxyd"),
        Field::new("audience", Kind::Word { what: "an audience", sample: "sample" }, "Its `aud`; the default is none."),
        Field::new("lasts", Kind::Duration { min: "1s", max: "1h" }, "How long it is good for.").default("60s"),
        Field::new(
            "jwks_path",
            Kind::Text { what: "a path", sample: JWKS_PATH },
            "Where the traffic listeners serve the keys to check it with (JWKS, RFC 7517).",
        )
        .default(JWKS_PATH),
    ]],
};

/// The declaration of the section.
pub(super) static SEND: Section = Section {
    name: "identity.send",
    doc: "What upstreams are told of who it is, in headers that only the proxy may set: clients' copies are stripped on every route, under every spelling (`X_User` too).",
    fields: &[&[
        Field::new("user", HEADER, "Who it is."),
        Field::new("roles", HEADER, "The roles, apart by commas."),
        Field::new("scopes", HEADER, "The scopes, apart by spaces."),
        Field::new("key", HEADER, "The visible prefix of the API key."),
        Field::new("provider", HEADER, "Who recognised it, as `auth` names it: `jwt.main`."),
        Field::new("claims", Kind::Map(&claim::CLAIM), "Headers, each with the claim that it is filled from."),
        Field::new(
            "token",
            Kind::Or("off", &Kind::Short(&ON, &TOKEN)),
            "A token of our own, in place of whatever the client brought.",
        ),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>, named: &mut Named) -> Option<Send> {
    let [user, roles, scopes, key, provider] =
        ["user", "roles", "scopes", "key", "provider"].map(|key| read_header(fields, key, named));
    let claims = fields.optional("claims", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            let header = match outgoing::header(&entry.key) {
                Ok(header) => header,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            named.note(reader, entry.key_place, &header)?;
            reader.parse(&entry.value, &claim::CLAIM, claim::path).map(|claim| (header, claim))
        })
    });
    let token = fields.section_or_switch("token", |fields| read_token(fields, named));
    Some(Send {
        user: user?,
        roles: roles?,
        scopes: scopes?,
        key: key?,
        provider: provider?,
        claims: claims?.unwrap_or_default(),
        token: token?,
    })
}

fn read_header(fields: &mut Fields<'_, '_>, key: &'static str, named: &mut Named) -> Read<Option<Arc<str>>> {
    fields.optional(key, |reader, node, field| {
        let name = reader.parse(node, &field.kind, outgoing::header)?;
        named.note(reader, node.place, &name).map(|()| name)
    })
}

fn read_token(fields: &mut Fields<'_, '_>, named: &mut Named) -> Option<InternalToken> {
    let header = fields.scalar("header", |reader, node, field| {
        let name = reader.parse(node, &field.kind, outgoing::header)?;
        named.note(reader, node.place, &name).map(|()| name)
    });
    let issuer = fields.scalar("issuer", |reader, node, field| word(reader, node, &field.kind));
    let audience = optional_word(fields, "audience");
    let lasts = fields.duration("lasts");
    let jwks_path = fields.scalar("jwks_path", |reader, node, field| reader.parse(node, &field.kind, path::literal));
    Some(InternalToken { header: header?, issuer: issuer?, audience: audience?, lasts: lasts?, jwks_path: jwks_path? })
}
