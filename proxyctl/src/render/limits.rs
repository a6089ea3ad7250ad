//! `limits`: rules and the keys they count.

use std::fmt::Write as _;

use shared::control::report::{LimitLine, LimitTop, LimitsReset};

use super::table::table;
use super::text::{count, grouped};
use super::time::span;
use crate::screen::Look;

pub(super) fn limits(lines: &[LimitLine], look: &Look) -> String {
    if lines.is_empty() {
        return "no counters: no rate limit is configured, or none has counted this key\n".to_owned();
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let whole_rule = line.key.is_empty();
            let of_key = |text: String| if whole_rule { String::new() } else { text };
            vec![
                line.rule.clone(),
                line.scope.clone(),
                match &line.provider {
                    Some(provider) => format!("{} ({provider})", line.key),
                    None => line.key.clone(),
                },
                line.limit.clone(),
                of_key(grouped(line.remaining)),
                of_key(format!("in {}", span(line.reset))),
                format!("{} of {}", grouped(line.keys), grouped(line.max_keys)),
                match (line.shadow, line.store_silent) {
                    (true, false) => "shadow",
                    (false, false) => "enforce",
                    (true, true) => "shadow; the store is silent: as known here",
                    (false, true) => "enforce; the store is silent: as known here",
                }
                .to_owned(),
            ]
        })
        .collect();
    table(&["RULE", "SCOPE", "KEY", "LIMIT", "REMAINING", "RESETS", "KEYS HELD", "MODE"], &rows, look)
}

pub(super) fn top(lines: &[LimitTop], look: &Look) -> String {
    if lines.is_empty() {
        return "nobody has used anything of a limit\n".to_owned();
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.rule.clone(),
                line.scope.clone(),
                line.key.clone(),
                grouped(line.used),
                line.limit.clone(),
                grouped(line.remaining),
                format!("in {}", span(line.resets_in)),
            ]
        })
        .collect();
    table(&["RULE", "SCOPE", "KEY", "USED", "LIMIT", "REMAINING", "RESETS"], &rows, look)
}

pub(super) fn reset(told: &LimitsReset) -> String {
    let mut text = match told.reset {
        0 if told.running > 0 || !told.failed.is_empty() => String::new(),
        0 => "no counter had counted this key\n".to_owned(),
        some => format!("{} forgotten\n", count(some, "counter", "counters")),
    };
    if told.running > 0 {
        let held = count(told.running, "counter stays", "counters stay");
        let _ = writeln!(text, "{held}: requests under way hold places, until they end");
    }
    for failed in &told.failed {
        let _ = writeln!(text, "only here, not for the other proxies: {failed}");
    }
    text
}
