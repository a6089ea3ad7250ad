//! Single values in the config's own words, for commands that take them: an endpoint, a time, a rate, a name that was nearly
//! right.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::policy::Window;
use super::reader;
use super::report::Fault;
use super::unit::{self, UnitError};
use super::url::{self, Scheme};

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointAddress {
    /// Lower case, IPv6 without brackets.
    pub host: Arc<str>,
    pub port: u16,
    /// `host:port`, IPv6 in brackets: as [`super::Endpoint::address`].
    pub address: Arc<str>,
}

/// Reads `host:port`, or a URL as in `upstreams.NAME.endpoints`. `tls`: whether the upstream's endpoints are `https://`.
///
/// # Errors
/// A sentence.
pub fn endpoint_address(text: &str, tls: bool) -> Result<EndpointAddress, String> {
    let scheme = if tls { Scheme::Https } else { Scheme::Http };
    let url = if text.contains("://") {
        url::endpoint(text)
    } else {
        let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
        if !text.get(after_brackets..).is_some_and(|rest| rest.contains(':')) {
            return Err("the port is missing: write `host:port`, or a URL".to_owned());
        }
        url::endpoint(&format!("{}://{text}", scheme.as_str()))
    };
    let url = url.map_err(told)?;
    if url.scheme != scheme {
        let (is, not) = (scheme.as_str(), url.scheme.as_str());
        return Err(format!("the endpoints of this upstream are `{is}://`, not `{not}://`"));
    }
    Ok(EndpointAddress { host: url.host, port: url.port, address: url.address })
}

/// Reads a time such as `30s`, within bounds.
///
/// # Errors
/// A sentence.
pub fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = unit::duration(text).map_err(|error| match error {
        UnitError::Bare(likely) => format!("a time needs a unit: write `{likely}`, if that is meant"),
        UnitError::Form | UnitError::Overflow => "this is not a time: write it like `30s` or `1h30m`".to_owned(),
    })?;
    if time < least || time > most {
        let (least, most) = (unit::show_duration(least), unit::show_duration(most));
        return Err(format!("this must be between {least} and {most}"));
    }
    Ok(time)
}

/// Writes a time as [`time`] reads it.
#[must_use]
pub fn show_time(time: Duration) -> String {
    unit::show_duration(time)
}

/// Reads when something ends: a time from now such as `30d`, or RFC 3339; after `now_s` and at most so long after it. Seconds since
/// the epoch.
///
/// # Errors
/// A sentence.
pub fn end(text: &str, now_s: i64, most: Duration) -> Result<i64, String> {
    let most_s = i64::try_from(most.as_secs()).unwrap_or(i64::MAX);
    if let Ok(at) = text.parse::<Timestamp>() {
        let at_s = at.as_second();
        return if at_s <= now_s {
            Err("this time is over already".to_owned())
        } else if at_s > now_s.saturating_add(most_s) {
            Err(format!("this is more than {} from now", unit::show_duration(most)))
        } else {
            Ok(at_s)
        };
    }
    let lasts = time(text, Duration::from_secs(1), most)
        .map_err(|message| format!("{message}; or an RFC 3339 time such as 2027-01-31T00:00:00Z"))?;
    Ok(now_s.saturating_add(i64::try_from(lasts.as_secs()).unwrap_or(most_s)))
}

/// The longest that a rate's time may be.
const MOST_PER: Duration = Duration::from_hours(30 * 24);

/// Reads a rate: `100/m`, `5/s`, `1000/90s`.
///
/// # Errors
/// A sentence.
pub fn rate(text: &str) -> Result<Window, String> {
    const FORM: &str = "this is not a rate: write it like `100/m` or `1000/1h`";
    let (requests, per) = text.split_once('/').ok_or(FORM)?;
    if requests.is_empty() || !requests.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FORM.to_owned());
    }
    let requests = requests.parse().ok().filter(|requests| (1..=4_000_000_000).contains(requests));
    let requests = requests.ok_or("a rate has 1 to 4000000000 requests")?;
    let per = if per.starts_with(|first: char| first.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
    let per = time(&per, Duration::from_secs(1), MOST_PER).map_err(|message| format!("the rate's time: {message}"))?;
    if per.subsec_nanos() > 0 {
        return Err("a rate's time is whole seconds".to_owned());
    }
    Ok(Window { requests, per })
}

