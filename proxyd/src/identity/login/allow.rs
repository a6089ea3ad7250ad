//! Who of those that a provider knows may come in, and as whom. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use shared::config::identity::{Allow, Login, LoginKind};

use super::provider::{Failure, Recognised, failed};
use crate::exchange::Made;
use crate::identity::called;
use crate::identity::claims::Claims;
use crate::identity::session::{Session, SessionId};

/// Where a provider says which organisations somebody is of, unless the config says where: claims that providers fill
/// themselves, not those in which people may write what they like.
const ORGANISATIONS: [&str; 2] = ["organizations", "groups"];

/// Bounds of what is taken from a provider: it all goes into a cookie, and upstream.
const MOST_NAMES: usize = 64;
const LONGEST_CLAIM: usize = 1024;

/// Bytes of a hash that a session holds: enough for what only the config says.
const MARK_BYTES: usize = 12;

/// Of the provider, and of who we are to it: the same name of somebody may be another's there.
pub(super) fn origin(config: &Login) -> Box<str> {
    let (kind, address) = match &config.kind {
        LoginKind::Oidc { issuer } => ("oidc", issuer),
        LoginKind::GitHub { api_url, .. } => ("github", api_url),
    };
    mark(&json!([kind, &**address, &*config.client_id]))
}

/// Of all that the config says of who may come in, and as whom. What is a set has no order.
pub(super) fn rules(config: &Login) -> Box<str> {
    // Taken apart, so that none is forgotten.
    let Login {
        name: _,
        kind: _,
        client_id: _,
        client_secret: _,
        scopes,
        public_url: _,
        allow,
        user_claim,
        roles_claim,
        asks_roles,
        roles,
        timeout: _,
    } = config;
    let Allow { emails, domains, organisations, organisations_claim, claims } = allow;
    let set = |names: &mut dyn Iterator<Item = String>| {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    };
    let lower = |names: &[std::sync::Arc<str>]| set(&mut names.iter().map(|name| name.to_ascii_lowercase()));
    let mut claims: Vec<_> = claims.iter().map(|(path, value)| [&**path, &**value]).collect();
    claims.sort_unstable();
    mark(&json!([
        [lower(emails), lower(domains), lower(organisations)],
        organisations_claim.as_deref(),
        claims,
        &**user_claim,
        [json!(&**roles_claim), json!(asks_roles)],
        set(&mut roles.iter().map(ToString::to_string)),
        set(&mut scopes.iter().map(ToString::to_string)),
    ]))
}

fn mark(said: &serde_json::Value) -> Box<str> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, said.to_string().as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..MARK_BYTES).unwrap_or_default()).into()
}

/// When a session begins and ends.
#[derive(Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "each is in seconds since the epoch")]
pub(super) struct Times {
    pub started_s: i64,
    pub ends_s: i64,
    pub seen_s: i64,
}

/// The session of somebody who may come in. `sent` are the claims that go upstream.
pub(super) fn session(
    config: &Login,
    id: SessionId,
    recognised: Recognised,
    sent: &[&str],
    times: Times,
) -> Result<Session, Failure> {
    let Recognised { claims, scopes, tokens } = recognised;
    let email = verified_email(&claims);
    if !allows(&config.allow, &claims, email.as_deref()) {
        return Err(failed(config, &refusal(config, &claims), Failure::Refused));
    }
    // An address stands for its owner only where the provider has verified it.
    let user = if &*config.user_claim == "email" {
        email.clone()
    } else {
        claims.name(&config.user_claim).map(std::borrow::Cow::into_owned)
    };
    let Some(user) = user.filter(|user| called::is_name(user)) else {
        let why = format!("the claim `{}` is not there, or no name", config.user_claim);
        return Err(failed(config, &why, Failure::Failed));
    };
    let mut roles: Vec<Box<str>> = Vec::new();
    let own = config.roles.iter().map(ToString::to_string);
    for role in own.chain(roles_of(&claims, &config.roles_claim)).filter(|role| called::is_name(role)).take(MOST_NAMES)
    {
        if !roles.iter().any(|known| **known == *role) {
            roles.push(role.into());
        }
    }
    let scopes = scopes.unwrap_or_else(|| config.scopes.iter().map(ToString::to_string).collect());
    let scopes = scopes.into_iter().filter(|scope| called::is_name(scope)).take(MOST_NAMES).map(Into::into).collect();
    let claims = sent.iter().filter_map(|path| Some(((*path).into(), told(&claims, path)?.into()))).collect();
    Ok(Session {
        id,
        provider: format!("login.{}", config.name).into(),
        user: user.into(),
        email: email.map(Into::into),
        roles,
        scopes,
        claims,
        started_s: times.started_s,
        ends_s: times.ends_s,
        seen_s: times.seen_s,
        tokens,
        origin: origin(config),
        rules: rules(config),
        is_fresh: false,
        made: Made::default(),
    })
}

