//! A number below a bound out of 64 random bits. The bits are the caller's; nothing here makes any.

/// Evenly in `0..bound`; 0 where there is no bound.
#[must_use]
pub fn below(bound: u64, random: u64) -> u64 {
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_reach_both_ends_and_never_the_bound() {
        for (bound, random, expected) in [
            (0, u64::MAX, 0),
            (1, u64::MAX, 0),
            (10, 0, 0),
            (10, u64::MAX / 2, 4),
            (10, u64::MAX, 9),
            (u64::MAX, u64::MAX, u64::MAX - 1),
        ] {
            assert_eq!(below(bound, random), expected, "{random} below {bound}");
        }
    }
}
