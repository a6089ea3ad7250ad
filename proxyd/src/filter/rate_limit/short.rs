//! Keys whose own limit is less than what one request costs.

use shared::config::policy::{Algorithm, Key, Mode, Rule};

/// Whether a rule lets no request pass of a key that has so many by a limit of its own: where every request with this key costs more.
#[must_use]
pub fn lets_none_pass(rule: &Rule, requests: u32, name: &str, user: Option<&str>) -> bool {
    if rule.cost <= requests {
        return false;
    }
    let counts_it = match rule.by.first() {
        Some(Key::ApiKey) => true,
        Some(Key::User) => user.is_none(),
        Some(Key::Ip | Key::Certificate | Key::Header(_)) | None => false,
    };
    // A number at the same time is no limit of that kind.
    let by_its_limit = counts_it && !matches!(rule.algorithm, Algorithm::Concurrency { .. });
    let is_exempt = rule.exempt_keys.iter().any(|exempt| **exempt == *name)
        || rule.exempt_users.iter().any(|exempt| user == Some(&*exempt.name))
        || !rule.exempt.is_empty();
    by_its_limit && rule.mode == Mode::Enforce && rule.methods.is_empty() && !is_exempt
}