/// Whom `allow` does not name, and what of its e-mail address does not count.
fn refusal(config: &Login, claims: &Claims) -> String {
    let who = claims.name(&config.user_claim).filter(|user| called::is_name(user));
    let who = who.map(|user| format!(" as {user}")).unwrap_or_default();
    let asks = !config.allow.emails.is_empty() || !config.allow.domains.is_empty();
    let lack = match claims.text("email") {
        _ if !asks || verified_email(claims).is_some() => "",
        None => ": it has no `email`",
        Some(email) if domain(&email).is_none() => ": its `email` is no address",
        Some(_) => ": its `email` is not verified (`email_verified`)",
    };
    format!("`allow` names no such person{who}{lack}")
}

/// The roles that a claim gives. A text is one role: `not admin` makes nobody an `admin`. Only of scopes there are several in
/// one text (RFC 6749 section 3.3).
fn roles_of(claims: &Claims, path: &str) -> Vec<String> {
    if matches!(path, "scope" | "scp") { claims.list(path) } else { claims.names(path) }
}

/// A claim as it goes upstream.
fn told(claims: &Claims, path: &str) -> Option<String> {
    let is_sane =
        |text: &String| !text.is_empty() && text.len() <= LONGEST_CLAIM && !text.chars().any(char::is_control);
    claims.told(path).map(std::borrow::Cow::into_owned).filter(is_sane)
}

fn verified_email(claims: &Claims) -> Option<String> {
    let is_verified = claims.text("email_verified").as_deref() == Some("true");
    claims.text("email").filter(|email| is_verified && domain(email).is_some()).map(std::borrow::Cow::into_owned)
}

/// The domain of an address (RFC 5321 section 4.1.2): it has one `@` outside quotes. What could be read in two ways is none.
fn domain(address: &str) -> Option<&str> {
    let after = match address.strip_prefix('"') {
        None => address.split_once('@').filter(|(name, _)| !name.is_empty() && !name.contains('"'))?.1,
        Some(quoted) => {
            let mut is_escaped = false;
            let end = quoted.find(|c| {
                let ends = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                ends
            })?;
            quoted.get(end + 1..)?.strip_prefix('@')?
        }
    };
    (!after.is_empty() && !after.contains(['@', '"']) && !address.chars().any(char::is_control)).then_some(after)
}

/// Whether it is somebody who may come in.
pub(super) fn lets_in(allow: &Allow, claims: &Claims) -> bool {
    allows(allow, claims, verified_email(claims).as_deref())
}

/// The claims that say which organisations somebody is of.
pub(super) fn organisations(allow: &Allow) -> impl Iterator<Item = &str> {
    let own = allow.organisations_claim.as_deref();
    own.into_iter().chain(ORGANISATIONS.into_iter().filter(move |_| own.is_none()))
}

