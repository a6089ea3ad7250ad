//! `tokens` and `tokens_revoke`: tokens of others that are good no longer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use directory::RevokedRow;
use shared::config::identity::StateStore;
use shared::config::{self, Config, Secret};
use shared::control::report::{TokenChange, TokenFacts, TokenLine, TokenRevoked};
use shared::control::{ControlError, ErrorCode, TokensRevokeArgs};

use super::known::{LONGEST, actor, invalid, moment, now_s, on_disk, stream};
use crate::control::Reply;
use crate::identity::State;
use crate::identity::claims::Claims;
use crate::snapshot::Snapshot;

/// As long as a token may be.
const TOKEN_BYTES: usize = 16 << 10;

/// Clocks differ, and a verifier may allow some leeway: so much longer than it is good a token is remembered.
const SLACK: Duration = Duration::from_hours(24);

/// Of a token of which only the id is known.
const UNKNOWN: Duration = Duration::from_hours(24 * 365);

/// Every provider's.
const ANY: &str = "*";

pub(super) async fn list(state: &Arc<State>, config: &Config) -> Result<Reply, ControlError> {
    let (now_s, names) = (now_s(), names(config));
    let rows = on_disk(state, move |state| {
        let kept = state.directory(|directory| directory.revoked(now_s))?;
        let mut unkept = state.revoked.unkept(usize::MAX);
        let known: HashSet<(&str, &str)> = kept.iter().map(|row| (row.provider.as_str(), row.jti.as_str())).collect();
        unkept.retain(|row| !known.contains(&(row.provider.as_str(), row.jti.as_str())));
        Ok(kept.into_iter().chain(unkept))
    })
    .await?;
    Ok(stream(
        "tokens",
        rows.map(move |row| TokenLine {
            idle: is_idle(&names, &row.provider),
            provider: row.provider,
            jti: row.jti,
            expires: moment(row.expires_s),
            revoked: moment(row.revoked_s),
            by: row.by,
        }),
    ))
}

pub(super) async fn revoke(
    state: &Arc<State>,
    snapshot: &Snapshot,
    args: TokensRevokeArgs,
    by: &str,
) -> Result<TokenRevoked, ControlError> {
    let now_s = now_s();
    let (jti, known_s) = match (&args.token, args.jti) {
        (Some(token), None) => {
            let (jti, good_until_s) = read(token, now_s)?;
            (jti, Some(good_until_s))
        }
        (None, Some(jti)) if looks_like_token(&jti) => {
            return Err(invalid("`jti` is a whole token: give it as `token`"));
        }
        (None, Some(jti)) => (jti, None),
        (Some(_), Some(_)) | (None, None) => return Err(invalid("say a `token` or a `jti`, one of the two")),
    };
    let expires_s = remembered_until(args.expires.as_deref(), known_s, now_s)?;
    let provider = args.provider.unwrap_or_else(|| ANY.to_owned());
    known(&snapshot.checked.config, &provider)?;
    let row = RevokedRow { provider, jti, expires_s, revoked_s: now_s, by: actor(by) };
    let (before, kept, row) = on_disk(state, move |state| {
        // A disk that is not read is no reason not to revoke.
        let kept = state.directory(|directory| directory.revoked_one(&row.provider, &row.jti, now_s));
        let before = kept.ok().flatten().or_else(|| state.revoked.unkept_one(&row.provider, &row.jti));
        let kept = match state.token_revoke(&row) {
            Ok(()) => true,
            Err(error) if state.revoked.is_unkept(&row.provider, &row.jti) => {
                tracing::error!(%error, "a revoked token cannot be kept yet: it is refused as long as this process runs");
                false
            }
            Err(error) => return Err(error),
        };
        // Of two revocations the later end counts.
        let expires_s = before.as_ref().map_or(row.expires_s, |before| before.expires_s.max(row.expires_s));
        Ok((before, kept, RevokedRow { expires_s, ..row.clone() }))
    })
    .await?;
    Ok(TokenRevoked {
        changes: TokenChange { before: before.as_ref().map(facts), after: Some(facts(&row)) },
        expires: moment(row.expires_s),
        provider: row.provider,
        jti: row.jti,
        kept,
        unshared: unshared(snapshot).await,
        audited: true,
    })
}

