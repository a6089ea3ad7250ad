//! Cookies (RFC 6265bis): how ours are called, found in what clients send, set and taken back.

use std::sync::Arc;

use shared::config::identity::{SameSite, Session};

use crate::exchange::{Headers, Value, name};

/// The longest cookie that every browser keeps is 4096 bytes, name and attributes among them.
pub(in crate::identity) const LONGEST: usize = 3800;

/// What a client sends under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Found<'a> {
    None,
    One(&'a [u8]),
    /// Whoever can set cookies for a neighbouring host may have added one: none of them is believed.
    Several,
}

/// The cookie of this name.
pub(in crate::identity) fn find<'a>(headers: &'a Headers, wanted: &str) -> Found<'a> {
    let mut found = Found::None;
    for value in pairs(headers).filter_map(|(name, value)| (name == wanted.as_bytes()).then_some(value)) {
        found = if found == Found::None { Found::One(value) } else { Found::Several };
    }
    found
}

/// Every cookie that was sent: HTTP/2 may bring them in several lines.
pub(in crate::identity) fn pairs(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.all(&name::COOKIE).flat_map(|line| line.split(|&byte| byte == b';')).filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

/// How cookies of sessions and logins are written.
#[derive(Clone, Debug)]
pub(in crate::identity) struct Jar {
    /// Of the session: over plain HTTP, and over HTTPS.
    session: [String; 2],
    /// What those of logins under way begin with.
    pending: [String; 2],
    domain: Option<Arc<str>>,
    same_site: SameSite,
}

impl Jar {
    pub(in crate::identity) fn of(config: &Session) -> Self {
        // `__Host-` lets nobody but this very host set it, and only over HTTPS.
        let name = &config.cookie;
        let prefix = if config.domain.is_none() { "__Host-" } else { "" };
        Self {
            session: [name.to_string(), format!("{prefix}{name}")],
            pending: ["", "__Host-"].map(|prefix| format!("{prefix}{name}_login_")),
            domain: config.domain.clone(),
            same_site: config.same_site,
        }
    }

    /// What the session's cookie is called.
    pub(in crate::identity) fn session(&self, https: bool) -> &str {
        let [plain, secure] = &self.session;
        if https { secure } else { plain }
    }

    /// What the cookies of logins under way begin with.
    pub(in crate::identity) fn pending(&self, https: bool) -> &str {
        let [plain, secure] = &self.pending;
        if https { secure } else { plain }
    }

    /// Whether a cookie of this name is ours.
    pub(in crate::identity) fn is_own(&self, name: &[u8]) -> bool {
        self.session.iter().any(|own| own.as_bytes() == name)
            || self.pending.iter().any(|own| name.starts_with(own.as_bytes()))
    }

    /// Sets the session's cookie for so long; with nothing in it and for no time, takes it back.
    pub(in crate::identity) fn set_session(&self, https: bool, value: &str, lasts_s: i64) -> Option<Value> {
        let same_site = match self.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let domain = self.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        write(self.session(https), value, lasts_s, &format!("{same_site}{domain}"), https)
    }

    /// The same of a login under way. Always lax: the provider sends people back from another site.
    pub(in crate::identity) fn set_pending(https: bool, name: &str, value: &str, lasts_s: i64) -> Option<Value> {
        write(name, value, lasts_s, "Lax", https)
    }
}

fn write(name: &str, value: &str, lasts_s: i64, same_site: &str, https: bool) -> Option<Value> {
    let secure = if https { "; Secure" } else { "" };
    let lasts_s = lasts_s.max(0);
    Value::parse(&format!("{name}={value}; Path=/; Max-Age={lasts_s}; HttpOnly{secure}; SameSite={same_site}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(lines: &[&str]) -> Headers {
        let mut headers = Headers::new();
        for line in lines {
            assert!(headers.push(b"cookie", line.as_bytes()));
        }
        headers
    }

    #[test]
    fn one_is_found_and_of_several_none() {
        let check = |lines: &[&str], expected: Found<'_>| assert_eq!(find(&sent(lines), "sid"), expected, "{lines:?}");
        check(&[], Found::None);
        check(&["sid"], Found::None);
        check(&["SID=a; sid2=a; xsid=a; a=sid"], Found::None);
        check(&["sid=a; sid=b"], Found::Several);
        check(&["sid=a", "b=c; sid=a"], Found::Several);
        check(&["a=b;sid=c=d ; e=f"], Found::One(b"c=d"));
        check(&["a=b", "sid=", "c=d"], Found::One(b""));
    }

    #[test]
    fn attributes_follow_from_config_and_scheme() {
        let check = |config: Session, https, expected: &str| {
            let set = Jar::of(&config).set_session(https, "v", 60).unwrap();
            assert_eq!(String::from_utf8_lossy(set.as_bytes()), expected);
        };
        let of = |same_site, domain: Option<&str>| Session {
            cookie: "sid".into(),
            same_site,
            domain: domain.map(Into::into),
            ..Session::default()
        };
        check(of(SameSite::Lax, None), false, "sid=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
        check(of(SameSite::Strict, None), true, "__Host-sid=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict");
        check(
            of(SameSite::None, Some("a.example")),
            true,
            "sid=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None; Domain=a.example",
        );
        let jar = Jar::of(&of(SameSite::Strict, Some("a.example")));
        let name = format!("{}1", jar.pending(true));
        let set = Jar::set_pending(true, &name, "", 0).unwrap();
        assert_eq!(
            String::from_utf8_lossy(set.as_bytes()),
            "__Host-sid_login_1=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
        );
    }
}
