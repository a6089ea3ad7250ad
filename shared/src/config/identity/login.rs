//! `identity.login.NAME`: people who log in with a browser, by an OIDC provider or GitHub.

use std::sync::Arc;
use std::time::Duration;

use super::jwt::word;
use super::{address, claim, secret};
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::policy::auth::{ROLES, SCOPES};
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader};
use crate::config::report::Fault;
use crate::config::tree::Node;
use crate::config::{Name, Secret, name};

/// `identity.login.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub name: Name,
    pub kind: LoginKind,
    pub client_id: Arc<str>,
    pub client_secret: Option<Secret>,
    pub scopes: Vec<Arc<str>>,
    /// Where the provider sends people back to, as they see it; none: the origin that the request was made to.
    pub public_url: Option<Arc<str>>,
    pub allow: Allow,
    /// Who it is: `sub`, `email`, `preferred_username`, …; for GitHub `login`.
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    /// Whether `roles_claim` is written: a provider whose token lacks it is asked for it.
    pub asks_roles: bool,
    /// Given to everyone who comes in this way.
    pub roles: Vec<Name>,
    /// Of each call to the provider.
    pub timeout: Duration,
}

/// Which protocol the provider speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// By discovery at `{issuer}/.well-known/openid-configuration`.
    Oidc { issuer: Arc<str> },
    /// OAuth 2.0 without an `id_token`; who it is by GitHub's API. The addresses are GitHub's own by default.
    GitHub { authorize_url: Arc<str>, token_url: Arc<str>, api_url: Arc<str> },
}

/// Who of those that the provider knows may come in. Everyone where nothing is written; else whoever fits one of them, and
/// all `claims`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Verified ones only.
    pub emails: Vec<Arc<str>>,
    /// Of verified e-mail addresses.
    pub domains: Vec<Arc<str>>,
    /// GitHub's, or those of a claim.
    pub organisations: Vec<Arc<str>>,
    /// Which claim says them; none: those that are called as usual.
    pub organisations_claim: Option<Arc<str>>,
    /// Claims with a value that they must have or hold.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
}

/// The keys that only GitHub has, with its own addresses.
const GITHUB: [(&str, &str); 3] = [
    ("authorize_url", "https://github.com/login/oauth/authorize"),
    ("token_url", "https://github.com/login/oauth/access_token"),
    ("api_url", "https://api.github.com"),
];

static ALLOW: Section = Section {
    name: "identity.login.NAME.allow",
    doc: "Who of those that the provider knows may come in: whoever fits one of `emails`, `domains` and `organisations`, where any is written, and all `claims`. Without it everyone.",
    fields: &[&[
        Field::new(
            "emails",
            Kind::OneOrMany(&Kind::Text { what: "an e-mail address", sample: "ann@example.com" }),
            "These e-mail addresses, where the provider has verified them.",
        ),
        Field::new(
            "domains",
            Kind::OneOrMany(&Kind::Text { what: "a domain", sample: "example.com" }),
            "E-mail addresses of these domains, where the provider has verified them.",
        ),
        Field::new(
            "organisations",
            Kind::OneOrMany(&Kind::Text { what: "the name of an organisation", sample: "acme" }),
            "Members of these organisations: GitHub's, or those in `organisations_claim`. A list of names, or a text that is one name: it is never split.",
        ),
        Field::new(
            "organisations_claim",
            claim::CLAIM,
            "`oidc`: which claim says them. The default is `organizations` and `groups`. Name none that people may write themselves.",
        ),
        Field::new(
            "claims",
            Kind::Map(&Kind::Word { what: "a value", sample: "sample" }),
            "Claims with a value that they must have or hold.",
        ),
    ]],
};

