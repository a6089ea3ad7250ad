//! `limits`, `limits top` and `limits reset`: a look at rate limit counters, and forgetting a key's.

use std::sync::Arc;
use std::time::Duration;

use shared::audit::Mask;
use shared::config;
use shared::config::policy::{Algorithm, Key, Mode};
use shared::control::report::{LimitLine, LimitTop, LimitsReset};
use shared::control::{ControlError, ErrorCode, LimitsArgs, LimitsResetArgs, LimitsTopArgs};
use shared::decide::limit::Verdict;

use crate::control::Reply;
use crate::daemon::Daemon;
use crate::filter::Limiter;
use crate::filter::rate_limit::{KeyHash, Named};
use crate::fleet::Link;
use crate::identity::State;

/// Without a key, a line about each rule; with one, a line about each rule and key that is meant and counts. Rules of a shared store are asked there.
pub(super) async fn list(daemon: &Arc<Daemon>, identity: &Arc<State>, args: LimitsArgs) -> Result<Reply, ControlError> {
    let limiters = named(daemon, args.rule.as_deref())?;
    let Some(key) = args.key else {
        return Ok(super::known::stream("lines", limiters.into_iter().map(|limiter| about(&limiter))));
    };
    let (now_us, mask) = (now_us(daemon), daemon.snapshot().mask.clone());
    let (link, mut silent) = (link(&limiters), false);
    let mut lines = Vec::new();
    for (limiter, keys) in found(daemon, identity, limiters, &key).await? {
        let before = lines.len();
        for Named { key: hash, provider } in keys {
            let link = link.as_ref().filter(|_| !silent);
            let told = limiter.peek_shared(hash, link, now_us).await;
            silent |= told.is_err();
            // Where it is silent: what it said last, and what was counted here since.
            let verdict = told.unwrap_or_else(|_| limiter.peek(&hash, now_us));
            if verdict.is_some() {
                let provider = provider.as_deref().map(str::to_owned);
                let store_silent = silent && limiter.engine().is_some();
                lines.push(LimitLine { provider, store_silent, ..counted(&limiter, &key, &mask, verdict) });
            }
        }
        if lines.len() == before && silent && limiter.engine().is_some() {
            lines.push(LimitLine { store_silent: true, ..counted(&limiter, &key, &mask, None) });
        }
    }
    Ok(super::known::stream("lines", lines.into_iter()))
}

/// How many keys `limits top` tells of: where nobody says, and at most.
const USUAL_TOP: u32 = 20;
const MOST_TOP: u32 = 1000;

/// The keys that have used most of what they may, the nearest to its limit first.
pub(super) async fn top(daemon: &Arc<Daemon>, args: LimitsTopArgs) -> Result<Reply, ControlError> {
    let limiters = named(daemon, args.rule.as_deref())?;
    let most = args.last.unwrap_or(USUAL_TOP);
    if most == 0 || most > MOST_TOP {
        return Err(ControlError::new(ErrorCode::InvalidArguments, format!("`last` must be between 1 and {MOST_TOP}")));
    }
    let (most, now_us) = (most as usize, now_us(daemon));
    // A hundred thousand keys are looked through off this thread.
    let lines = super::off_thread(move || {
        let of = |limiter: &Arc<Limiter>| {
            let lines = limiter.top(most, now_us).into_iter();
            lines.map(|line| top_line(limiter, line.label, line.used, line.verdict)).collect::<Vec<_>>()
        };
        let mut lines: Vec<LimitTop> = limiters.iter().flat_map(of).collect();
        lines.sort_by_key(|line| std::cmp::Reverse((share(line), line.used)));
        lines.truncate(most);
        lines
    })
    .await?;
    Ok(super::known::stream("lines", lines.into_iter()))
}

fn top_line(limiter: &Limiter, key: String, used: u32, verdict: Verdict) -> LimitTop {
    LimitTop {
        rule: limiter.rule.name.to_string(),
        scope: limiter.scope_name().to_string(),
        key,
        used: u64::from(used),
        limit: limit_met(verdict),
        remaining: u64::from(verdict.remaining),
        resets_in: verdict.reset_s,
    }
}

/// The limit that a verdict speaks of.
fn limit_met(verdict: Verdict) -> String {
    match verdict.per_s {
        0 => format!("{} at once", verdict.limit),
        per_s => format!("{}/{}", verdict.limit, length(Duration::from_secs(per_s))),
    }
}

/// Of a thousand of its limit.
fn share(line: &LimitTop) -> u64 {
    line.used.saturating_mul(1000) / line.used.saturating_add(line.remaining).max(1)
}

