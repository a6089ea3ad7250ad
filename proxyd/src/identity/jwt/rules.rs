//! What a token must claim (RFC 7519 section 4.1), by the config. Its signature holds already. What an issuer answers about a token
//! (RFC 7662) is held to the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use shared::config::identity::Jwt;

use super::verified::Verified;
use crate::exchange::Denial;
use crate::identity::called;
use crate::identity::claims::Claims;

/// Times past the year 9999 are mistakes, or meant to overflow something.
const LATEST: f64 = 253_402_300_800.0;

/// Why a `jti` is none.
pub(in crate::identity) const NO_JTI: &str = "it is no text that could be revoked";

/// Why a name is none.
pub(in crate::identity) const NO_NAME: &str = "it is not there, or nobody can be called so";

/// What the claims say, if they are what the config asks for.
pub(super) fn check(provider: &str, config: &Jwt, claims: Claims, now_s: i64) -> Result<Verified, Denial> {
    let [exp, nbf, iat] = times(provider, |name| claims.0.get(name))?;
    if exp.is_none() && (config.require_exp || config.max_age.is_some()) {
        return Err(wrong(provider, "exp", "it is not there"));
    }
    let (from_s, until_s) = window(config.leeway, exp, nbf.max(iat));
    if now_s >= until_s {
        return Err(Denial::TokenExpired);
    }
    if now_s < from_s {
        return Err(Denial::TokenNotYetValid);
    }
    let latest = config.max_age.map(|most| now_s.saturating_add(seconds(most)).saturating_add(seconds(config.leeway)));
    if exp.zip(latest).is_some_and(|(exp, latest)| exp > latest) {
        return Err(wrong(provider, "exp", "it is further away than `max_age`"));
    }
    if config.issuer.is_some() && claims.get("iss").and_then(Value::as_str) != config.issuer.as_deref() {
        return Err(Denial::TokenIssuer);
    }
    if !config.audience.is_empty() && !is_meant(&config.audience, &claims) {
        return Err(Denial::TokenAudience);
    }
    for (path, value) in &config.require {
        let fits = match value {
            Some(value) => claims.holds(path, value),
            None => claims.get(path).is_some(),
        };
        if !fits {
            return Err(wrong(provider, path, "it is not there, or is not what `require` says"));
        }
    }
    let jti = match claims.get("jti") {
        None => None,
        Some(Value::String(jti)) if directory::is_revocable(jti) => Some(jti.as_str().into()),
        Some(_) => return Err(wrong(provider, "jti", NO_JTI)),
    };
    let user = claims.name(&config.user_claim).filter(|user| called::is_name(user));
    let user = user.ok_or_else(|| wrong(provider, &config.user_claim, NO_NAME))?.into();
    let (roles, scopes) = (names(&claims, &config.roles_claim), names(&claims, &config.scopes_claim));
    Ok(Verified { roles, scopes, jti, from_s, until_s, ..Verified::new(claims, user) })
}

/// `exp`, `nbf` and `iat`.
pub(in crate::identity) fn times<'a>(
    provider: &str,
    claim: impl Fn(&str) -> Option<&'a Value>,
) -> Result<[Option<i64>; 3], Denial> {
    let time = |name: &'static str| {
        time(claim(name)).map_err(|()| wrong(provider, name, "it is no number between 0 and the year 9999"))
    };
    Ok([time("exp")?, time("nbf")?, time("iat")?])
}

/// Says which claim is not as it must be, to whoever looks for that; never what stands in it. Clients are told no more than that one is.
pub(in crate::identity) fn wrong(provider: &str, claim: &str, why: &str) -> Denial {
    tracing::debug!(provider, claim, why, "a token is refused for a claim");
    Denial::TokenClaims
}

/// From when on it holds, and from when on no longer. Leeway is given on both sides. A token that says it was issued later
/// than now is as little good as one that is not to be used yet: its issuer's clock is wrong, or ours.
pub(in crate::identity) fn window(leeway: Duration, exp: Option<i64>, from: Option<i64>) -> (i64, i64) {
    let leeway = seconds(leeway);
    let until_s = exp.map_or(i64::MAX, |exp| exp.saturating_add(leeway));
    let from_s = from.map_or(i64::MIN, |from| from.saturating_sub(leeway));
    (from_s, until_s)
}

/// A `NumericDate`, rounded up: whole seconds are compared, and a moment within a second is not reached when that begins.
fn time(value: Option<&Value>) -> Result<Option<i64>, ()> {
    match value.map(Value::as_f64) {
        None => Ok(None),
        Some(Some(time)) if (0.0..LATEST).contains(&time) => Ok(Some(time.ceil() as i64)),
        Some(_) => Err(()),
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// `aud` is a text or an array of texts; anything else is meant for nobody.
pub(in crate::identity) fn is_meant(own: &[Arc<str>], claims: &Claims) -> bool {
    let is_ours = |audience: &str| own.iter().any(|own| **own == *audience);
    match claims.get("aud") {
        Some(Value::String(audience)) => is_ours(audience),
        Some(Value::Array(all)) => {
            all.iter().all(Value::is_string) && all.iter().filter_map(Value::as_str).any(is_ours)
        }
        Some(_) | None => false,
    }
}

/// Roles or scopes.
pub(in crate::identity) fn names(claims: &Claims, path: &str) -> Box<[Box<str>]> {
    let usable = |name: &String| !name.is_empty() && !name.chars().any(char::is_control);
    claims.list(path).into_iter().filter(usable).map(String::into_boxed_str).collect()
}
