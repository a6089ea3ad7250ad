//! `upstreams`: a line for each endpoint, and what came of setting, registering and deregistering one.

use std::fmt::Write as _;

use jiff::Timestamp;
use shared::control::report::{
    EndpointGone, EndpointLine, EndpointOrigin, EndpointRegistered, EndpointSet, EndpointSetting, RegistrationFacts,
    UpstreamLine,
};

use super::table::{GAP, table_wrapping};
use super::text::{count, grouped, plain};
use super::time::{span, took};
use crate::screen::Look;

/// Longer texts are shortened: the table has other columns too, and JSON has the whole.
const LONGEST_TEXT: usize = 40;

const HEADINGS: [&str; 18] = [
    "UPSTREAM",
    "BALANCE",
    "ENDPOINT",
    "ORIGIN",
    "WEIGHT",
    "STATE",
    "IN FLIGHT",
    "RATE",
    "ERRORS",
    "P50/P99",
    "BREAKER",
    "PROBE",
    "EJECTED",
    "REQUESTS",
    "FAILURES",
    "CONNECTIONS",
    "WHY",
    "LAST FAILURE",
];

/// The columns that wrap, and what they need at least to be read.
const WRAPS: [(&str, usize); 4] = [("ORIGIN", 12), ("PROBE", 16), ("WHY", 18), ("LAST FAILURE", 20)];

/// What is left out first where the terminal is too narrow for all.
const LEFT_OUT: [&str; 12] = [
    "LAST FAILURE",
    "CONNECTIONS",
    "REQUESTS",
    "EJECTED",
    "BALANCE",
    "PROBE",
    "P50/P99",
    "FAILURES",
    "BREAKER",
    "RATE",
    "WEIGHT",
    "IN FLIGHT",
];

/// What is the same everywhere and goes without saying.
struct Shown {
    balance: bool,
    weight: bool,
    breaker: bool,
    /// Of a daemon that tells no rates, connections say how busy an endpoint is.
    connections: bool,
}

pub(super) fn upstreams(upstreams: &[UpstreamLine], look: &Look) -> String {
    if upstreams.is_empty() {
        return "no upstreams\n".to_owned();
    }
    let endpoints = || upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let shown = Shown {
        balance: upstreams.iter().any(|upstream| upstream.balance != "round_robin"),
        weight: endpoints().any(|endpoint| endpoint.weight != 1),
        breaker: endpoints().any(|endpoint| endpoint.breaker.as_deref().is_some_and(|breaker| breaker != "closed")),
        connections: !endpoints().any(|endpoint| endpoint.rate.is_some()),
    };
    let mut rows = Vec::new();
    for upstream in upstreams {
        for (at, endpoint) in upstream.endpoints.iter().enumerate() {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            let balance = if shown.balance { first(&upstream.balance) } else { String::new() };
            let mut row = vec![first(&upstream.name), balance];
            row.extend(cells(endpoint, &shown, look));
            rows.push(row);
        }
    }
    let left_out = fit(&mut rows, look);
    let mut out = table_wrapping(&HEADINGS, &rows, look, &WRAPS.map(|(heading, _)| heading));
    if left_out > 0 {
        let more = count(left_out, "more column fits", "more columns fit");
        let _ = writeln!(out, "{more} a wider terminal; --output json has everything");
    }
    for upstream in upstreams {
        remarks(upstream, &mut out);
    }
    out
}

/// Empties columns until the others fit the terminal; how many those were.
fn fit(rows: &mut [Vec<String>], look: &Look) -> u64 {
    let Some(width) = look.width else { return 0 };
    let mut left_out = 0;
    let mut candidates = LEFT_OUT.iter();
    while needed(rows) > usize::from(width) {
        let Some(heading) = candidates.next() else { break };
        let mut was_there = false;
        let at = HEADINGS.iter().position(|other| other == heading).unwrap_or(HEADINGS.len());
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(at)) {
            was_there |= !cell.is_empty();
            cell.clear();
        }
        left_out += u64::from(was_there);
    }
    left_out
}

/// Columns of the terminal that the table needs to be read.
fn needed(rows: &[Vec<String>]) -> usize {
    let column = |at: usize, heading: &str| {
        let longest = rows.iter().filter_map(|row| row.get(at)).map(|cell| plain(cell).chars().count()).max();
        let longest = longest.filter(|longest| *longest > 0)?;
        let least = WRAPS.iter().find(|(name, _)| *name == heading).map_or(longest, |(_, least)| longest.min(*least));
        Some(least.max(heading.len()) + usize::from(GAP))
    };
    HEADINGS.iter().enumerate().filter_map(|(at, heading)| column(at, heading)).sum()
}

