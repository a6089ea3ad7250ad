//! `identity.session`: how those who logged in stay so.

use std::sync::Arc;
use std::time::Duration;

use super::{address, secret};
use crate::config::Secret;
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;
use crate::config::{name, path, redis};

/// `identity.session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The cookie's name. Over HTTPS it is sent with the prefix `__Host-` (RFC 6265bis section 4.1.3.2), unless `domain` is there.
    pub cookie: Arc<str>,
    /// Cookies are sealed with the first, and opened with any; none: a key that is kept in the state folder.
    pub secrets: Vec<Secret>,
    pub store: SessionStore,
    /// Without a request for so long a session ends.
    pub idle: Duration,
    /// So long after the login it ends in any case.
    pub absolute: Duration,
    pub same_site: SameSite,
    pub domain: Option<Arc<str>>,
    /// Where login, callback and logout are served: begins and ends with a slash.
    pub path: Arc<str>,
    /// Where people are after they logged out: a path, or an absolute URL.
    pub after_logout: Arc<str>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStore {
    /// Sealed into the cookie itself.
    Cookie,
    /// On this proxy, kept over a restart; the cookie holds its id.
    Local,
    /// In Redis; the cookie holds its id.
    Redis,
}

/// RFC 6265bis section 4.1.2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Lax,
    Strict,
    None,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            cookie: "proxyd_session".into(),
            secrets: Vec::new(),
            store: SessionStore::Cookie,
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(12),
            same_site: SameSite::Lax,
            domain: None,
            path: "/.proxyd/".into(),
            after_logout: "/".into(),
        }
    }
}

/// The declaration of the section.
pub(super) static SESSION: Section = Section {
    name: "identity.session",
    doc: "How those who logged in (`identity.login`) stay so.",
    fields: &[&[
        Field::new(
            "cookie",
            Kind::Text { what: "the name of a cookie", sample: "proxyd_session" },
            "The cookie's name; over HTTPS it is sent with `__Host-` before it, unless there is a `domain`.",
        )
        .default("proxyd_session"),
        Field::new(
            "secret",
            secret::KEY,
            "What cookies are sealed with, by reference: `${env:SESSION_SECRET}`; 32 bytes or more, the same on every proxy of a group. The default is a key that is made once and kept in `server.state_dir`.",
        ),
        Field::new(
            "secrets",
            Kind::List(&secret::KEY),
            "Several, to change one for another: cookies are sealed with the first, and opened with any.",
        ),
        Field::new(
            "store",
            Kind::Choice(&["cookie", "local", "redis"]),
            "Where a session is: sealed into the cookie itself, kept by this proxy over a restart, or in `redis`.",
        )
        .default("cookie"),
        Field::new("idle", Kind::Duration { min: "1m", max: "400d" }, "Without a request for so long a session ends.")
            .default("1h"),
        Field::new(
            "absolute",
            Kind::Duration { min: "1m", max: "400d" },
            "So long after the login it ends in any case.",
        )
        .default("12h"),
        Field::new(
            "same_site",
            Kind::Choice(&["lax", "strict", "none"]),
            "Which requests of other sites bring the cookie.",
        )
        .default("lax"),
        Field::new(
            "domain",
            Kind::Text { what: "a domain", sample: "example.com" },
            "The cookie goes to all hosts of this domain; the default is the one host.",
        ),
        Field::new(
            "path",
            Kind::Text { what: "a path such as `/.proxyd/`", sample: "/.proxyd/" },
            "Where login, callback and logout are served.",
        )
        .default("/.proxyd/"),
        Field::new(
            "after_logout",
            Kind::Text { what: "a path or a URL", sample: "/" },
            "Where people are after they logged out.",
        )
        .default("/"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>, has_redis: bool) -> Option<Session> {
    let cookie = fields.scalar("cookie", |reader, node, field| reader.parse(node, &field.kind, cookie));
    let one = fields.optional("secret", |reader, node, _| secret::key(reader, node, secret::KEY_BYTES));
    let many = fields.list_of("secrets", |reader, node, _| secret::key(reader, node, secret::KEY_BYTES));
    if fields.written("secret").is_some() && fields.written("secrets").is_some() {
        let fault = Fault::new(Code::Conflict, "`secret` is one, `secrets` are several: one of the two is written")
            .hint("secrets: [\"${env:NEW}\", \"${env:OLD}\"]");
        fields.fault("secrets", fault);
    }
    let words = [("cookie", SessionStore::Cookie), ("local", SessionStore::Local), ("redis", SessionStore::Redis)];
    let store = fields.choice("store", &words);
    if store == Some(SessionStore::Redis) {
        redis::check_there(fields, "store", has_redis);
    }
    let (idle, absolute) = (fields.duration("idle"), fields.duration("absolute"));
    if let (Some(idle), Some(absolute)) = (idle, absolute)
        && idle > absolute
    {
        let key = if fields.written("absolute").is_some() { "absolute" } else { "idle" };
        let fault = Fault::new(Code::Conflict, "a session would end before it is idle for so long")
            .hint("write `absolute` at least as long as `idle`");
        fields.fault(key, fault);
    }
    let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    let same_site = fields.choice("same_site", &words);
    let domain = fields.optional("domain", |reader, node, field| {
        reader.parse(node, &field.kind, |text| name::host(text.strip_prefix('.').unwrap_or(text)))
    });
    let path = fields.scalar("path", |reader, node, field| {
        reader.parse(node, &field.kind, |text| path::literal(text).and_then(folder))
    });
    let after_logout =
        fields.scalar("after_logout", |reader, node, field| reader.parse(node, &field.kind, address::page));
    Some(Session {
        cookie: cookie?,
        secrets: one?.into_iter().chain(many?).collect(),
        store: store?,
        idle: idle?,
        absolute: absolute?,
        same_site: same_site?,
        domain: domain?,
        path: path?,
        after_logout: after_logout?,
    })
}

fn cookie(text: &str) -> Result<Arc<str>, Fault> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("__host-") || lower.starts_with("__secure-") {
        return Err(Fault::invalid("the prefix is put before the name where it may stand").hint("leave it out here"));
    }
    name::cookie(text)
}

/// A path with a final slash that is not every path.
fn folder(path: Arc<str>) -> Result<Arc<str>, Fault> {
    match path.trim_end_matches('/') {
        "" => Err(Fault::invalid("the pages would take every path").hint("path: /.proxyd/")),
        path => Ok(format!("{path}/").into()),
    }
}
