//! Times and durations as people read them: local with the zone, relative where that reads better.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::text::plain;
use crate::screen::Look;

/// `2026-11-22 14:03:22 CET (5m ago)`, from RFC 3339; anything else as it is.
#[must_use]
pub(crate) fn moment(rfc3339: &str, look: &Look) -> String {
    let Ok(time) = rfc3339.parse::<Timestamp>() else { return plain(rfc3339) };
    let shown = time.to_zoned(look.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    let seconds = look.now.as_second() - time.as_second();
    match u64::try_from(seconds) {
        Ok(past) => format!("{shown} ({} ago)", span(past)),
        Err(_) => format!("{shown} ({} from now)", span(seconds.unsigned_abs())),
    }
}

/// `5m ago` or `in 3d`, from RFC 3339; anything else as it is.
#[must_use]
pub(crate) fn relative(rfc3339: &str, look: &Look) -> String {
    let Ok(time) = rfc3339.parse::<Timestamp>() else { return plain(rfc3339) };
    let seconds = look.now.as_second() - time.as_second();
    match u64::try_from(seconds) {
        Ok(past) => format!("{} ago", span(past)),
        Err(_) => format!("in {}", span(seconds.unsigned_abs())),
    }
}

/// A row's time: `14:03:22.123 CET`, with the date before it where that is not today's.
#[must_use]
pub(crate) fn row_time(micros: i64, look: &Look) -> String {
    let Ok(time) = Timestamp::from_microsecond(micros) else { return format!("{micros}µs") };
    let time = time.to_zoned(look.zone.clone());
    let today = look.now.to_zoned(look.zone.clone()).date();
    let form = if time.date() == today { "%H:%M:%S%.3f %Z" } else { "%Y-%m-%d %H:%M:%S%.3f %Z" };
    time.strftime(form).to_string()
}

/// The zone's name today.
#[must_use]
pub(crate) fn zone_name(look: &Look) -> String {
    look.now.to_zoned(look.zone.clone()).strftime("%Z").to_string()
}

/// ISO 8601 in UTC, to the microsecond.
#[must_use]
pub(crate) fn iso(micros: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// Puts an ISO twin beside each count of microseconds that is a time: `time_us` gets `time`.
pub(crate) fn add_iso(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (micros, name) in [("time_us", "time"), ("from_us", "from"), ("until_us", "until")] {
                let shown = object.get(micros).and_then(Value::as_i64).and_then(iso);
                if let Some(shown) = shown.filter(|_| !object.contains_key(name)) {
                    object.insert(name.to_owned(), Value::String(shown));
                }
            }
            object.values_mut().for_each(add_iso);
        }
        Value::Array(items) => items.iter_mut().for_each(add_iso),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Seconds as their two largest units: `3d 4h`, `2h 5m`, `45s`.
#[must_use]
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) if seconds.is_multiple_of(60) => format!("{minutes}m"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, 0) => format!("{hours}h"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        (_, 0, _) => format!("{days}d"),
        (_, _, _) => format!("{days}d {hours}h"),
    }
}

/// A request's duration: `840µs`, `12.3ms`, `1.24s`, `2m 3s`.
#[must_use]
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros}µs"),
        1000..1_000_000 => format!("{:.1}ms", micros as f64 / 1000.0),
        1_000_000..60_000_000 => format!("{:.2}s", micros as f64 / 1_000_000.0),
        _ => span(micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::look;

    #[test]
    fn durations_read_well() {
        let spans = [0, 59, 60, 61, 3600, 3661, 86_400, 90_000, 1_000_000].map(span);
        assert_eq!(spans, ["0s", "59s", "1m", "1m 1s", "1h", "1h 1m", "1d", "1d 1h", "11d 13h"]);
        assert_eq!([0, 999, 12_345, 1_240_000, 123_000_000].map(took), ["0µs", "999µs", "12.3ms", "1.24s", "2m 3s"]);
    }

    #[test]
    fn moments_are_local_and_relative() {
        let look = look();
        assert_eq!(moment("2026-11-22T12:00:00Z", &look), "2026-11-22 13:00:00 CET (30m ago)");
        assert_eq!(moment("2026-11-22T12:31:00Z", &look), "2026-11-22 13:31:00 CET (1m from now)");
        assert_eq!(relative("2026-11-22T12:00:00Z", &look), "30m ago");
        assert_eq!(relative("2026-11-25T12:31:00Z", &look), "in 3d");
        assert_eq!(relative("soon\x1b", &look), "soon\\x1b");
        assert_eq!(moment("yester\x1bday", &look), "yester\\x1bday");
        assert_eq!(row_time(1_795_348_800_123_456, &look), "13:00:00.123 CET");
        assert_eq!(row_time(0, &look), "1970-01-01 01:00:00.000 CET");
        assert_eq!(row_time(i64::MAX, &look), format!("{}µs", i64::MAX));
    }

    #[test]
    fn json_rows_carry_iso_times() {
        let mut value = serde_json::json!({ "time_us": 1_795_348_800_123_456_i64, "gaps": [{ "from_us": 0 }] });
        add_iso(&mut value);
        assert_eq!(value["time"], "2026-11-22T12:00:00.123456Z");
        assert_eq!(value["gaps"][0]["from"], "1970-01-01T00:00:00.000000Z");
    }
}