/// Why other proxies do not know it yet, where they are to know. They are told as soon as that is over.
async fn unshared(snapshot: &Snapshot) -> Option<String> {
    if snapshot.checked.config.identity.revocations != StateStore::Redis {
        return None;
    }
    let answered = snapshot.redis.as_ref()?.answers().await;
    answered.err().map(|error| error.kind().to_owned())
}

/// Whether this is no id but a token: a JOSE header in base64url, and two dots.
pub(super) fn looks_like_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() >= 2
}

/// Never shorter than the token is known to be good, or said to be: forgotten, it would be good once more.
fn remembered_until(asked: Option<&str>, known_s: Option<i64>, now_s: i64) -> Result<i64, ControlError> {
    let asked_s = asked.map(|text| config::end(text, now_s, LONGEST)).transpose();
    let asked_s = asked_s.map_err(|message| invalid(format!("`expires`: {message}")))?.map(|end_s| after(end_s, SLACK));
    Ok(asked_s.max(known_s).unwrap_or_else(|| after(now_s, UNKNOWN)))
}

fn after(now_s: i64, time: Duration) -> i64 {
    now_s.saturating_add(time.as_secs().cast_signed())
}

/// A token's id, and until when it is remembered. Its signature is nobody's business here: whoever may revoke may name any id.
fn read(token: &Secret, now_s: i64) -> Result<(String, i64), ControlError> {
    let token = token.reveal().trim();
    if token.len() > TOKEN_BYTES {
        return Err(invalid("a token has at most 16 KiB"));
    }
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(invalid("this is no signed JSON Web Token: those have three parts with dots between them"));
    };
    let claims = URL_SAFE_NO_PAD.decode(payload).ok().and_then(|payload| Claims::parse(&payload).ok());
    let claims = claims.ok_or_else(|| invalid("the token's second part is no JSON object in base64url"))?;
    let jti = claims.text("jti").filter(|jti| !jti.is_empty()).ok_or_else(|| {
        invalid("this token has no `jti`: it cannot be told from its issuer's others, and not be revoked by itself")
    })?;
    // Whatever it claims: neither for ever nor beyond what is kept of others.
    let longest_s = after(now_s, LONGEST);
    let Some(exp) = claims.number("exp") else { return Ok((jti.into_owned(), longest_s)) };
    let remembered_s = (exp as i64).saturating_add(SLACK.as_secs().cast_signed());
    if remembered_s <= now_s {
        return Err(invalid(
            "this token expired more than a day ago: it opens nothing; to end a tunnel that it opened, give its `jti`",
        ));
    }
    Ok((jti.into_owned(), remembered_s.min(longest_s)))
}

/// A provider that is not there is a slip; one that is named for later must be written into the config first.
fn known(config: &Config, provider: &str) -> Result<(), ControlError> {
    let names = names(config);
    if provider == ANY || names.iter().any(|name| name == provider) {
        return Ok(());
    }
    let more = match (config::closest(provider, names.iter().map(String::as_str)), names.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "the config has none that takes tokens".to_owned(),
        (None, names) => format!("there are {}", names.join(", ")),
    };
    Err(ControlError::new(ErrorCode::NotFound, format!("no provider is called `{provider}`; {more}")))
}

/// Those that take tokens.
fn names(config: &Config) -> Vec<String> {
    let identity = &config.identity;
    let jwt = identity.jwt.iter().map(|jwt| format!("jwt.{}", jwt.name));
    let accounts = identity.accounts.as_ref().map(|_| "accounts".to_owned());
    let introspection = identity.introspection.as_ref().map(|_| "introspection".to_owned());
    jwt.chain(accounts).chain(introspection).collect()
}