fn cells(endpoint: &EndpointLine, shown: &Shown, look: &Look) -> Vec<String> {
    let only = |wanted: bool, text: String| if wanted { text } else { String::new() };
    let failure = endpoint.last_failure.as_deref().filter(|_| endpoint.why.is_none());
    vec![
        endpoint.address.clone(),
        origin(endpoint, look),
        only(shown.weight, endpoint.weight.to_string()),
        state(endpoint, look),
        grouped(endpoint.in_flight),
        endpoint.rate.map_or_else(String::new, |rate| format!("{rate:.1}/s")),
        endpoint.errors.map_or_else(String::new, percent),
        endpoint
            .latency
            .map_or_else(String::new, |latency| format!("{}/{}", took(latency.p50_us), took(latency.p99_us))),
        only(shown.breaker, endpoint.breaker.clone().unwrap_or_default()),
        endpoint.probe.as_ref().map_or_else(String::new, |probe| {
            let text = short(&probe.text);
            if probe.ok { format!("{text} in {}", took(probe.took_us)) } else { format!("failed: {text}") }
        }),
        only(endpoint.ejections > 0, format!("{}×", grouped(endpoint.ejections))),
        grouped(endpoint.requests),
        grouped(endpoint.failures),
        only(shown.connections, format!("{} ({} idle)", grouped(endpoint.connections), grouped(endpoint.idle))),
        endpoint.why.as_deref().map_or_else(String::new, short),
        failure.map_or_else(String::new, |failure| told_when(failure, look)),
    ]
}

/// `registered, backup, 25s left`; nothing for what just stands in the config.
fn origin(endpoint: &EndpointLine, look: &Look) -> String {
    let origin = match endpoint.origin {
        EndpointOrigin::File => None,
        EndpointOrigin::Registered => Some("registered".to_owned()),
        EndpointOrigin::Dns => Some("dns".to_owned()),
    };
    let backup = endpoint.backup.then(|| "backup".to_owned());
    let left = endpoint.expires.as_deref().and_then(|expires| until(expires, look)).map(|left| format!("{left} left"));
    [origin, backup, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `unhealthy 5m`.
fn state(endpoint: &EndpointLine, look: &Look) -> String {
    match endpoint.since.as_deref().and_then(|since| ago(since, look)) {
        Some(ago) => format!("{} {ago}", endpoint.state),
        None => endpoint.state.clone(),
    }
}

/// `2026-11-22T12:25:00Z the connection was refused` as `5m ago: the connection was refused`.
fn told_when(failure: &str, look: &Look) -> String {
    let relative = failure.split_once(' ').and_then(|(time, text)| Some((ago(time, look)?, text)));
    match relative {
        Some((ago, text)) => format!("{ago} ago: {}", short(text)),
        None => short(failure),
    }
}

fn ago(rfc3339: &str, look: &Look) -> Option<String> {
    let time: Timestamp = rfc3339.parse().ok()?;
    u64::try_from(look.now.as_second() - time.as_second()).ok().map(span)
}

fn until(rfc3339: &str, look: &Look) -> Option<String> {
    let time: Timestamp = rfc3339.parse().ok()?;
    u64::try_from(time.as_second() - look.now.as_second()).ok().map(span)
}

fn percent(share: f64) -> String {
    if share == 0.0 { "0%".to_owned() } else { format!("{share:.1}%") }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let kept: String = text.chars().take(LONGEST_TEXT - 1).collect();
    format!("{kept}…")
}

/// What is to be said of an upstream as a whole.
fn remarks(upstream: &UpstreamLine, out: &mut String) {
    let name = plain(&upstream.name);
    if upstream.panic {
        let _ = writeln!(out, "{name}: too few endpoints are well, so all are used");
    } else if upstream.tier.as_deref() == Some("backup") {
        let _ = writeln!(out, "{name}: its backups are used");
    } else if upstream.tier.as_deref() == Some("none") {
        let _ = writeln!(out, "{name}: no endpoint can be used");
    }
    if upstream.waiting > 0 {
        let _ = writeln!(out, "{name}: {} for a turn", count(upstream.waiting, "request waits", "requests wait"));
    }
}

pub(super) fn set(told: &EndpointSet) -> String {
    let setting = |setting: EndpointSetting| format!("{}, weight {}", setting.state.as_str(), setting.weight);
    let (before, after) = (setting(told.changes.before), setting(told.changes.after));
    let was = if before == after { "as before".to_owned() } else { format!("was {before}") };
    format!("{} of {}: {after} ({was})\n", plain(&told.endpoint), plain(&told.upstream))
}

pub(super) fn registered(told: &EndpointRegistered, look: &Look) -> String {
    let left = told.expires.as_deref().and_then(|expires| until(expires, look));
    let stays = left.map_or_else(
        || "until it is deregistered".to_owned(),
        |left| format!("for {left} unless it is registered again"),
    );
    let how = match &told.changes {
        None => "still registered".to_owned(),
        Some(changes) => {
            let now = changes.after.as_ref().map_or_else(String::new, facts);
            let was = changes.before.as_ref().map_or_else(String::new, |before| format!(" (was {})", facts(before)));
            format!("registered, {now}{was}")
        }
    };
    format!("{} of {}: {how}, {stays}\n", plain(&told.endpoint), plain(&told.upstream))
}

pub(super) fn gone(told: &EndpointGone) -> String {
    format!("{} of {}: deregistered\n", plain(&told.endpoint), plain(&told.upstream))
}

fn facts(facts: &RegistrationFacts) -> String {
    format!("weight {}{}", facts.weight, if facts.backup { ", backup" } else { "" })
}