/// The declaration of one provider.
pub(super) static LOGIN: Section = Section {
    name: "identity.login.NAME",
    doc: "People who log in with a browser; `auth` names it `login.NAME`. By OpenID Connect (authorisation code with PKCE, state and nonce), or by GitHub.",
    fields: &[&[
        Field::new("kind", Kind::Choice(&["oidc", "github"]), "Which protocol the provider speaks.").required(),
        Field::new(
            "issuer",
            address::URL,
            "`oidc`: the provider; it is asked at `/.well-known/openid-configuration` below it. `https://`, or `http://` to a loopback address.",
        ),
        Field::new("client_id", Kind::Word { what: "a client id", sample: "sample" }, "Who we are to the provider.")
            .required(),
        Field::new(
            "client_secret",
            secret::GIVEN,
            "Its secret, by reference: `${env:LOGIN_SECRET}`. `oidc` may do without, as a public client.",
        ),
        Field::new(
            "scopes",
            SCOPES,
            "What the provider is asked for. The default is `openid profile email` for `oidc`; `read:user user:email` for `github`, and `read:org` where `allow.organisations` is written.",
        ),
        Field::new(
            "public_url",
            Kind::Text { what: "a URL such as `https://app.example.com`", sample: "https://app.example.com" },
            "What people see in their browser's address before the path: the provider sends them back there. The default is the origin that a request was made to.",
        ),
        Field::new("allow", Kind::Section(&ALLOW), "Who may come in."),
        Field::new(
            "user_claim",
            claim::CLAIM,
            "Who it is: `sub`, `email`, `preferred_username`, and so on. The default is `sub` for `oidc`, `login` for `github`.",
        ),
        Field::new(
            "roles_claim",
            claim::CLAIM,
            "A list of roles, or a text that is one role: it is never split, unless the claim is `scope` or `scp`. Where it is written, and the provider's token does not hold it, userinfo is asked for it.",
        )
        .default("roles"),
        Field::new("roles", ROLES, "Roles of everyone who comes in this way."),
        Field::new("timeout", Kind::Duration { min: "100ms", max: "1m" }, "Of each call to the provider.")
            .default("5s"),
        Field::new("authorize_url", address::URL, "`github`: where people log in; the default is GitHub's own."),
        Field::new("token_url", address::URL, "`github`: where tokens come from; the default is GitHub's own."),
        Field::new("api_url", address::URL, "`github`: its API; the default is GitHub's own."),
    ]],
};

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Oidc,
    GitHub,
}

/// Reads one provider.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, name: Name) -> Option<Login> {
    let mut fields = reader.section(node, &LOGIN)?;
    let protocol = fields.get("kind", |reader, node, field| {
        reader.choice(node, &field.kind, &[("oidc", Protocol::Oidc), ("github", Protocol::GitHub)])
    });
    let kind = protocol.and_then(|protocol| read_kind(&mut fields, protocol));
    let client_id = fields.get("client_id", |reader, node, field| word(reader, node, &field.kind));
    let client_secret = fields.optional("client_secret", |reader, node, _| secret::given(reader, node));
    if protocol == Some(Protocol::GitHub) && fields.written("client_secret").is_none() {
        let place = fields.place;
        let fault =
            Fault::new(Code::MissingKey, "the key `client_secret` is missing: GitHub gives no token without it")
                .hint("client_secret: \"${env:GITHUB_SECRET}\"");
        fields.reader().error(place, fault);
    }
    let allow = fields.section("allow", |fields| read_allow(fields, protocol));
    if protocol == Some(Protocol::GitHub) && allow == Some(Allow::default()) {
        let fault =
            Fault::new(Code::MissingAuth, "everybody who has an account at GitHub comes in here: `allow` is missing")
                .hint("allow: {organisations: [acme]}");
        fields.warn("allow", fault);
    }
    let by_organisation = allow.as_ref().is_some_and(|allow| !allow.organisations.is_empty());
    let scopes = read_scopes(&mut fields, protocol, by_organisation);
    let public_url =
        fields.optional("public_url", |reader, node, field| reader.parse(node, &field.kind, address::origin));
    let user_claim = fields.optional("user_claim", |reader, node, field| reader.parse(node, &field.kind, claim::path));
    let roles_claim = super::jwt::read_claim(&mut fields, "roles_claim");
    let asks_roles = fields.written("roles_claim").is_some();
    let roles = fields.list_of("roles", |reader, node, kind| reader.parse(node, kind, name::role));
    let timeout = fields.duration("timeout");
    let default_claim = if protocol == Some(Protocol::GitHub) { "login" } else { "sub" };
    Some(Login {
        name,
        kind: kind?,
        client_id: client_id?,
        client_secret: client_secret?,
        scopes: scopes?,
        public_url: public_url?,
        allow: allow?,
        user_claim: user_claim?.unwrap_or_else(|| default_claim.into()),
        roles_claim: roles_claim?,
        asks_roles,
        roles: roles?,
        timeout: timeout?,
    })
}

fn read_kind(fields: &mut Fields<'_, '_>, protocol: Protocol) -> Option<LoginKind> {
    let issuer =
        fields.optional("issuer", |reader, node, field| reader.parse(node, &field.kind, address::guarded_path));
    let [authorize, token, api] = GITHUB.map(|(key, own)| {
        let url = fields.optional(key, |reader, node, field| reader.parse(node, &field.kind, address::guarded_path));
        url.map(|url| url.unwrap_or_else(|| own.into()))
    });
    match protocol {
        Protocol::Oidc => {
            for (key, _) in GITHUB.iter().filter(|(key, _)| fields.written(key).is_some()).copied().collect::<Vec<_>>()
            {
                let fault = Fault::new(Code::Conflict, format!("`{key}` is for `kind: github`"))
                    .hint("with `oidc` the provider itself says where its pages are; remove it");
                fields.fault(key, fault);
            }
            if fields.written("issuer").is_none() {
                let place = fields.place;
                let fault =
                    Fault::new(Code::MissingKey, "the key `issuer` is missing: `oidc` asks it for everything else")
                        .hint("issuer: \"https://id.example.com\"");
                fields.reader().error(place, fault);
            }
            Some(LoginKind::Oidc { issuer: issuer?? })
        }
        Protocol::GitHub => {
            if fields.written("issuer").is_some() {
                let fault =
                    Fault::new(Code::Conflict, "GitHub has no issuer: it speaks OAuth 2.0 without OpenID Connect")
                        .hint("remove `issuer`, or write `kind: oidc`");
                fields.fault("issuer", fault);
            }
            let trimmed = |url: Arc<str>| Arc::<str>::from(url.trim_end_matches('/'));
            Some(LoginKind::GitHub { authorize_url: authorize?, token_url: token?, api_url: trimmed(api?) })
        }
    }
}

