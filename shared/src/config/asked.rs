//! Single values in the config's own words, for commands that take them: an endpoint, a time, a name that was nearly right.

use std::sync::Arc;
use std::time::Duration;

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
    fn times_have_units_and_bounds() {
        let time = |text: &str| time(text, Duration::from_secs(1), Duration::from_hours(24));
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("24h"), Ok(Duration::from_hours(24)));
        for (text, part) in [("30", "`30s`"), ("soon", "not a time"), ("0s", "between 1s and 1d"), ("25h", "1d")] {
            assert!(time(text).is_err_and(|message| message.contains(part)), "{text}");
        }
    }
}
