//! A worker's clock: one monotonic reading tells both how long something took and what time it is.
//!
//! It reads the wall clock on the worker's tick only; nothing here sleeps or waits.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic microseconds since the process started.
    pub instant_us: u64,
    /// Microseconds since the Unix epoch, UTC.
    pub unix_us: i64,
}

impl Now {
    /// Microseconds from `earlier` to here; 0 if `earlier` is later.
    #[must_use]
    pub fn since_us(&self, earlier: Now) -> u64 {
        self.instant_us.saturating_sub(earlier.instant_us)
    }
}

/// A worker's clock.
///
/// Wall time is the monotonic reading plus an offset taken at the last [`Clock::refresh`]. Both clocks of the kernel are
/// slewed alike, so between two refreshes they differ by rounding (1 µs) and by steps: a step of the wall clock is seen
/// after one tick of the worker at most.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    offset_us: Cell<i64>,
    /// The newest reading.
    latest_us: Cell<u64>,
}

impl Clock {
    /// A clock that counts from `started`, which all workers of a process share.
    #[must_use]
    pub fn new(started: Instant) -> Self {
        let clock = Self { started, offset_us: Cell::new(0), latest_us: Cell::new(0) };
        clock.refresh();
        clock
    }

    /// The time: one monotonic reading.
    #[must_use]
    pub fn now(&self) -> Now {
        let instant_us = self.started.elapsed().as_micros() as u64;
        self.latest_us.set(instant_us);
        Now { instant_us, unix_us: self.offset_us.get().saturating_add(instant_us as i64) }
    }

    /// The newest reading once more. For what happens in the same turn of the loop as that: a few microseconds old.
    #[must_use]
    pub fn latest(&self) -> Now {
        let instant_us = self.latest_us.get();
        Now { instant_us, unix_us: self.offset_us.get().saturating_add(instant_us as i64) }
    }

    /// The newest reading, in microseconds since the process started: older than now by what the worker did since, hence
    /// a tick at most. For what need not be exact.
    #[must_use]
    pub fn latest_us(&self) -> u64 {
        self.latest_us.get()
    }

    /// The wall clock at the newest reading, in whole seconds since the Unix epoch.
    #[must_use]
    pub fn latest_unix_s(&self) -> i64 {
        self.offset_us.get().saturating_add(self.latest_us.get() as i64).div_euclid(1_000_000)
    }

    /// Takes the wall clock's offset anew. For the worker's tick.
    pub fn refresh(&self) {
        let instant_us = self.started.elapsed().as_micros() as i64;
        self.latest_us.set(instant_us as u64);
        self.offset_us.set(unix_us().saturating_sub(instant_us));
    }
}

/// The wall clock now: microseconds since the Unix epoch. For threads without a [`Clock`].
#[must_use]
pub fn unix_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    }
}

/// The same in seconds.
#[must_use]
pub fn unix_s() -> i64 {
    unix_us().div_euclid(1_000_000)
}

/// Writes times as text; the calendar is asked once a second, not once a line.
#[derive(Debug, Default)]
pub struct TimeText {
    second: Cell<Option<i64>>,
    texts: Cell<Texts>,
}

/// Both forms of one second. A clock outside the years 0 to 9999 shows as zeros.
#[derive(Clone, Copy, Debug)]
struct Texts {
    /// `2026-11-22T23:14:35`.
    rfc3339: [u8; 19],
    /// `22/Nov/2026:23:14:35 +0000`.
    combined: [u8; 26],
}

impl Default for Texts {
    fn default() -> Self {
        Self { rfc3339: *b"0000-00-00T00:00:00", combined: *b"00/Jan/0000:00:00:00 +0000" }
    }
}

impl TimeText {
    /// Appends `2026-11-22T23:14:35.123456Z` (RFC 3339, section 5.6).
    pub fn rfc3339(&self, unix_us: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.texts(unix_us).rfc3339);
        let rest = unix_us.rem_euclid(1_000_000) as u64;
        let mut fraction = *b".000000Z";
        let digits = [rest / 10_000, rest / 100 % 100, rest % 100].map(two_digits);
        for (place, digit) in fraction.iter_mut().skip(1).zip(digits.as_flattened()) {
            *place = *digit;
        }
        out.extend_from_slice(&fraction);
    }

    /// Appends `22/Nov/2026:23:14:35 +0000`, as the combined log format has it.
    pub fn combined(&self, unix_us: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.texts(unix_us).combined);
    }

    fn texts(&self, unix_us: i64) -> Texts {
        let second = unix_us.div_euclid(1_000_000);
        if self.second.get() != Some(second) {
            self.second.set(Some(second));
            self.texts.set(spell(second).unwrap_or_default());
        }
        self.texts.get()
    }
}

/// Both digits of a number below a hundred.
pub(super) fn two_digits(value: u64) -> [u8; 2] {
    DIGITS.get(value as usize).copied().unwrap_or([b'0'; 2])
}

const DIGITS: [[u8; 2]; 100] = digits();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a wrong index is a build error")]
const fn digits() -> [[u8; 2]; 100] {
    let mut digits = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        digits[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    digits
}

fn spell(second: i64) -> Option<Texts> {
    let time = Timestamp::from_second(second).ok()?.to_zoned(TimeZone::UTC);
    Some(Texts {
        rfc3339: time.strftime("%Y-%m-%dT%H:%M:%S").to_string().into_bytes().try_into().ok()?,
        combined: time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string().into_bytes().try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(unix_us: i64, rfc3339: &str, combined: &str) {
        let text = TimeText::default();
        for _ in 0..2 {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            text.rfc3339(unix_us, &mut first);
            text.combined(unix_us, &mut second);
            assert_eq!((first, second), (rfc3339.into(), combined.into()), "{unix_us}");
        }
    }

    #[test]
    fn times_are_spelled() {
        check(0, "1970-01-01T00:00:00.000000Z", "01/Jan/1970:00:00:00 +0000");
        check(1_795_389_275_123_456, "2026-11-22T23:14:35.123456Z", "22/Nov/2026:23:14:35 +0000");
        check(-1, "1969-12-31T23:59:59.999999Z", "31/Dec/1969:23:59:59 +0000");
        check(951_782_400_000_001, "2000-02-29T00:00:00.000001Z", "29/Feb/2000:00:00:00 +0000");
        check(i64::MAX, "0000-00-00T00:00:00.775807Z", "00/Jan/0000:00:00:00 +0000");
    }

    #[test]
    fn the_cached_second_is_replaced() {
        let (text, mut out) = (TimeText::default(), Vec::new());
        for unix_us in [999_999, 1_000_000, 999_999] {
            text.rfc3339(unix_us, &mut out);
        }
        let expected = "1970-01-01T00:00:00.999999Z1970-01-01T00:00:01.000000Z1970-01-01T00:00:00.999999Z";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn wall_time_follows_the_monotonic_clock() {
        let clock = Clock::new(Instant::now());
        let before = unix_us();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.instant_us >= first.instant_us);
        assert_eq!(second.since_us(first) as i64, second.unix_us - first.unix_us);
        assert_eq!(first.since_us(second), 0);
        assert!((first.unix_us - before).abs() < 5_000_000);
    }
}
