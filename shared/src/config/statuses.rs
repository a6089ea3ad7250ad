//! Sets of statuses: `502`, `500-599`, or a list of such.

use std::fmt;

use super::field::Kind;
use super::fields::Fields;
use super::problem::Code;
use super::report::Fault;

/// Ranges of statuses with both ends, in rising order, apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// These ranges, in order and without overlaps; one that ends before it begins holds nothing.
    #[must_use]
    pub fn new(mut ranges: Vec<(u16, u16)>) -> Self {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut apart: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => apart.push((first, last)),
            }
        }
        Self(apart)
    }

    /// No status at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { ", " };
            if first == last { write!(f, "{before}{first}") } else { write!(f, "{before}{first}-{last}") }?;
        }
        Ok(())
    }
}

/// How one status or range is written.
pub(super) const STATUS: Kind =
    Kind::Word { what: "a status such as `503`, or a range such as `500-599`", sample: "503" };
/// How a set of them is written.
pub(super) const STATUSES: Kind = Kind::OneOrMany(&STATUS);

/// Reads the set under `key`, or its default.
pub(super) fn read(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Statuses> {
    let found = fields.items(key, |reader, node, kind| reader.parse(node, kind, |text| range(text, 100)))?;
    if found.is_empty() {
        let fault = Fault::invalid("no status is named here").hint(format!("{key}: 500-599, or a list of statuses"));
        fields.fault(key, fault);
        return None;
    }
    Some(Statuses::new(found))
}

/// One status, or the first and the last of a range; none below `least`.
pub(super) fn range(text: &str, least: u16) -> Result<(u16, u16), Fault> {
    let form = || {
        Fault::invalid("this is not a status")
            .hint("write it like `503`, or a range like `500-599`; statuses have three digits")
    };
    let status = |text: &str| {
        let sound = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let number = if sound { text.parse::<u16>().ok() } else { None };
        number.ok_or_else(form)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (status(first.trim_end())?, status(last.trim_start())?),
        None => (status(text)?, status(text)?),
    };
    if first < least || last < least || first > 599 || last > 599 {
        return Err(Fault::new(Code::OutOfRange, format!("these statuses must lie between {least} and 599")));
    }
    if first > last {
        return Err(Fault::invalid("this range ends before it begins").hint(format!("write `{last}-{first}`")));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ranges: &[(u16, u16)], expected: &str) {
        assert_eq!(Statuses::new(ranges.to_vec()).to_string(), expected);
    }

    #[test]
    fn sets_are_kept_in_order_and_apart() {
        check(&[(418, 418), (200, 399)], "200-399, 418");
        check(&[(500, 504), (502, 502), (505, 599)], "500-599");
        check(&[(599, 500)], "");
        let set = Statuses::new(vec![(200, 299), (404, 404)]);
        assert!(set.contains(200) && set.contains(299) && set.contains(404));
        assert!(!set.contains(300) && !set.contains(199));
    }

    #[test]
    fn ranges_have_one_form() {
        assert_eq!(range("503", 100), Ok((503, 503)));
        assert_eq!(range("200-399", 100), Ok((200, 399)));
        for wrong in ["", "-", "5", "50", "5xx", "+50", "0200", "200-", "-200", "200-300-400", "399-200", "600", "099"]
        {
            assert!(range(wrong, 100).is_err(), "{wrong}");
        }
        assert!(range("399", 400).is_err());
    }
}
