//! `identity.accounts`: accounts of our own, for those without a provider.

use std::sync::Arc;
use std::time::Duration;

use super::jwt::{optional_word, word};
use super::{address, login, secret};
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::policy::auth::ROLES;
use crate::config::problem::Code;
use crate::config::report::Fault;
use crate::config::{Name, Secret, name, path};

/// `identity.accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Where its endpoints are served: begins with a slash, ends without one.
    pub prefix: Arc<str>,
    /// Whether people may register themselves.
    pub register: bool,
    /// Of everyone who registers.
    pub roles: Vec<Name>,
    /// Whether an e-mail address must be verified before its account can log in; needs `mail`.
    pub verify: bool,
    pub access_token: Duration,
    pub refresh_token: Duration,
    pub algorithm: TokenAlgorithm,
    /// HS256 only; none: a key that is kept in the state folder.
    pub secret: Option<Secret>,
    pub issuer: Arc<str>,
    pub audience: Option<Arc<str>>,
    pub min_password: u32,
    pub lockout: Lockout,
    pub mail: Option<Mail>,
}

/// What access tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    Hs256,
    EdDsa,
}

/// When guessing stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Wrong passwords of one account within `within`.
    pub attempts: u32,
    pub within: Duration,
    /// How long it then takes none at all.
    pub lasts: Duration,
}

/// Where mail goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub host: Arc<str>,
    pub port: u16,
    pub tls: MailTls,
    pub user: Option<Arc<str>>,
    pub password: Option<Secret>,
    pub from: Arc<str>,
    /// Links in mails lead here: `{token}` stands for the token.
    pub reset_url: Arc<str>,
    pub verify_url: Arc<str>,
}

/// How the connection to the mail server is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Only to a loopback address.
    Off,
    StartTls,
    Implicit,
}

static LOCKOUT: Section = Section {
    name: "identity.accounts.lockout",
    doc: "When guessing stops.",
    fields: &[&[
        Field::new("attempts", Kind::Integer { min: 1, max: 1000 }, "Wrong passwords of one account …").default("10"),
        Field::new("within", Kind::Duration { min: "1s", max: "24h" }, "… within so long …").default("15m"),
        Field::new("for", Kind::Duration { min: "1s", max: "24h" }, "… and for so long none is taken.").default("15m"),
    ]],
};

static MAIL: Section = Section {
    name: "identity.accounts.mail",
    doc: "The mail server (SMTP) for links to reset a password and to verify an address.",
    fields: &[&[
        Field::new("host", Kind::Text { what: "a host", sample: "mail.example.com" }, "The server.").required(),
        Field::new(
            "port",
            Kind::Integer { min: 1, max: 65_535 },
            "Its port; the default is 587 with `tls: starttls`, 465 with `implicit`, and 25 with `off`.",
        ),
        Field::new(
            "tls",
            Kind::Choice(&["starttls", "implicit", "off"]),
            "How the connection is made safe; `off` only to a loopback address.",
        )
        .default("starttls"),
        Field::new("user", Kind::Word { what: "a user's name", sample: "sample" }, "Who we are to it."),
        Field::new("password", secret::GIVEN, "The password, by reference: `${env:SMTP_PASSWORD}`."),
        Field::new(
            "from",
            Kind::Text { what: "an e-mail address", sample: "noreply@example.com" },
            "Who mails are from.",
        )
        .required(),
        Field::new(
            "reset_url",
            LINK,
            "Where the link in a mail for a forgotten password leads: a page of yours. `{token}` stands for the token.",
        )
        .required(),
        Field::new(
            "verify_url",
            LINK,
            "Where the link in a mail to verify an address leads. `{token}` stands for the token.",
        )
        .required(),
    ]],
};

const LINK: Kind =
    Kind::Text { what: "a URL with `{token}` in it", sample: "https://app.example.com/sample?token={token}" };