/// Forgets a key's counts: here in any case, and in the store where that answers.
pub(super) async fn reset(
    daemon: &Daemon,
    identity: &Arc<State>,
    args: &LimitsResetArgs,
) -> Result<LimitsReset, ControlError> {
    let limiters = named(daemon, args.rule.as_deref())?;
    let link = link(&limiters);
    let mut told = LimitsReset { audited: true, ..LimitsReset::default() };
    let mut silent = None;
    for (limiter, keys) in found(daemon, identity, limiters, &args.key).await? {
        let keys: Vec<KeyHash> = keys.into_iter().map(|named| named.key).collect();
        // A store that was found silent is not asked again.
        let link = link.as_ref().filter(|_| silent.is_none());
        for key in &keys {
            told.running += u64::from(limiter.runs_shared(*key, link, now_us(daemon)).await);
        }
        let (reset, failed) = limiter.reset_shared(&keys, link, now_us(daemon)).await;
        told.reset += reset;
        silent = silent.or(failed);
        if let Some(error) = silent.filter(|_| limiter.is_reset_elsewhere()) {
            let (rule, scope, why) = (&limiter.rule.name, limiter.scope_name(), error.kind());
            told.failed.push(format!("{rule} ({scope}): the shared store does not answer ({why})"));
        }
    }
    Ok(told)
}

/// To the store that some of them are counted in: one for all that a command asks there.
fn link(limiters: &[Arc<Limiter>]) -> Option<Link> {
    limiters.iter().find_map(|limiter| limiter.engine()).map(Link::lone)
}

/// The keys that are meant under each rule. Very many are looked through: off this thread.
async fn found(
    daemon: &Daemon,
    identity: &Arc<State>,
    limiters: Vec<Arc<Limiter>>,
    key: &str,
) -> Result<Vec<(Arc<Limiter>, Vec<Named>)>, ControlError> {
    let texts = meant(identity, key).await;
    let providers = daemon.snapshot().identities.names();
    super::off_thread(move || {
        let found = |limiter: Arc<Limiter>| {
            let mut keys: Vec<Named> = Vec::new();
            for named in texts.iter().flat_map(|text| limiter.keys_of(text, &providers)) {
                if !keys.iter().any(|other| other.key == named.key) {
                    keys.push(named);
                }
            }
            (limiter, keys)
        };
        limiters.into_iter().map(found).collect()
    })
    .await
}

/// What was asked for; and where that is the name or prefix of an API key, its id, by which it is counted.
async fn meant(identity: &Arc<State>, key: &str) -> Vec<String> {
    let (which, now_s) = (key.to_owned(), super::known::now_s());
    let id =
        super::known::on_disk(identity, move |state| state.directory(|directory| directory.key(&which, now_s))).await;
    let id = id.ok().map(|row| row.id).filter(|id| id != key);
    std::iter::once(key.to_owned()).chain(id).collect()
}

fn named(daemon: &Daemon, rule: Option<&str>) -> Result<Vec<Arc<Limiter>>, ControlError> {
    let snapshot = daemon.snapshot();
    let wanted = |limiter: &&Arc<Limiter>| rule.is_none_or(|rule| *limiter.rule.name == *rule);
    let limiters: Vec<_> = snapshot.limiters.iter().filter(wanted).map(Arc::clone).collect();
    match rule {
        Some(rule) if limiters.is_empty() => {
            Err(ControlError::new(ErrorCode::NotFound, format!("no rate limit rule is called `{rule}`")))
        }
        Some(_) | None => Ok(limiters),
    }
}

/// The clock that the data path counts by.
fn now_us(daemon: &Daemon) -> u64 {
    daemon.started_at.elapsed().as_micros() as u64
}

fn about(limiter: &Limiter) -> LimitLine {
    LimitLine {
        rule: limiter.rule.name.to_string(),
        scope: limiter.scope_name().to_string(),
        limit: limit(limiter),
        remaining: match limiter.rule.algorithm {
            Algorithm::Concurrency { at_most } => at_most.into(),
            Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::TokenBucket { .. } => {
                limiter.rule.limits.iter().map(|window| u64::from(window.requests)).min().unwrap_or(0)
            }
        },
        keys: limiter.keys(),
        max_keys: limiter.rule.max_keys as u64,
        shadow: limiter.rule.mode == Mode::Shadow,
        ..LimitLine::default()
    }
}

/// Nothing is known of the key where there is no verdict: it has all of its limit.
fn counted(limiter: &Limiter, text: &str, mask: &Mask, verdict: Option<Verdict>) -> LimitLine {
    let hidden = config::parse_network(text).is_none()
        && limiter.rule.by.iter().any(|by| matches!(by, Key::Header(name) if mask.hides_header(name)));
    let about = about(limiter);
    // One of the key's own stands in place of the rule's.
    let own = verdict.map(limit_met).filter(|met| !about.limit.split(", ").any(|limit| limit == met));
    LimitLine {
        limit: own.unwrap_or_else(|| about.limit.clone()),
        key: if hidden { Mask::hidden(text.len()) } else { text.to_owned() },
        remaining: verdict.map_or(about.remaining, |verdict| u64::from(verdict.remaining)),
        reset: verdict.map_or(0, |verdict| verdict.reset_s),
        ..about
    }
}

/// `60/1m, 1000/1h`; `5 at once`.
fn limit(limiter: &Limiter) -> String {
    if let Algorithm::Concurrency { at_most } = limiter.rule.algorithm {
        return format!("{at_most} at once");
    }
    let texts = limiter.rule.limits.iter().map(|window| format!("{}/{}", window.requests, length(window.per)));
    texts.collect::<Vec<_>>().join(", ")
}

fn length(per: Duration) -> String {
    let seconds = per.as_secs();
    match seconds {
        seconds if seconds.is_multiple_of(86400) => format!("{}d", seconds / 86400),
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}
