//! `keys`, `keys_create`, `keys_revoke` and `keys_rotate`: API keys, good or not from one moment to the next.

use std::sync::Arc;
use std::time::Duration;

use directory::{KeyRow, KeyText, NewKey};
use shared::config::policy::Window;
use shared::config::{self, Scope, Secret};
use shared::control::report::{KeyChange, KeyFacts, KeyLine, KeyMade, KeyRevoked, KeyState};
use shared::control::{ControlError, KeysCreateArgs, KeysRevokeArgs, KeysRotateArgs};

use super::known::{LONGEST, actor, invalid, moment, now_s, on_disk, stream};
use crate::control::Reply;
use crate::filter::Limiter;
use crate::filter::rate_limit::lets_none_pass;
use crate::identity::State;
use crate::snapshot::Snapshot;

/// The longest that an earlier secret stays good.
const LONGEST_OVERLAP: Duration = Duration::from_hours(24 * 90);

/// `pk_` and eight more: what may be seen of a key.
const PREFIX_BYTES: usize = 11;

pub(super) async fn list(state: &Arc<State>) -> Result<Reply, ControlError> {
    let rows = on_disk(state, State::key_rows).await?;
    let now_s = now_s();
    Ok(stream("keys", rows.into_iter().map(move |row| line(&row, now_s))))
}

pub(super) async fn create(
    state: &Arc<State>,
    snapshot: &Snapshot,
    args: KeysCreateArgs,
    by: &str,
) -> Result<KeyMade, ControlError> {
    let now_s = now_s();
    let expires_s = args.expires.map(|text| config::end(&text, now_s, LONGEST)).transpose();
    let limit = args.limit.map(|text| config::rate(&text)).transpose();
    if let Ok(Some(rate)) = &limit {
        check_cost(&snapshot.limiters, rate.requests, &args.name, args.user.as_deref())?;
    }
    let new = NewKey {
        name: args.name,
        user: args.user,
        roles: args.roles,
        scopes: args.scopes,
        limit: limit
            .map_err(|message| invalid(format!("`limit`: {message}")))?
            .map(|rate| (rate.requests, rate.per.as_secs())),
        expires_s: expires_s.map_err(|message| invalid(format!("`expires`: {message}")))?,
        by: actor(by),
    };
    let (row, text) = on_disk(state, move |state| state.key_create(new, now_s)).await?;
    let is_looked_for = snapshot.checked.config.identity.api_key.is_some();
    let note = || "nothing looks for keys yet: the config has no `identity: {api_key: on}`".to_owned();
    Ok(KeyMade { note: (!is_looked_for).then(note), ..made(&row, &text, None) })
}

/// A request that costs more than the key's limit has would never pass: where every request with this key costs so much.
fn check_cost(limiters: &[Arc<Limiter>], requests: u32, name: &str, user: Option<&str>) -> Result<(), ControlError> {
    let is_short = |limiter: &&Arc<Limiter>| {
        let is_everywhere = matches!(limiter.scope, Scope::TopLevel | Scope::Default);
        is_everywhere && lets_none_pass(&limiter.rule, requests, name, user)
    };
    let Some(limiter) = limiters.iter().find(is_short) else { return Ok(()) };
    let (cost, name, scope) = (limiter.rule.cost, &limiter.rule.name, limiter.scope_name());
    Err(invalid(format!(
        "`limit`: no request with this key would pass: each costs {cost} in the rule `{name}` ({scope}), and the limit has {requests}"
    )))
}

pub(super) async fn revoke(state: &Arc<State>, args: KeysRevokeArgs) -> Result<KeyRevoked, ControlError> {
    let (which, now_s) = (named(args.key), now_s());
    let (before, row) = on_disk(state, move |state| {
        let before = state.directory(|directory| directory.key(&which, now_s))?;
        let row = state.key_revoke(&before.id, now_s)?;
        Ok((before, row))
    })
    .await?;
    Ok(KeyRevoked {
        changes: KeyChange { before: before.is_live(now_s).then(|| facts(&before)), after: None },
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        audited: true,
    })
}

pub(super) async fn rotate(state: &Arc<State>, args: KeysRotateArgs) -> Result<KeyMade, ControlError> {
    let (which, now_s) = (named(args.key), now_s());
    let overlap = args.overlap.map(|text| config::time(&text, Duration::ZERO, LONGEST_OVERLAP)).transpose();
    let overlap = overlap.map_err(|message| invalid(format!("`overlap`: {message}")))?.unwrap_or_default();
    let (before, (row, text)) = on_disk(state, move |state| {
        let before = state.directory(|directory| directory.key(&which, now_s))?;
        let rotated = state.key_rotate(&before.id, overlap.as_secs(), now_s)?;
        Ok((before, rotated))
    })
    .await?;
    // Two texts are good at a time: a third ends the first, however long that was to go on.
    let ended = before.earlier.as_ref().filter(|earlier| earlier.until_s > now_s);
    let earlier_ended = ended.map(|earlier| earlier.prefix.clone());
    Ok(KeyMade { earlier_ended, ..made(&row, &text, Some(&before)) })
}