/// The declaration of the section.
pub(super) static ACCOUNTS: Section = Section {
    name: "identity.accounts",
    doc: "Accounts of our own, for those without a provider; `auth` names them `accounts`. `on` is the section with its defaults: users are managed with `proxyctl users`, and log in at `/api/auth/login`.",
    fields: &[&[
        Field::new(
            "prefix",
            Kind::Text { what: "a path such as `/api/auth`", sample: "/api/auth" },
            "Where the endpoints are: `register`, `login`, `refresh`, `me`, `change-password`, `forgot`, `reset`, `verify` and `logout` below it.",
        )
        .default("/api/auth"),
        Field::new("register", Kind::Choice(&["on", "off"]), "Whether people may register themselves.").default("off"),
        Field::new("roles", ROLES, "Roles of everyone who registers.").default("[user]"),
        Field::new(
            "verify",
            Kind::Boolean,
            "Whether an e-mail address must be verified before its account can log in; needs `mail`. Who registers and does not do so within 7 days is forgotten.",
        )
        .default("false"),
        Field::new("access_token", Kind::Duration { min: "10s", max: "24h" }, "How long an access token is good for.")
            .default("30m"),
        Field::new("refresh_token", Kind::Duration { min: "1m", max: "400d" }, "How long a refresh token is good for.")
            .default("30d"),
        Field::new(
            "algorithm",
            Kind::Choice(&["HS256", "EdDSA"]),
            "What access tokens are signed with: with a secret, or with a key whose public half is served as JWKS, so that upstreams can check them too.",
        )
        .default("HS256"),
        Field::new(
            "secret",
            secret::KEY,
            "`HS256`: the secret, by reference: `${env:ACCOUNTS_SECRET}`; 32 bytes or more. The default is a key that is made once and kept in `server.state_dir`.",
        ),
        Field::new("issuer", Kind::Word { what: "an issuer", sample: "proxyd" }, "`iss` of access tokens.")
            .default("proxyd"),
        Field::new("audience", Kind::Word { what: "an audience", sample: "sample" }, "`aud` of access tokens; the default is none."),
        Field::new("min_password", Kind::Integer { min: 8, max: 128 }, "The fewest characters of a password.")
            .default("10"),
        Field::new("lockout", Kind::Section(&LOCKOUT), "When guessing stops.").filled(),
        Field::new("mail", Kind::Section(&MAIL), "Where mail goes out; without it nobody can reset a forgotten password."),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Accounts> {
    let prefix = fields.scalar("prefix", |reader, node, field| {
        reader.parse(node, &field.kind, |text| match path::literal(text)?.trim_end_matches('/') {
            "" => Err(Fault::invalid("the endpoints would take every path").hint("prefix: /api/auth")),
            prefix => Ok(Arc::<str>::from(prefix)),
        })
    });
    let register = fields.choice("register", &[("on", true), ("off", false)]);
    let roles = fields.items("roles", |reader, node, kind| reader.parse(node, kind, name::role));
    let verify = fields.boolean("verify");
    if verify == Some(true) && fields.written("mail").is_none() {
        let fault = Fault::new(Code::MissingKey, "nobody could verify an address: `verify` needs `mail`")
            .hint("mail: {host: mail.example.com, from: noreply@example.com, reset_url: …, verify_url: …}");
        fields.fault("verify", fault);
    }
    let access_token = fields.duration("access_token");
    let refresh_token = fields.duration("refresh_token");
    if let (Some(access), Some(refresh)) = (access_token, refresh_token)
        && access > refresh
    {
        let key = if fields.written("refresh_token").is_some() { "refresh_token" } else { "access_token" };
        let fault = Fault::new(Code::Conflict, "an access token would outlive the refresh token that renews it")
            .hint("write `refresh_token` at least as long as `access_token`");
        fields.fault(key, fault);
    }
    let algorithm = fields.choice("algorithm", &[("HS256", TokenAlgorithm::Hs256), ("EdDSA", TokenAlgorithm::EdDsa)]);
    let secret = fields.optional("secret", |reader, node, _| secret::key(reader, node, secret::KEY_BYTES));
    if algorithm == Some(TokenAlgorithm::EdDsa) && fields.written("secret").is_some() {
        let fault = Fault::new(
            Code::Conflict,
            "`secret` is for HS256: EdDSA signs with the first of `identity.signing_keys`, or with a key that is kept in the state folder",
        )
        .hint("remove `secret`, or write `algorithm: HS256`");
        fields.fault("secret", fault);
    }
    let issuer = fields.scalar("issuer", |reader, node, field| word(reader, node, &field.kind));
    let audience = optional_word(fields, "audience");
    let min_password = fields.count("min_password");
    let lockout = fields.section("lockout", |fields| {
        let attempts = fields.count("attempts");
        let (within, lasts) = (fields.duration("within"), fields.duration("for"));
        Some(Lockout { attempts: attempts?, within: within?, lasts: lasts? })
    });
    let mail = fields.section_or_off("mail", read_mail);
    Some(Accounts {
        prefix: prefix?,
        register: register?,
        roles: roles?,
        verify: verify?,
        access_token: access_token?,
        refresh_token: refresh_token?,
        algorithm: algorithm?,
        secret: secret?,
        issuer: issuer?,
        audience: audience?,
        min_password: min_password?,
        lockout: lockout?,
        mail: mail?,
    })
}

fn read_mail(fields: &mut Fields<'_, '_>) -> Option<Mail> {
    let host = fields.get("host", |reader, node, field| reader.parse(node, &field.kind, name::host));
    let words = [("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit), ("off", MailTls::Off)];
    let tls = fields.choice("tls", &words);
    if let (Some(MailTls::Off), Some(host)) = (tls, &host)
        && !address::is_loopback(host)
    {
        let fault = Fault::invalid("without TLS everybody on the way could read the links, and take over accounts")
            .hint("tls: starttls, or tls: implicit");
        fields.fault("tls", fault);
    }
    let port = fields.optional("port", |reader, node, field| {
        reader.integer(node, &field.kind).and_then(|port| u16::try_from(port).ok())
    });
    let user = optional_word(fields, "user");
    let password = fields.optional("password", |reader, node, _| secret::given(reader, node));
    if fields.written("user").is_some() != fields.written("password").is_some() {
        let (written, missing) =
            if fields.written("user").is_some() { ("user", "password") } else { ("password", "user") };
        let fault = Fault::new(Code::MissingKey, format!("`{written}` needs `{missing}` beside it"));
        fields.fault(written, fault);
    }
    let from = fields.get("from", |reader, node, field| reader.parse(node, &field.kind, login::email));
    let [reset_url, verify_url] = ["reset_url", "verify_url"]
        .map(|key| fields.get(key, |reader, node, field| reader.parse(node, &field.kind, link)));
    let tls = tls?;
    let default_port = match tls {
        MailTls::StartTls => 587,
        MailTls::Implicit => 465,
        MailTls::Off => 25,
    };
    Some(Mail {
        host: host?,
        port: port?.unwrap_or(default_port),
        tls,
        user: user?,
        password: password?,
        from: from?,
        reset_url: reset_url?,
        verify_url: verify_url?,
    })
}

fn link(text: &str) -> Result<Arc<str>, Fault> {
    let filled = text.replacen("{token}", "sample", 1);
    if filled == text || filled.contains(['{', '}']) {
        return Err(Fault::invalid("this link must have `{token}` in it, once")
            .hint("https://app.example.com/reset?token={token}"));
    }
    // A page may read the token behind the `#`, which no server sees.
    address::guarded(filled.split('#').next().unwrap_or_default())?;
    Ok(text.into())
}
