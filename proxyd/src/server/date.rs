//! The time of an answer.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

/// What a `Date` has (RFC 9110 section 5.6.7).
const DATE_BYTES: usize = 29;

/// `Date` (RFC 9110 section 6.6.1), written once a second.
pub(super) fn date(unix_s: i64) -> [u8; DATE_BYTES] {
    thread_local! {
        static WRITTEN: Cell<(i64, [u8; DATE_BYTES])> = const { Cell::new((i64::MIN, [b' '; DATE_BYTES])) };
    }
    let (mut second, mut text) = WRITTEN.get();
    if second != unix_s {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s.max(0) as u64);
        let written = httpdate::fmt_http_date(time);
        if let Ok(bytes) = written.as_bytes().try_into() {
            (second, text) = (unix_s, bytes);
            WRITTEN.set((second, text));
        }
    }
    text
}