fn read_scopes(
    fields: &mut Fields<'_, '_>,
    protocol: Option<Protocol>,
    by_organisation: bool,
) -> Option<Vec<Arc<str>>> {
    let scopes = fields.list_of("scopes", |reader, node, kind| reader.parse(node, kind, name::scope))?;
    if fields.written("scopes").is_none() {
        let own: &[&str] = match protocol? {
            Protocol::Oidc => &["openid", "profile", "email"],
            Protocol::GitHub if by_organisation => &["read:user", "user:email", "read:org"],
            Protocol::GitHub => &["read:user", "user:email"],
        };
        return Some(own.iter().map(|scope| (*scope).into()).collect());
    }
    if protocol == Some(Protocol::Oidc) && !scopes.iter().any(|scope| &**scope == "openid") {
        let fault = Fault::invalid("without the scope `openid` a provider says nothing of who it is")
            .hint("scopes: [openid, profile, email]");
        fields.fault("scopes", fault);
        return None;
    }
    Some(scopes)
}

fn read_allow(fields: &mut Fields<'_, '_>, protocol: Option<Protocol>) -> Option<Allow> {
    let emails = fields.list_of("emails", |reader, node, kind| reader.parse(node, kind, email));
    let domains = fields.list_of("domains", |reader, node, kind| reader.parse(node, kind, domain));
    let organisations = fields.list_of("organisations", |reader, node, kind| word(reader, node, kind));
    let organisations_claim =
        fields.optional("organisations_claim", |reader, node, field| reader.parse(node, &field.kind, claim::path));
    if fields.written("organisations_claim").is_some() {
        let fault = if protocol == Some(Protocol::GitHub) {
            Some(
                Fault::new(Code::Conflict, "GitHub's own API says of which organisations somebody is")
                    .hint("remove it"),
            )
        } else if fields.written("organisations").is_none() {
            Some(Fault::new(Code::Conflict, "`organisations` names none").hint("organisations: [acme]"))
        } else {
            None
        };
        if let Some(fault) = fault {
            fields.fault("organisations_claim", fault);
        }
    }
    let claims = read_claims(fields);
    let (emails, domains, organisations, claims) = (emails?, domains?, organisations?, claims?);
    let organisations_claim = organisations_claim?;
    let is_empty = emails.is_empty() && domains.is_empty() && organisations.is_empty() && claims.is_empty();
    if is_empty && fields.place.line > 0 {
        let place = fields.place;
        let fault =
            Fault::invalid("this list names nobody").hint("remove `allow` to let in everyone that the provider knows");
        fields.reader().error(place, fault);
        return None;
    }
    Some(Allow { emails, domains, organisations, organisations_claim, claims })
}

fn read_claims(fields: &mut Fields<'_, '_>) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let claims: Read<Option<Vec<_>>> = fields.optional("claims", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            let claim = match claim::path(&entry.key) {
                Ok(claim) => claim,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            word(reader, &entry.value, field.kind.map_item()?).map(|value| (claim, value))
        })
    });
    claims.map(Option::unwrap_or_default)
}

/// An e-mail address in lower case.
pub(super) fn email(text: &str) -> Result<Arc<str>, Fault> {
    let parts = text.rsplit_once('@').filter(|(local, _)| !local.is_empty());
    let sound = text.len() <= 254 && !text.chars().any(|c| c.is_control() || c.is_whitespace() || "<>,\"".contains(c));
    match parts {
        Some((local, domain)) if sound && !local.contains('@') && name::host(domain).is_ok() => {
            Ok(text.to_lowercase().into())
        }
        _ => Err(Fault::invalid("this is not an e-mail address").hint("write it as `ann@example.com`")),
    }
}

fn domain(text: &str) -> Result<Arc<str>, Fault> {
    if text.contains('@') {
        return Err(Fault::invalid("a domain is what stands behind the `@`").hint("domains: [example.com]"));
    }
    name::host(text)
}
