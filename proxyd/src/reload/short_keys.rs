//! Keys that would be refused for ever under a config that is to come: their own limit is less than what a rule of it takes for each
//! of their requests. They were made before, so that a reload says so.

use std::sync::Arc;

use directory::KeyRow;
use shared::config::problem::Code;
use shared::config::{Config, Problem, Severity};

use crate::daemon::Daemon;
use crate::filter::rate_limit::lets_none_pass;
use crate::telemetry::clock::unix_us;

/// So many are told of.
const MOST: usize = 20;

/// Keys that no request would pass with under this config, as problems to warn of.
pub(super) async fn of(daemon: &Daemon, config: &Arc<Config>) -> Vec<Problem> {
    if !may_be(config) {
        return Vec::new();
    }
    let (state, config) = (Arc::clone(&daemon.amid.identity), Arc::clone(config));
    let look = move || {
        let keys = state.key_rows().unwrap_or_default();
        warnings(&config, &keys, unix_us() / 1_000_000)
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Whether there can be any: a key's limit is one request or more.
fn may_be(config: &Config) -> bool {
    config.policies.rate_limit.value.iter().flat_map(|limit| &limit.rules).any(|rule| rule.cost > 1)
}

/// A warning for each such key and rule of the top level.
fn warnings(config: &Config, keys: &[KeyRow], now_s: i64) -> Vec<Problem> {
    let rules = config.policies.rate_limit.value.iter().flat_map(|limit| &limit.rules);
    let short = rules.flat_map(|rule| {
        keys.iter().filter(|key| key.is_live(now_s)).filter_map(move |key| {
            let (requests, _) = key.limit?;
            lets_none_pass(rule, requests, &key.name, key.user.as_deref()).then(|| Problem {
                code: Code::Conflict,
                severity: Severity::Warning,
                path: "rate_limit".to_owned(),
                origin: String::new(),
                line: 0,
                column: 0,
                message: format!(
                    "no request with the API key {} passes: each costs {} in the rule `{}`, and the key's own limit has {requests}",
                    key.prefix, rule.cost, rule.name
                ),
                hint: Some("lower `cost`, or make another key with a higher `--limit`".to_owned()),
                excerpt: None,
            })
        })
    });
    short.take(MOST).collect()
}
