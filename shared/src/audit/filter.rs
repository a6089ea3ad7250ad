//! A checked [`AuditQuery`]: what its texts mean. Pure; the current time is an argument.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::{AuditQuery, Kind};

/// Rows that are asked for at once, at most.
pub const MOST_ROWS: u32 = 10_000;
/// Rows when the caller names no number.
const USUAL_ROWS: u32 = 50;
/// The longest text of a filter, in bytes.
const LONGEST: usize = 4096;

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub last: usize,
    /// Inclusive, in microseconds since the epoch.
    pub since_us: Option<i64>,
    pub until_us: Option<i64>,
    pub before: Option<u64>,
    pub requests: bool,
    pub actions: bool,
    /// Inclusive.
    pub status: Option<(u16, u16)>,
    pub route: Option<String>,
    pub upstream: Option<String>,
    pub client: Option<Client>,
    pub path: Option<PathFilter>,
    pub method: Option<String>,
    pub outcome: Option<String>,
    pub principal: Option<String>,
    /// A part of it.
    pub credential: Option<String>,
    pub actor: Option<String>,
    pub request_id: Option<String>,
    /// Only requests of more than one attempt.
    pub retried: bool,
}

/// Whose requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// In the form in which rows hold it.
    Address(String),
    Network(IpNet),
}

impl Client {
    /// Whether a row's client is meant.
    #[must_use]
    pub fn matches(&self, client: &str) -> bool {
        match self {
            Self::Address(address) => client == address,
            Self::Network(network) => client.parse::<IpAddr>().is_ok_and(|address| network.contains(&address)),
        }
    }
}

/// Which paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFilter {
    Exact(String),
    Prefix(String),
}

impl Filter {
    /// Reads a query; the error is a sentence for its author.
    pub fn read(query: &AuditQuery, now_us: i64) -> Result<Self, String> {
        let texts = [
            &query.since,
            &query.until,
            &query.status,
            &query.route,
            &query.upstream,
            &query.client,
            &query.path,
            &query.method,
            &query.outcome,
            &query.principal,
            &query.credential,
            &query.actor,
            &query.request_id,
        ];
        if texts.into_iter().flatten().any(|text| text.len() > LONGEST) {
            return Err(format!("a filter may have {LONGEST} bytes at most"));
        }
        let last = query.last.unwrap_or(USUAL_ROWS);
        if last > MOST_ROWS {
            return Err(format!("last: at most {MOST_ROWS} rows at once; page back with before"));
        }
        let of_requests = query.status.is_some()
            || query.route.is_some()
            || query.upstream.is_some()
            || query.client.is_some()
            || query.path.is_some()
            || query.method.is_some()
            || query.principal.is_some()
            || query.credential.is_some()
            || query.request_id.is_some()
            || query.retried;
        let of_actions = query.actor.is_some();
        if of_requests && (of_actions || query.kind == Some(Kind::Actions)) {
            return Err(
                "an action has no status, route, upstream, client, path, method, principal, credential, request id \
                        or attempts: ask for requests or for actions"
                    .to_owned(),
            );
        }
        if of_actions && query.kind == Some(Kind::Requests) {
            return Err("a request has no actor: ask for actions".to_owned());
        }
        Ok(Self {
            last: last as usize,
            since_us: query.since.as_deref().map(|text| time("since", text, now_us)).transpose()?,
            until_us: query.until.as_deref().map(|text| time("until", text, now_us)).transpose()?,
            before: query.before,
            requests: !of_actions && query.kind != Some(Kind::Actions),
            actions: !of_requests && query.kind != Some(Kind::Requests),
            status: query.status.as_deref().map(status).transpose()?,
            route: query.route.clone(),
            upstream: query.upstream.clone(),
            client: query.client.as_deref().map(client).transpose()?,
            path: query.path.as_deref().map(|path| match path.strip_suffix('*') {
                Some(prefix) => PathFilter::Prefix(prefix.to_owned()),
                None => PathFilter::Exact(path.to_owned()),
            }),
            method: query.method.clone(),
            outcome: query.outcome.clone(),
            principal: query.principal.clone(),
            credential: query.credential.clone(),
            actor: query.actor.clone(),
            request_id: query.request_id.clone(),
            retried: query.retried,
        })
    }
}

fn time(name: &str, text: &str, now_us: i64) -> Result<i64, String> {
    if let Ok(back) = text.parse::<SignedDuration>() {
        let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
        return Ok(now_us.saturating_sub(back.saturating_abs()));
    }
    if let Some(days) = days(text) {
        return Ok(now_us.saturating_sub(days.saturating_mul(86_400_000_000)));
    }
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|_| {
        format!("{name}: neither a duration (15m, 2h, 7d) nor a time (2026-11-22T08:00:00Z): {}", shown(text))
    })
}

