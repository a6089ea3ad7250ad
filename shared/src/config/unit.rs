//! Units as people type them: durations, sizes, percentages and whole numbers. A bare number where a unit is needed is refused with
//! the right form in the hint. Nothing here knows about places or nodes.

use std::fmt::Write as _;
use std::time::Duration;

use super::Percent;

/// Why a text is not the quantity that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// A number without its unit; the text is the same number with a likely one.
    Bare(String),
    /// Not of this form at all.
    Form,
    /// Too large to be held.
    Overflow,
}

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads `250ms`, `10s`, `1m30s`, `24h`, `30d`: whole numbers, each unit at most once and in falling order.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    if is_number(text) {
        return Err(UnitError::Bare(format!("{text}s")));
    }
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Form)?.1;
        if digits == 0 || factor >= smallest {
            return Err(UnitError::Form);
        }
        let number: u64 = number.parse().map_err(|_| UnitError::Overflow)?;
        let part = number.checked_mul(factor).ok_or(UnitError::Overflow)?;
        total_ms = total_ms.checked_add(part).ok_or(UnitError::Overflow)?;
        smallest = factor;
        rest = tail;
    }
    if smallest == u64::MAX {
        return Err(UnitError::Form);
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration as [`duration`] reads it, in whole milliseconds.
pub(crate) fn show_duration(value: Duration) -> String {
    let mut rest = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS.iter().rev() {
        if rest >= *factor {
            let _ = write!(text, "{}{unit}", rest / factor);
            rest %= factor;
        }
    }
    text
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads `512B`, `64KiB`, `10MiB`, `1GB` (bytes). Letters may be of either case.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    if is_number(text) {
        return Err(UnitError::Bare(format!("{text}KiB")));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start_matches(' ');
    let factor = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(UnitError::Form)?.1;
    if digits == 0 {
        return Err(UnitError::Form);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::Overflow)?;
    number.checked_mul(factor).ok_or(UnitError::Overflow)
}

/// Writes a size as [`size`] reads it, in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .iter()
        .filter(|(name, factor)| (name.ends_with("iB") || *name == "B") && bytes.is_multiple_of(*factor) && bytes > 0)
        .max_by_key(|(_, factor)| *factor)
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Reads `20%`, `12.5%`, `0.01%`: at most two digits after the point.
pub(super) fn percent(text: &str) -> Result<Percent, UnitError> {
    let Some(number) = text.strip_suffix('%') else {
        let is_bare = is_number(&text.replacen('.', "", 1));
        return Err(if is_bare { UnitError::Bare(format!("{text}%")) } else { UnitError::Form });
    };
    let (whole, parts) = number.split_once('.').unwrap_or((number, "0"));
    if !is_number(whole) || !is_number(parts) || parts.len() > 2 {
        return Err(UnitError::Form);
    }
    let parts = parts.parse::<u32>().map_err(|_| UnitError::Form)? * if parts.len() == 1 { 10 } else { 1 };
    let whole = whole.parse::<u32>().map_err(|_| UnitError::Overflow)?;
    let points = whole.checked_mul(100).and_then(|points| points.checked_add(parts)).ok_or(UnitError::Overflow)?;
    if points > Percent::ALL.basis_points() { Err(UnitError::Overflow) } else { Ok(Percent::of(points)) }
}

/// Reads a whole number as typed: digits, with a minus sign where `i64` allows one.
pub(super) fn integer(text: &str) -> Result<i64, UnitError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !is_number(digits) {
        return Err(UnitError::Form);
    }
    text.parse().map_err(|_| UnitError::Overflow)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, UnitError>) {
        assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations() {
        check("250ms", Ok(250));
        check("10s", Ok(10_000));
        check("1m30s", Ok(90_000));
        check("24h", Ok(86_400_000));
        check("30d", Ok(2_592_000_000));
        check("0s", Ok(0));
        check("10", Err(UnitError::Bare("10s".to_owned())));
        for wrong in ["", "s", "1", "1.5s", "1s1m", "1s1s", "-1s", "1w", "10 s", "ten"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        check("99999999999999999999s", Err(UnitError::Overflow));
        check("9999999999999999999d", Err(UnitError::Overflow));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10mib"), Ok(10 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        assert_eq!(size("5 MB"), Ok(5_000_000));
        assert_eq!(size("512"), Err(UnitError::Bare("512KiB".to_owned())));
        assert_eq!(size("99999999TiB"), Err(UnitError::Overflow));
        for wrong in ["", "KiB", "1.5KiB", "-1B", "1K", "1 0B"] {
            assert_eq!(size(wrong), Err(UnitError::Form), "{wrong}");
        }
    }

    #[test]
    fn percentages() {
        for (text, points) in [("20%", 2000), ("12.5%", 1250), ("0.01%", 1), ("0%", 0), ("100%", 10_000)] {
            assert_eq!(percent(text), Ok(Percent::of(points)), "{text}");
        }
        assert_eq!(percent("20"), Err(UnitError::Bare("20%".to_owned())));
        assert_eq!(percent("0.2"), Err(UnitError::Bare("0.2%".to_owned())));
        for over in ["100.01%", "101%", "99999999999%"] {
            assert_eq!(percent(over), Err(UnitError::Overflow), "{over}");
        }
        for wrong in ["", "%", ".5%", "5.%", "1.234%", "-1%", "1 %", "a%", "1.2.3", "ten"] {
            assert_eq!(percent(wrong), Err(UnitError::Form), "{wrong}");
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(integer("-7"), Ok(-7));
        assert_eq!(integer("12"), Ok(12));
        assert_eq!(integer("1_000"), Err(UnitError::Form));
        assert_eq!(integer("0x10"), Err(UnitError::Form));
        assert_eq!(integer("99999999999999999999"), Err(UnitError::Overflow));
    }

    proptest! {
        #[test]
        fn durations_round_trip(ms in 0_u64..=u64::MAX / 2) {
            let value = Duration::from_millis(ms);
            prop_assert_eq!(duration(&show_duration(value)), Ok(value));
        }

        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,24}") {
            let _ = (duration(&text), size(&text), percent(&text), integer(&text));
        }
    }
}
