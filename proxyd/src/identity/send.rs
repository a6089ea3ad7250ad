//! What upstreams are told of who it is: headers that only we may set.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use shared::config::identity::{Identity, InternalToken, Send};

use super::called;
use super::claims::Claims;
use super::mint::{Mint, TokenType};
use crate::exchange::{Name, Principal, Value};

/// `identity.send`, with its names made ready.
#[derive(Debug)]
pub struct Sends {
    user: Option<Name>,
    roles: Option<Name>,
    scopes: Option<Name>,
    key: Option<Name>,
    provider: Option<Name>,
    claims: Box<[(Name, Arc<str>)]>,
    token: Option<Token>,
    /// Of the config that it was made from: what was made amid another is made anew.
    pub generation: u64,
    /// Every header that a client may not send, forward-auth's too.
    barred: Arc<[Name]>,
}

/// A token of our own about whoever it is.
#[derive(Debug)]
struct Token {
    header: Name,
    config: InternalToken,
    mint: Arc<Mint>,
}

/// What there is to tell of somebody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    pub user: &'a str,
    pub provider: &'a str,
    pub roles: &'a [Box<str>],
    pub scopes: &'a [Box<str>],
    /// The prefix of the API key.
    pub key: Option<&'a str>,
}

impl Sends {
    /// Makes the names ready. They were checked with the config.
    pub fn compile(identity: &Identity, mint: &Arc<Mint>, generation: u64) -> Self {
        let Send { user, roles, scopes, key, provider, claims, token } = &identity.send;
        let name = |name: &Option<Arc<str>>| name.as_deref().and_then(Name::parse);
        let copied = identity.forward.iter().flat_map(|forward| &forward.copy);
        let claim = |(header, claim): &(Arc<str>, Arc<str>)| Some((Name::parse(header)?, Arc::clone(claim)));
        Self {
            user: name(user),
            roles: name(roles),
            scopes: name(scopes),
            key: name(key),
            provider: name(provider),
            claims: claims.iter().filter_map(claim).collect(),
            token: token.as_ref().and_then(|token| {
                Some(Token { header: Name::parse(&token.header)?, config: token.clone(), mint: Arc::clone(mint) })
            }),
            generation,
            barred: identity.send.headers().chain(copied).filter_map(|header| Name::parse(header)).collect(),
        }
    }

    /// Every header that a client may not send.
    pub fn barred(&self) -> &Arc<[Name]> {
        &self.barred
    }

    /// The token about somebody, and its header; made when the one before has half of its time behind it, or is of another config.
    pub fn token_about(&self, principal: &Principal, now_s: i64) -> Option<(&Name, Value)> {
        let token = self.token.as_ref()?;
        let value = principal.minted.or_mint(self.generation, now_s, || token.mint(principal, now_s))?;
        Some((&token.header, value))
    }

    /// The headers about somebody whom several recognised together: roles and scopes are those of all.
    pub fn about_all(&self, principal: &Principal, each: &[&Principal]) -> Option<Box<[(Name, Value)]>> {
        let told = Told {
            user: &principal.user,
            provider: &principal.provider,
            roles: &principal.roles,
            scopes: &principal.scopes,
            key: principal.key.as_ref().map(|key| &*key.prefix),
        };
        let ours = self.about(&told, |_| None)?;
        let mut headers = ours.to_vec();
        // Of each other header those of the first who has any: it may have several lines.
        for principal in each {
            let known = headers.clone();
            let is_new = |(name, _): &&(Name, Value)| known.iter().all(|(before, _)| before != name);
            headers.extend(principal.sent.iter().filter(is_new).cloned());
        }
        Some(headers.into())
    }

    /// The headers about somebody; `claim` finds a claim's text. None where nobody can be called so, or the name cannot stand in a
    /// header: an upstream that is not told who it is must not be asked. Whoever recognises comes by here. Without any name somebody
    /// is one of whom nothing is told.
    pub fn about<'c>(
        &self,
        told: &Told<'_>,
        claim: impl Fn(&str) -> Option<Cow<'c, str>>,
    ) -> Option<Box<[(Name, Value)]>> {
        if !told.user.is_empty() && !called::is_name(told.user) {
            return None;
        }
        let mut headers = Vec::new();
        let mut put = |name: &Option<Name>, text: &str| {
            if let Some(name) = name {
                headers.push((name.clone(), Value::parse(text)?));
            }
            Some(())
        };
        put(&self.user, told.user)?;
        put(&self.provider, told.provider)?;
        if !told.roles.is_empty() {
            put(&self.roles, &joined(told.roles, ","))?;
        }
        if !told.scopes.is_empty() {
            put(&self.scopes, &joined(told.scopes, " "))?;
        }
        if let Some(key) = told.key {
            put(&self.key, key)?;
        }
        for (name, path) in &self.claims {
            if let Some(value) = claim(path).and_then(|text| Value::parse(&text)) {
                headers.push((name.clone(), value));
            }
        }
        Some(headers.into())
    }
}