/// Writes a rate as [`rate`] reads it.
#[must_use]
pub fn show_rate(rate: Window) -> String {
    format!("{}/{}", rate.requests, unit::show_duration(rate.per))
}

/// The name that was probably meant.
pub fn closest<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    reader::closest(typed, known)
}

fn told(fault: Fault) -> String {
    match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, tls: bool, expected: Result<(&str, u16, &str), &str>) {
        let got = endpoint_address(text, tls);
        match (&got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!((&*got.host, got.port, &*got.address), expected),
            (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
            (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn endpoints_are_named_as_in_the_config_or_shorter() {
        check("127.0.0.1:8001", false, Ok(("127.0.0.1", 8001, "127.0.0.1:8001")));
        check("http://127.0.0.1:8001", false, Ok(("127.0.0.1", 8001, "127.0.0.1:8001")));
        check("http://Users.Internal", false, Ok(("users.internal", 80, "users.internal:80")));
        check("[::1]:8001", false, Ok(("::1", 8001, "[::1]:8001")));
        check("http://[::1]:8001/", false, Ok(("::1", 8001, "[::1]:8001")));
        check("h:443", true, Ok(("h", 443, "h:443")));
        check("https://h", true, Ok(("h", 443, "h:443")));
        check("https://h:1", false, Err("are `http://`"));
        check("http://h:1", true, Err("are `https://`"));
        check("h", false, Err("port is missing"));
        check("[::1]", false, Err("port is missing"));
        check("", false, Err("port is missing"));
        check("::1", false, Err("in brackets"));
        check("h:0", false, Err("between 1 and 65535"));
        check("h:1/x", false, Err("no path"));
        check("u:p@h:1", false, Err("no user name"));
        check("ftp://h:1", false, Err("only `http://`"));
        check("a b:1", false, Err(""));
    }

    #[test]
    fn ends_are_ahead_and_bounded() {
        let end = |text: &str| end(text, 1_000_000_000, Duration::from_hours(24 * 365));
        assert_eq!(end("30d"), Ok(1_002_592_000));
        assert_eq!(end("2001-09-09T01:46:41Z"), Ok(1_000_000_001));
        assert_eq!(end("2001-09-09T03:46:41+02:00"), Ok(1_000_000_001));
        for (text, part) in [
            ("", "RFC 3339"),
            ("30", "`30s`"),
            ("0s", "between"),
            ("366d", "between"),
            ("soon", "RFC 3339"),
            ("2001-09-09T01:46:40Z", "over already"),
            ("1969-01-01T00:00:00Z", "over already"),
            ("2002-09-10T01:46:41Z", "more than 365d"),
        ] {
            assert!(end(text).is_err_and(|message| message.contains(part)), "{text}: {:?}", end(text));
        }
    }

    #[test]
    fn rates_are_read_and_written() {
        let window = |requests, seconds| Ok(Window { requests, per: Duration::from_secs(seconds) });
        for (text, expected) in [
            ("100/m", window(100, 60)),
            ("5/s", window(5, 1)),
            ("7/1h30m", window(7, 5400)),
            ("1000/d", window(1000, 86_400)),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
        assert_eq!(rate("100/m").map(show_rate), Ok("100/1m".to_owned()));
        assert_eq!(rate("100/90s").map(show_rate), Ok("100/1m30s".to_owned()));
        for text in [
            "",
            "100",
            "/m",
            "0/m",
            "-1/m",
            "+1/m",
            "1/",
            "1/minute",
            "1/0s",
            "1/500ms",
            "1/1s500ms",
            "1/31d",
            "4000000001/m",
            "1/m/m",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_bounds() {
        let time = |text: &str| time(text, Duration::from_secs(1), Duration::from_hours(24));
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("24h"), Ok(Duration::from_hours(24)));
        for (text, part) in [("30", "`30s`"), ("soon", "not a time"), ("0s", "between 1s and 1d"), ("25h", "1d")] {
            assert!(time(text).is_err_and(|message| message.contains(part)), "{text}");
        }
    }
}
