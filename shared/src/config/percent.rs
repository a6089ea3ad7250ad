//! Shares of a whole, as people write them: `20%`, `12.5%`.

use std::fmt;

/// A share in parts of ten thousand; at most the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// The whole.
    pub const ALL: Self = Self(10_000);

    /// So many parts of ten thousand; what is more than the whole is the whole.
    #[must_use]
    pub const fn of(basis_points: u32) -> Self {
        if basis_points > 10_000 { Self::ALL } else { Self(basis_points) }
    }

    /// Parts of ten thousand.
    #[must_use]
    pub const fn basis_points(self) -> u32 {
        self.0
    }

    /// Whether it takes in what this number stands for, of all numbers.
    #[must_use]
    pub const fn takes(self, random: u64) -> bool {
        random % 10_000 < self.0 as u64
    }

    /// How many of so many this is, rounded down.
    #[must_use]
    pub const fn of_many(self, count: usize) -> usize {
        // In two steps, so that no count is too large.
        let (whole, rest) = (count / 10_000, count % 10_000);
        whole * self.0 as usize + rest * self.0 as usize / 10_000
    }

    /// Between 0 and 1.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / 100, self.0 % 100);
        match parts {
            0 => write!(f, "{whole}%"),
            _ if parts.is_multiple_of(10) => write!(f, "{whole}.{}%", parts / 10),
            _ => write!(f, "{whole}.{parts:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unit;
    use super::*;

    #[test]
    fn shares_as_they_are_written() {
        for (parts, text) in [(0, "0%"), (1, "0.01%"), (1250, "12.5%"), (2000, "20%"), (20_000, "100%")] {
            assert_eq!(Percent::of(parts).to_string(), text);
        }
        assert_eq!([0, 1, 2, 9].map(|count| Percent::of(5000).of_many(count)), [0, 0, 1, 4]);
        assert_eq!(Percent::ALL.of_many(usize::MAX), usize::MAX);
        assert!((Percent::of(2500).share() - 0.25).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn they_are_read_as_they_are_written(parts in 0_u32..=10_000) {
            prop_assert_eq!(unit::percent(&Percent::of(parts).to_string()), Ok(Percent::of(parts)));
        }
    }
}
