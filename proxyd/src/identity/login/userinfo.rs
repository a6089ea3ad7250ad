//! What a provider's userinfo endpoint says beyond the `id_token` (`OpenID` Connect Core section 5.3): when it is worth a question,
//! and how the two go together.

use std::sync::Arc;

use openidconnect::AccessToken;
use shared::config::identity::Login;

use super::allow;
use super::provider::{Calls, Failure};
use crate::identity::claims::{Claims, ClaimsError};
use crate::identity::session::Session;

/// An address, and whether it is the person's own: the one says nothing without the other.
const EMAIL: [&str; 2] = ["email", "email_verified"];

/// Whether the token does not say what a login cannot do without.
pub(super) fn needs(config: &Login, claims: &Claims) -> bool {
    let is_missing = |path: &str| claims.get(path).is_none();
    let lacks_email = EMAIL.into_iter().any(is_missing);
    let allow = &config.allow;
    let by_email = !allow.emails.is_empty() || !allow.domains.is_empty();
    // Whoever is let in by what the token says needs no more.
    let lacks_reason = !allow::lets_in(allow, claims)
        && (allow.claims.iter().any(|(path, _)| is_missing(path))
            || (by_email && lacks_email)
            || (!allow.organisations.is_empty() && allow::organisations(allow).all(is_missing)));
    is_missing(&config.user_claim)
        || (&*config.user_claim == "email" && lacks_email)
        || (config.asks_roles && is_missing(&config.roles_claim))
        || lacks_reason
}

/// Whether it does not say what was asked for, or goes upstream: good to have, and no reason to keep somebody out.
pub(super) fn wishes(config: &Login, sent: &[Arc<str>], claims: &Claims) -> bool {
    let is_missing = |path: &str| claims.get(path).is_none();
    let by_scope = config.scopes.iter().any(|scope| &**scope == "email");
    (by_scope && EMAIL.into_iter().any(is_missing)) || sent.iter().any(|path| is_missing(path))
}

/// A claim that the session rests on, and that userinfo alone does not say: without its roles or what goes upstream the session
/// would be another one, and what was said at the login may not hold any more. Judged by the session, for the token of the login
/// is not kept where it does not fit into a cookie.
pub(super) fn lost<'a>(config: &'a Login, sent: &'a [Arc<str>], session: &Session, now: &Claims) -> Option<&'a str> {
    let of_claim = |role: &str| !config.roles.iter().any(|own| **own == *role);
    let has_roles = session.roles.iter().any(|role| of_claim(role));
    let roles = Some(&*config.roles_claim).filter(|_| has_roles);
    let sent = sent.iter().map(|path| &**path).filter(|path| session.claim(path).is_some());
    roles.into_iter().chain(sent).find(|path| now.get(path).is_none())
}

/// Asks about whoever has this access token; or why there is no answer.
pub(super) async fn ask(url: &str, token: &AccessToken, calls: &Calls) -> Result<Claims, (String, Failure)> {
    let request = http::Request::get(url)
        .header("authorization", format!("Bearer {}", token.secret()))
        .header("accept", "application/json")
        .body(Vec::new())
        .map_err(|_| ("the access token cannot be sent".to_owned(), Failure::Failed))?;
    let answer = calls.send(request).await;
    let answer = answer.map_err(|error| (format!("userinfo: {error}"), Failure::Unavailable))?;
    match answer.status().as_u16() {
        200 => Claims::parse(answer.body()).map_err(|error| {
            // A page of somebody on the way says nothing of the person.
            let failure = if error == ClaimsError::Syntax { Failure::Unavailable } else { Failure::Failed };
            ("the provider's userinfo is no JSON object".to_owned(), failure)
        }),
        // RFC 6750 section 3.1: it is the token that is no good, or not good enough.
        status @ (401 | 403) => Err((format!("userinfo answers {status}"), Failure::Failed)),
        status => Err((format!("userinfo answers {status}"), Failure::Unavailable)),
    }
}

/// Adds what the token does not say; what it says holds.
pub(super) fn complete(claims: &mut Claims, mut more: Claims) {
    let [has, tells] = [&*claims, &more].map(|claims| EMAIL.map(|name| claims.0.contains_key(name)));
    // As a pair, from one of the two: that one address is verified says nothing of another.
    let is_better = tells[0] && (!has[0] || (!has[1] && tells[1]));
    let worse = if is_better { &mut *claims } else { &mut more };
    for name in EMAIL {
        worse.0.remove(name);
    }
    for (name, value) in more.0 {
        claims.0.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(claims: &Value) -> Claims {
        Claims(claims.as_object().unwrap().clone())
    }

    #[test]
    fn an_address_and_its_proof_come_from_one_source() {
        let check = |claims: Value, more: Value, expected: Value| {
            let mut whole = of(&claims);
            complete(&mut whole, of(&more));
            assert_eq!(Value::Object(whole.0), expected, "{claims} {more}");
        };
        let (yes, no) = (json!({"email": "a", "email_verified": true}), json!({"email": "a", "email_verified": false}));
        check(json!({"email": "evil"}), json!({"email_verified": true}), json!({"email": "evil"}));
        check(json!({"email": "evil"}), yes.clone(), yes.clone());
        check(json!({"email": "evil"}), json!({"email": "b"}), json!({"email": "evil"}));
        check(json!({"email_verified": true}), json!({"email": "evil"}), json!({"email": "evil"}));
        check(json!({}), json!({"email_verified": true}), json!({}));
        check(no.clone(), json!({"email": "b", "email_verified": true}), no.clone());
        check(yes.clone(), json!({"email": "b", "email_verified": false}), yes.clone());
        check(json!({}), yes.clone(), yes);
        check(json!({"team": "red"}), json!({"team": "blue", "name": "n"}), json!({"team": "red", "name": "n"}));
    }
}