/// `7d` and `2w`, which a duration of exact length has no words for.
fn days(text: &str) -> Option<i64> {
    let (number, days) = match text.strip_suffix('d') {
        Some(number) => (number, 1),
        None => (text.strip_suffix('w')?, 7),
    };
    number.parse::<u32>().ok().map(|count| i64::from(count) * days)
}

fn status(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|status| *status <= 999);
    let range = match (text.as_bytes(), text.split_once('-')) {
        ([class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'], _) => {
            let first = u16::from(class - b'0') * 100;
            Some((first, first + 99))
        }
        (_, Some((from, until))) => number(from).zip(number(until)).filter(|(from, until)| from <= until),
        (_, None) => number(text).map(|status| (status, status)),
    };
    range.ok_or_else(|| format!("status: not a status (404), a class (5xx) or a range (400-499): {}", shown(text)))
}

fn client(text: &str) -> Result<Client, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Client::Address(address.to_string()));
    }
    text.parse()
        .map(Client::Network)
        .map_err(|_| format!("client: neither an address (10.0.0.7) nor a network (10.0.0.0/8): {}", shown(text)))
}

/// A wrong value, short enough to be repeated.
fn shown(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;

    fn read(build: impl FnOnce(&mut AuditQuery)) -> Result<Filter, String> {
        let mut query = AuditQuery::default();
        build(&mut query);
        Filter::read(&query, NOW)
    }

    fn check_status(text: &str, expected: Option<(u16, u16)>) {
        assert_eq!(read(|query| query.status = Some(text.into())).ok().and_then(|filter| filter.status), expected);
    }

    fn check_since(text: &str, expected: Option<i64>) {
        assert_eq!(read(|query| query.since = Some(text.into())).ok().and_then(|filter| filter.since_us), expected);
    }

    #[test]
    fn a_status_is_one_or_a_class_or_a_range() {
        check_status("404", Some((404, 404)));
        check_status("0", Some((0, 0)));
        check_status("5xx", Some((500, 599)));
        check_status("400-499", Some((400, 499)));
        for wrong in ["", "6xx", "x", "499-400", "-", "1000", "4xx-5xx"] {
            check_status(wrong, None);
        }
    }

    #[test]
    fn a_time_is_a_way_back_or_a_point() {
        check_since("15m", Some(NOW - 900_000_000));
        check_since("2h30m", Some(NOW - 9_000_000_000));
        check_since("7d", Some(NOW - 7 * 86_400_000_000));
        check_since("1970-01-01T00:00:01Z", Some(1_000_000));
        check_since("1970-01-01T01:00:00+01:00", Some(0));
        check_since("yesterday", None);
        check_since("", None);
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let client = |text: &str| read(|query| query.client = Some(text.into())).ok().and_then(|filter| filter.client);
        assert_eq!(client("::0001"), Some(Client::Address("::1".into())));
        let network = client("10.0.0.0/8").unwrap();
        assert!(network.matches("10.9.9.9") && !network.matches("11.0.0.1") && !network.matches("nobody"));
        assert_eq!(client("host"), None);
    }

    #[test]
    fn kinds_follow_the_filters_and_contradictions_are_refused() {
        let all = read(|_| ()).unwrap();
        assert!(all.requests && all.actions && all.last == 50);
        let requests = read(|query| query.route = Some("r".into())).unwrap();
        assert!(requests.requests && !requests.actions);
        let actions = read(|query| query.actor = Some("root".into())).unwrap();
        assert!(!actions.requests && actions.actions);
        assert!(read(|query| (query.actor, query.path) = (Some("a".into()), Some("/".into()))).is_err());
        let retried = read(|query| query.retried = true).unwrap();
        assert!(retried.retried && retried.requests && !retried.actions);
        let recognised = read(|query| query.credential = Some("jwt.main".into())).unwrap();
        assert!(recognised.requests && !recognised.actions && recognised.credential.as_deref() == Some("jwt.main"));
        assert!(read(|query| (query.actor, query.principal) = (Some("a".into()), Some("b".into()))).is_err());
        assert!(read(|query| (query.actor, query.retried) = (Some("a".into()), true)).is_err());
        assert!(read(|query| query.last = Some(10_001)).is_err());
        assert!(read(|query| query.path = Some("x".repeat(5000))).is_err());
    }
}