/// Whether there is no such provider. Sessions, and logins of accounts, are revoked under names of their own.
fn is_idle(names: &[String], provider: &str) -> bool {
    let has_accounts = || names.iter().any(|name| name == "accounts");
    match provider {
        ANY | "session" => false,
        "accounts.login" => !has_accounts(),
        _ => names.iter().all(|name| name != provider),
    }
}

fn facts(row: &RevokedRow) -> TokenFacts {
    TokenFacts { provider: row.provider.clone(), jti: row.jti.clone(), expires: moment(row.expires_s) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_000_000_000;
    const DAY_S: i64 = 86_400;

    fn check(payload: &str, expected: Result<(&str, i64), &str>) {
        let token = Secret::new(format!("eyJhbGciOiJub25lIn0.{}.", URL_SAFE_NO_PAD.encode(payload)));
        match (read(&token, NOW_S), expected) {
            (Ok((jti, until_s)), Ok(expected)) => assert_eq!((jti.as_str(), until_s - NOW_S), expected, "{payload}"),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{payload}: {error}"),
            (got, expected) => panic!("{payload}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_token_says_its_id_and_how_long_it_is_good() {
        check("", Err("no JSON object"));
        check("[]", Err("no JSON object"));
        check("{}", Err("no `jti`"));
        check(r#"{"jti":""}"#, Err("no `jti`"));
        check(r#"{"jti":"a","jti":"b"}"#, Err("no JSON object"));
        check(r#"{"jti":"a","exp":0}"#, Err("expired more than a day ago"));
        check(r#"{"jti":"a","exp":-1e300}"#, Err("expired more than a day ago"));
        check(r#"{"jti":"a","exp":1000000060}"#, Ok(("a", 60 + DAY_S)));
        check(r#"{"jti":"a","exp":999999999.5}"#, Ok(("a", DAY_S - 1)));
        check(r#"{"jti":7,"exp":1000000060}"#, Ok(("7", 60 + DAY_S)));
        check(r#"{"jti":"a"}"#, Ok(("a", 3650 * DAY_S)));
        check(r#"{"jti":"a","exp":"soon"}"#, Ok(("a", 3650 * DAY_S)));
        check(r#"{"jti":"a","exp":1e300}"#, Ok(("a", 3650 * DAY_S)));
    }

    #[test]
    fn it_is_remembered_through_any_leeway() {
        let check = |asked: Option<&str>, known_s: Option<i64>, expected: i64| {
            let until_s = remembered_until(asked, known_s.map(|known_s| NOW_S + known_s), NOW_S).unwrap();
            assert_eq!(until_s - NOW_S, expected, "{asked:?} {known_s:?}");
        };
        check(Some("1h"), None, 3600 + DAY_S);
        check(Some("1h"), Some(60 + DAY_S), 3600 + DAY_S);
        check(Some("1s"), Some(60 + DAY_S), 60 + DAY_S);
        check(None, Some(60 + DAY_S), 60 + DAY_S);
        check(None, None, 365 * DAY_S);
        assert!(remembered_until(Some("soon"), None, NOW_S).unwrap_err().message.starts_with("`expires`: "));
    }

    #[test]
    fn what_is_no_token_is_refused_without_an_echo() {
        for text in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "secret.!!!.x", &format!("{}.a.b", "x".repeat(20_000))] {
            let error = read(&Secret::new(text), NOW_S).unwrap_err();
            assert!(!error.message.contains("secret"), "{error}");
        }
        for (text, expected) in [("eyJhb.eyJ.x", true), ("5f2b.9c.1e", false), ("eyJhb", false), ("", false)] {
            assert_eq!(looks_like_token(text), expected, "{text}");
        }
    }
}
