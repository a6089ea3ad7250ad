//! `identity.introspection`: opaque tokens that their issuer is asked about (RFC 7662).

use std::sync::Arc;
use std::time::Duration;

use super::jwt::{optional_word, read_claim, word};
use super::{TokenPlace, address, claim, secret, token_place};
use crate::config::Secret;
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;

/// `identity.introspection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    pub url: Arc<str>,
    pub from: Vec<TokenPlace>,
    pub client_id: Option<Arc<str>>,
    pub client_secret: Option<Secret>,
    pub timeout: Duration,
    /// How long an answer stands, at most until the token expires; zero: each request asks.
    pub cache: Duration,
    pub issuer: Option<Arc<str>>,
    pub audience: Vec<Arc<str>>,
    pub leeway: Duration,
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    pub scopes_claim: Arc<str>,
}

/// The declaration of the section.
pub(super) static INTROSPECTION: Section = Section {
    name: "identity.introspection",
    doc: "Opaque tokens that their issuer is asked about (RFC 7662); `auth` names it `introspection`.",
    fields: &[&[
        Field::new("url", address::URL, "Whom to ask: `https://`, or `http://` to a loopback address.").required(),
        Field::new(
            "from",
            token_place::FROM,
            "Where the token is looked for. All of them are looked at: the same token in two is one, two that differ are refused (`credentials_ambiguous`). The default is `{header: authorization, scheme: Bearer}`.",
        ),
        Field::new("client_id", Kind::Word { what: "a client id", sample: "sample" }, "Who we are to the issuer."),
        Field::new("client_secret", secret::GIVEN, "Its secret, by reference: `${env:INTROSPECTION_SECRET}`."),
        Field::new("timeout", Kind::Duration { min: "10ms", max: "1m" }, "Of each question.").default("5s"),
        Field::new(
            "cache",
            Kind::Duration { min: "0s", max: "1h" },
            "How long an answer stands, at most until the token expires; `0s`: each request asks.",
        )
        .default("30s"),
        Field::new("issuer", Kind::Word { what: "an issuer", sample: "sample" }, "`iss` of the answer must be this."),
        Field::new(
            "audience",
            Kind::OneOrMany(&Kind::Word { what: "an audience", sample: "sample" }),
            "`aud` of the answer must hold one of these; without it `aud` is not looked at.",
        ),
        Field::new("leeway", Kind::Duration { min: "0s", max: "10m" }, "How far the issuer's clock may be from ours.")
            .default("30s"),
        Field::new(
            "user_claim",
            claim::CLAIM,
            "Who it is: a path into the answer. Where it is missing, `client:` and the answer's `client_id`.",
        )
        .default("sub"),
        Field::new("roles_claim", claim::CLAIM, "A list of roles, or words apart by spaces.").default("roles"),
        Field::new("scopes_claim", claim::CLAIM, "A list of scopes, or words apart by spaces.").default("scope"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Introspection> {
    let url = fields.get("url", |reader, node, field| reader.parse(node, &field.kind, address::guarded));
    let from = token_place::read(fields);
    let client_id = optional_word(fields, "client_id");
    let client_secret = fields.optional("client_secret", |reader, node, _| secret::given(reader, node));
    if fields.written("client_secret").is_some() && fields.written("client_id").is_none() {
        let fault = Fault::new(Code::MissingKey, "`client_secret` needs `client_id` beside it");
        fields.fault("client_secret", fault);
    }
    let timeout = fields.duration("timeout");
    let cache = fields.duration("cache");
    let issuer = optional_word(fields, "issuer");
    let audience = fields.list_of("audience", |reader, node, kind| word(reader, node, kind));
    let leeway = fields.duration("leeway");
    let [user_claim, roles_claim, scopes_claim] =
        ["user_claim", "roles_claim", "scopes_claim"].map(|key| read_claim(fields, key));
    Some(Introspection {
        url: url?,
        from: from?.unwrap_or_else(|| vec![token_place::bearer()]),
        client_id: client_id?,
        client_secret: client_secret?,
        timeout: timeout?,
        cache: cache?,
        issuer: issuer?,
        audience: audience?,
        leeway: leeway?,
        user_claim: user_claim?,
        roles_claim: roles_claim?,
        scopes_claim: scopes_claim?,
    })
}