/// The prefix of what looks like a whole key: nobody is shown more of it.
pub(super) fn prefix_of_secret(text: &str) -> Option<&str> {
    text.get(..PREFIX_BYTES).filter(|_| text.len() > PREFIX_BYTES && text.starts_with("pk_"))
}

/// A key by name, prefix or id; of a whole key that was pasted only its prefix goes on.
fn named(key: String) -> String {
    prefix_of_secret(&key).map(str::to_owned).unwrap_or(key)
}

fn facts(row: &KeyRow) -> KeyFacts {
    KeyFacts { id: row.id.clone(), name: row.name.clone(), prefix: row.prefix.clone() }
}

fn limit(row: &KeyRow) -> Option<String> {
    row.limit.map(|(requests, per_s)| config::show_rate(Window { requests, per: Duration::from_secs(per_s) }))
}

fn made(row: &KeyRow, text: &KeyText, before: Option<&KeyRow>) -> KeyMade {
    KeyMade {
        id: row.id.clone(),
        name: row.name.clone(),
        prefix: row.prefix.clone(),
        key: Secret::new(text.reveal()),
        user: row.user.clone(),
        roles: row.roles.clone(),
        scopes: row.scopes.clone(),
        limit: limit(row),
        created: moment(row.created_s),
        expires: row.expires_s.map(moment),
        note: None,
        earlier_ended: None,
        earlier_until: before.and(row.earlier.as_ref()).map(|earlier| moment(earlier.until_s)),
        changes: KeyChange { before: before.map(facts), after: Some(facts(row)) },
        audited: true,
    }
}

fn line(row: &KeyRow, now_s: i64) -> KeyLine {
    let earlier_s = row.earlier.as_ref().map(|earlier| earlier.until_s).filter(|until_s| *until_s > now_s);
    let state = match (row.revoked_s, row.is_live(now_s), earlier_s) {
        (Some(_), _, _) => KeyState::Revoked,
        (None, false, _) => KeyState::Expired,
        (None, true, Some(_)) => KeyState::Rotating,
        (None, true, None) => KeyState::Active,
    };
    KeyLine {
        id: row.id.clone(),
        name: row.name.clone(),
        prefix: row.prefix.clone(),
        user: row.user.clone(),
        roles: row.roles.clone(),
        scopes: row.scopes.clone(),
        limit: limit(row),
        created: moment(row.created_s),
        expires: row.expires_s.map(moment),
        revoked: row.revoked_s.map(moment),
        used: row.used_s.map(moment),
        state,
        earlier_until: earlier_s.filter(|_| state == KeyState::Rotating).map(moment),
        by: row.by.clone(),
    }
}

#[cfg(test)]
mod tests {
    use directory::Earlier;

    use super::*;

    #[test]
    fn states_follow_from_times() {
        let earlier = |until_s| Some(Earlier { prefix: "pk_00000000".to_owned(), hash: [0; 32], until_s });
        let check = |expires_s, revoked_s, earlier, state: KeyState, until: bool| {
            let row = KeyRow {
                id: "0".repeat(16),
                name: "ci".to_owned(),
                prefix: "pk_abcdefgh".to_owned(),
                hash: [0; 32],
                earlier,
                user: None,
                roles: Vec::new(),
                scopes: Vec::new(),
                limit: Some((100, 60)),
                created_s: 1,
                expires_s,
                revoked_s,
                used_s: Some(7),
                by: "test".to_owned(),
            };
            let line = line(&row, 10);
            assert_eq!((line.state, line.earlier_until.is_some()), (state, until), "{row:?}");
            assert_eq!((line.limit.as_deref(), line.used), (Some("100/1m"), Some(moment(7))));
        };
        check(None, None, None, KeyState::Active, false);
        check(Some(11), None, None, KeyState::Active, false);
        check(Some(10), None, None, KeyState::Expired, false);
        check(Some(10), Some(9), earlier(11), KeyState::Revoked, false);
        check(None, None, earlier(11), KeyState::Rotating, true);
        check(None, None, earlier(10), KeyState::Active, false);
        check(Some(10), None, earlier(11), KeyState::Expired, false);
    }

    #[test]
    fn whole_keys_are_cut_to_what_may_be_seen() {
        for (text, expected) in [
            ("ci", None),
            ("pk_abcdefgh", None),
            ("pk_abcdefgh_secret", Some("pk_abcdefgh")),
            ("pk_abcdefghsecret", Some("pk_abcdefgh")),
            ("pk_aääääääää", None),
        ] {
            assert_eq!(prefix_of_secret(text), expected, "{text}");
        }
    }
}
