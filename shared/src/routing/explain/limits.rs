//! What a rate limit would count the request by, and what it would cost. How much is left is not known here.

use std::net::IpAddr;

use crate::audit::mask::Mask;
use crate::config::identity::StateStore;
use crate::config::policy::{Algorithm, Key, Mode, Rule};
use crate::config::show_duration;
use crate::decide::limit::counted_address;

use super::asked::Asked;
use super::effects::joined;
use super::quoted;

/// The line of one rule.
pub(super) fn rule(rule: &Rule, asked: &Asked, mask: &Mask) -> String {
    let limits = rule.limits.iter().map(|window| format!("{}/{}", window.requests, show_duration(window.per)));
    let algorithm = match rule.algorithm {
        Algorithm::SlidingWindow => "sliding window".to_owned(),
        Algorithm::FixedWindow => "fixed window".to_owned(),
        Algorithm::Concurrency { at_most } => format!("{at_most} at the same time"),
        Algorithm::TokenBucket { burst: None } => "token bucket".to_owned(),
        Algorithm::TokenBucket { burst: Some(burst) } => format!("token bucket of {burst}"),
    };
    let counted = joined(limits.chain([algorithm]));
    if let Some(why) = uncounted(rule, asked) {
        return format!("{}: {counted}; does not count this request: {why}", rule.name);
    }
    let cost = if rule.cost == 1 { String::new() } else { format!(", a request costs {}", rule.cost) };
    let store = match rule.store {
        StateStore::Local => "",
        StateStore::Redis => " in redis",
    };
    let users = rule.exempt_users.iter().map(ToString::to_string);
    let exempt: Vec<_> = users.chain(rule.exempt_keys.iter().map(ToString::to_string)).collect();
    let names = if exempt.is_empty() { String::new() } else { format!("; does not count {}", joined(exempt)) };
    let shadow = match rule.mode {
        Mode::Enforce => "",
        Mode::Shadow => "; only watches",
    };
    format!("{}: {counted}{cost}, counted{store} by {}{names}{shadow}", rule.name, key(rule, asked, mask))
}

fn uncounted(rule: &Rule, asked: &Asked) -> Option<String> {
    let is_method = |method: &str| rule.methods.iter().any(|named| **named == *method);
    let holds = rule.methods.is_empty() || is_method(&asked.method) || (asked.method == "HEAD" && is_method("GET"));
    if !holds {
        return Some(format!("{} is not {}", asked.method, rule.methods.join(" or ")));
    }
    let network = rule.exempt.iter().find(|network| network.contains(&asked.client))?;
    Some(format!("{} is in {network}, which is exempt", asked.client))
}

/// The first key that is known. Nobody is recognised by `explain`, and nobody shows it a certificate: where one of these would
/// come first, it is told with what follows it.
fn key(rule: &Rule, asked: &Asked, mask: &Mask) -> String {
    let mut before = String::new();
    for key in &rule.by {
        let known = match key {
            Key::Ip => Some(address(rule, asked.client)),
            Key::User => {
                before.push_str("who it is, else ");
                None
            }
            Key::ApiKey => {
                before.push_str("the API key, else ");
                None
            }
            Key::Certificate => {
                before.push_str("the client's certificate, else ");
                None
            }
            Key::Header(name) => asked.header(name).map(|value| {
                let shown =
                    if mask.hides_header(name) { format!("[{}]", Mask::hidden(value.len())) } else { quoted(value) };
                format!("header {name} {shown}")
            }),
        };
        if let Some(known) = known {
            return format!("{before}{known}");
        }
    }
    format!("{before}{}", address(rule, asked.client))
}

fn address(rule: &Rule, client: IpAddr) -> String {
    match counted_address(client, rule.ipv6_prefix) {
        IpAddr::V4(address) => format!("address {address}"),
        IpAddr::V6(network) => format!("network {network}/{}", rule.ipv6_prefix),
    }
}