fn allows(allow: &Allow, claims: &Claims, email: Option<&str>) -> bool {
    if !allow.claims.iter().all(|(path, value)| claims.holds(path, value)) {
        return false;
    }
    if allow.emails.is_empty() && allow.domains.is_empty() && allow.organisations.is_empty() {
        return true;
    }
    let is_named = |list: &[std::sync::Arc<str>], name: &str| list.iter().any(|own| own.eq_ignore_ascii_case(name));
    let by_email = email.is_some_and(|email| {
        is_named(&allow.emails, email) || domain(email).is_some_and(|domain| is_named(&allow.domains, domain))
    });
    by_email
        || organisations(allow).any(|path| claims.names(path).iter().any(|name| is_named(&allow.organisations, name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::config::identity::LoginKind;

    use super::*;
    use crate::identity::session::Tokens;

    fn of_claims(claims: &serde_json::Value) -> Claims {
        Claims(claims.as_object().unwrap().clone())
    }

    fn login(allow: &Allow, user_claim: &str) -> Login {
        Login {
            name: "corp".into(),
            kind: LoginKind::Oidc { issuer: "https://id.example".into() },
            client_id: "client".into(),
            client_secret: None,
            scopes: Vec::new(),
            public_url: None,
            allow: allow.clone(),
            user_claim: user_claim.into(),
            roles_claim: "roles".into(),
            asks_roles: false,
            roles: vec!["user".into()],
            timeout: std::time::Duration::from_secs(1),
        }
    }

    fn of(allow: &Allow, user_claim: &str, claims: &serde_json::Value) -> Result<Session, Failure> {
        let config = login(allow, user_claim);
        let claims = of_claims(claims);
        let recognised = Recognised { claims, scopes: Some(vec!["openid".to_owned()]), tokens: Tokens::default() };
        let times = Times { started_s: 0, ends_s: 10, seen_s: 0 };
        session(&config, SessionId::draw().unwrap(), recognised, &["team", "groups"], times)
    }

    #[test]
    fn whoever_is_not_named_stays_outside() {
        let lists = Allow {
            emails: vec!["eve@a.example".into()],
            domains: vec!["b.example".into()],
            organisations: vec!["Acme".into()],
            organisations_claim: None,
            claims: Vec::new(),
        };
        let by_claim = Allow { organisations_claim: Some("org.name".into()), ..lists.clone() };
        let needs = Allow { claims: vec![("tier".into(), "gold".into())], ..lists.clone() };
        let check = |allow: &Allow, claims: serde_json::Value, expected: bool| {
            assert_eq!(of(allow, "sub", &claims).map_err(Failure::code).err(), (!expected).then_some("login_refused"));
        };
        check(&lists, json!({"sub": "x"}), false);
        check(&lists, json!({"sub": "x", "email": "eve@a.example"}), false);
        check(&lists, json!({"sub": "x", "email": "eve@a.example", "email_verified": false}), false);
        check(&lists, json!({"sub": "x", "email": "eve@a.example", "email_verified": null}), false);
        check(&lists, json!({"sub": "x", "email": "bob@a.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "bob@evil.example@c.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "bob@xb.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "bob@b.example.evil.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "b.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "a@evil.example@b.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "@b.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "\"a@evil.example@b.example", "email_verified": true}), false);
        check(&lists, json!({"sub": "x", "email": "\"a@evil.example\"@b.example", "email_verified": true}), true);
        check(&lists, json!({"sub": "x", "groups": ["acme2", "xacme"]}), false);
        check(&lists, json!({"sub": "x", "groups": "not acme"}), false);
        check(&lists, json!({"sub": "x", "groups": ["not acme"]}), false);
        check(&lists, json!({"sub": "x", "org": "acme", "organization": "acme"}), false);
        check(&by_claim, json!({"sub": "x", "groups": ["acme"], "organizations": ["acme"]}), false);
        check(&by_claim, json!({"sub": "x", "org": {"name": "not acme"}}), false);
        check(&needs, json!({"sub": "x", "groups": ["acme"]}), false);
        check(&needs, json!({"sub": "x", "tier": "gold"}), false);
        check(&needs, json!({"sub": "x", "tier": ["silver"], "groups": ["acme"]}), false);
        check(&lists, json!({"sub": "x", "email": "EVE@A.example", "email_verified": true}), true);
        check(&lists, json!({"sub": "x", "email": "bob@B.EXAMPLE", "email_verified": true}), true);
        check(&lists, json!({"sub": "x", "groups": ["other", "acme"]}), true);
        check(&lists, json!({"sub": "x", "organizations": "acme"}), true);
        check(&by_claim, json!({"sub": "x", "org": {"name": "Acme"}}), true);
        check(&by_claim, json!({"sub": "x", "org": {"name": ["other", "acme"]}}), true);
        check(&needs, json!({"sub": "x", "tier": ["gold"], "groups": ["acme"]}), true);
        check(&Allow::default(), json!({"sub": "x"}), true);
    }

    #[test]
    fn why_somebody_stays_outside_is_said() {
        let config = login(&Allow { domains: vec!["b.example".into()], ..Allow::default() }, "sub");
        let check = |claims: serde_json::Value, expected: &str| {
            assert_eq!(refusal(&config, &of_claims(&claims)), format!("`allow` names no such person{expected}"));
        };
        check(json!({"sub": "eve"}), " as eve: it has no `email`");
        check(
            json!({"sub": "eve", "email": "eve@b.example"}),
            " as eve: its `email` is not verified (`email_verified`)",
        );
        check(json!({"sub": "eve", "email": "a@c@b.example"}), " as eve: its `email` is no address");
        check(json!({"sub": "a\nb", "email": "eve@c.example", "email_verified": true}), "");
    }

    #[test]
    fn a_session_holds_what_is_sane_of_the_claims() {
        let none = Allow::default();
        let check = |claim: &str, claims: serde_json::Value| of(&none, claim, &claims).map(|session| session.user);
        assert_eq!(check("sub", json!({})), Err(Failure::Failed));
        assert_eq!(check("sub", json!({"sub": ""})), Err(Failure::Failed));
        assert_eq!(check("sub", json!({"sub": "a\nb"})), Err(Failure::Failed));
        assert_eq!(check("sub", json!({"sub": "a".repeat(257)})), Err(Failure::Failed));
        assert_eq!(check("email", json!({"email": "eve@a.example"})), Err(Failure::Failed));
        assert_eq!(check("id", json!({"id": 42})), Ok("42".into()));
        assert_eq!(check("sub", json!({"sub": " eve"})), Err(Failure::Failed));
        assert_eq!(check("sub", json!({"sub": true})), Err(Failure::Failed));
        let claims = json!({"sub": "eve", "roles": ["admin", "user", "a\u{0}"], "team": "red", "groups": ["a", "b"]});
        let session = of(&none, "sub", &claims).unwrap();
        assert_eq!(session.roles.join(" "), "user admin");
        assert_eq!(
            (session.claim("team"), session.claim("groups"), session.claim("x")),
            (Some("red"), Some("a,b"), None)
        );
        assert_eq!((session.login(), &*session.provider), ("corp", "login.corp"));
        let claims = json!({"sub": "eve", "groups": ["a,admin", "b", "c\nd", "", " ", "dev ops"], "team": ["a,b"]});
        let session = of(&none, "sub", &claims).unwrap();
        assert_eq!((session.claim("groups"), session.claim("team")), (Some("b,dev ops"), None));
        let session = of(&none, "sub", &json!({"sub": "eve", "roles": "not admin"})).unwrap();
        assert_eq!(session.roles.join("/"), "user/not admin");
        assert_eq!(roles_of(&of_claims(&json!({"scope": "a b", "scp": ["a b"]})), "scope"), ["a", "b"]);
    }
}