impl Token {
    /// RFC 7519; good from a moment ago, since clocks differ.
    fn mint(&self, principal: &Principal, now_s: i64) -> Option<(i64, Value)> {
        const SKEW_S: i64 = 5;
        // Ours alone: what a client calls its request is no identity of a token.
        let mut id = [0; 16];
        getrandom::fill(&mut id).ok()?;
        let lasts_s = i64::try_from(self.config.lasts.as_secs()).ok()?;
        // Whoever gets it has at least half of its time left. One that ends with what it rests on ends no later if it is made anew.
        let (until_s, sent_until_s) = match principal.until_s {
            Some(until_s) if until_s < now_s + lasts_s => (until_s, until_s),
            Some(_) | None => (now_s + lasts_s, now_s + lasts_s / 2),
        };
        let mut claims = json!({
            "iss": &*self.config.issuer,
            "sub": &*principal.user,
            "provider": &*principal.provider,
            "roles": &*principal.roles,
            "scope": joined(&principal.scopes, " "),
            "iat": now_s,
            "nbf": now_s - SKEW_S,
            "exp": until_s,
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        if let Some(claims) = claims.as_object_mut() {
            if let Some(audience) = &self.config.audience {
                claims.insert("aud".to_owned(), Json::from(&**audience));
            }
            if let Some(key) = &principal.key {
                claims.insert("key".to_owned(), Json::from(&*key.prefix));
            }
        }
        let Json::Object(claims) = claims else { return None };
        let token = self.mint.sign(TokenType::Jwt, &Claims::from(claims)).ok()?;
        Some((sent_until_s, Value::parse(&token)?))
    }
}

/// Those that are one member of a list when they are read again: `a,admin` would be two.
fn joined(members: &[Box<str>], between: &str) -> String {
    let is_one =
        |member: &&str| !member.is_empty() && !member.chars().any(|c| c == ',' || c.is_whitespace() || c.is_control());
    let members: Vec<&str> = members.iter().map(|member| &**member).filter(is_one).collect();
    members.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends() -> Sends {
        let mint = Arc::new(Mint::hs256(&[7; 32]).unwrap());
        let name = |name: &str| Some(Arc::from(name));
        Sends::compile(
            &Identity {
                send: Send {
                    user: name("x-user"),
                    roles: name("x-roles"),
                    scopes: name("x-scopes"),
                    key: name("x-key"),
                    provider: None,
                    claims: vec![("x-mail".into(), "email".into())],
                    token: None,
                },
                ..Identity::default()
            },
            &mint,
            1,
        )
    }

    fn check(user: &str, roles: &[&str], scopes: &[&str], expected: Option<&[(&str, &str)]>) {
        let boxed = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect::<Vec<Box<str>>>();
        let (roles, scopes) = (boxed(roles), boxed(scopes));
        let told = Told { user, provider: "jwt.main", roles: &roles, scopes: &scopes, key: None };
        let found = sends().about(&told, |claim| (claim == "email").then_some(Cow::Borrowed("a@example.org")));
        let found = found.map(|headers| {
            let text = |(name, value): &(Name, Value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            headers.iter().map(text).collect::<Vec<_>>()
        });
        let expected =
            expected.map(|lines| lines.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>());
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_that_is_sent_can_be_read_as_more_than_it_is() {
        for name in
            ["alice\r\nx-roles: admin", " alice", "alice ", "\u{a0}alice", "alice\u{2003}", "  ", &"a".repeat(257)]
        {
            check(name, &[], &[], None);
        }
        check(
            "alice",
            &["user,admin", "dev ops", "", "writer"],
            &["read:a", "b c"],
            Some(&[("x-user", "alice"), ("x-roles", "writer"), ("x-scopes", "read:a"), ("x-mail", "a@example.org")]),
        );
        check("alice", &[], &[], Some(&[("x-user", "alice"), ("x-mail", "a@example.org")]));
    }

    #[test]
    fn a_token_of_our_own_ends_with_what_it_rests_on() {
        let token = InternalToken {
            header: "x-token".into(),
            issuer: "proxyd".into(),
            audience: None,
            lasts: std::time::Duration::from_mins(1),
            jwks_path: "/jwks".into(),
        };
        let identity = Identity { send: Send { token: Some(token), ..Send::default() }, ..Identity::default() };
        let sends = |generation| Sends::compile(&identity, &Arc::new(Mint::hs256(&[7; 32]).unwrap()), generation);
        let first = sends(1);
        let check = |sends: &Sends, principal: &Principal, now_s: i64, expected: i64| {
            let (_, value) = sends.token_about(principal, now_s).unwrap();
            let text = String::from_utf8(value.as_bytes().to_vec()).unwrap();
            let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap();
            assert_eq!(Claims::parse(&claims).unwrap().number("exp"), Some(expected as f64), "at {now_s}");
            text
        };
        let forever = Principal::default();
        let made = check(&first, &forever, 1000, 1060);
        assert_eq!(check(&first, &forever, 1029, 1060), made);
        assert_ne!(check(&first, &forever, 1030, 1090), made);
        // Another config may have another key.
        assert_ne!(check(&sends(2), &forever, 1030, 1090), made);
        let ending = Principal { until_s: Some(1070), ..Principal::default() };
        check(&first, &ending, 1000, 1060);
        let last = check(&first, &ending, 1030, 1070);
        assert_eq!(check(&first, &ending, 1069, 1070), last, "none would last longer");
    }

    #[test]
    fn what_only_we_may_set_is_barred() {
        let barred: Vec<_> = sends().barred().iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(barred, ["x-user", "x-roles", "x-scopes", "x-key", "x-mail"]);
    }
}
