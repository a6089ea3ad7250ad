//! How long a client of gRPC waits: `grpc-timeout` bounds the whole call (gRPC over HTTP/2, Requests).

use std::time::Duration;

use crate::exchange::{Headers, Name, is_grpc};

static GRPC_TIMEOUT: Name = Name::known("grpc-timeout");

/// The shorter of the configured time and the client's.
pub(super) fn shorter(total: Option<Duration>, headers: &Headers) -> Option<Duration> {
    if !is_grpc(headers) {
        return total;
    }
    match (total, headers.get(&GRPC_TIMEOUT).and_then(parse)) {
        (Some(total), Some(asked)) => Some(total.min(asked)),
        (total, asked) => total.or(asked),
    }
}

/// At most eight digits and a unit; anything else says nothing.
fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_a_unit() {
        assert_eq!(parse(b"1H"), Some(Duration::from_hours(1)));
        assert_eq!(parse(b"2M"), Some(Duration::from_mins(2)));
        assert_eq!(parse(b"3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse(b"99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse(b"5u"), Some(Duration::from_micros(5)));
        assert_eq!(parse(b"6n"), Some(Duration::from_nanos(6)));
        for bad in [&b""[..], b"S", b"1", b"123456789S", b"-1S", b"+1S", b"1s", b"1 S"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
