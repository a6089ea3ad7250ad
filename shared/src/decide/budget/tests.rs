//! The budget beside a list of everything that happened.

use super::*;
use crate::decide::seeded::Seeded;

const SECOND: u64 = 1_000_000;
const FIFTH: Percent = Percent::of(2000);

/// Requests at these times, each as many as said; then how many retries pass at a time.
fn check(requests: &[(u64, u64)], at: u64, share: Percent, expected: u64) {
    let mut budget = Budget::new(0);
    for (now, count) in requests {
        (0..*count).for_each(|_| budget.request(*now));
    }
    assert_eq!(budget.left(share, at), expected, "{requests:?} at {at}");
    let passed = (0..100_000).take_while(|_| budget.try_retry(share, at)).count();
    assert_eq!(passed as u64, expected, "{requests:?} at {at}");
    assert_eq!(budget.left(share, at), 0);
}

#[test]
fn a_budget_allows_its_share_and_its_floor() {
    check(&[], 0, FIFTH, 10);
    check(&[], 0, Percent::of(0), 10);
    check(&[(0, 100)], 0, FIFTH, 30);
    check(&[(0, 4)], 0, FIFTH, 10);
    check(&[(0, 5)], 0, FIFTH, 11);
    check(&[(0, 100), (5 * SECOND, 100)], 9 * SECOND, FIFTH, 50);
    check(&[(0, 100), (5 * SECOND, 100)], 10 * SECOND, FIFTH, 30);
    check(&[(0, 100), (5 * SECOND, 100)], u64::MAX, FIFTH, 10);
    check(&[(0, 1000)], 1, Percent::of(10_000), 1010);
}

#[test]
fn what_was_taken_comes_back_after_ten_seconds() {
    let mut budget = Budget::new(3 * SECOND);
    assert_eq!((0..20).filter(|_| budget.try_retry(FIFTH, 3 * SECOND)).count(), 10);
    assert!(!budget.try_retry(FIFTH, 13 * SECOND - 1));
    assert!(budget.try_retry(FIFTH, 13 * SECOND + SLOT_US));
    for slots in (WINDOW_US / SLOT_US + 1)..200 {
        assert_eq!(budget.left(FIFTH, 13 * SECOND + SLOT_US * (slots + 1)), 10, "{slots}");
    }
    // A clock that is a little behind another worker's changes nothing.
    assert_eq!(budget.left(FIFTH, 0), 9);
}

#[test]
fn retries_stay_within_their_share_of_any_ten_seconds() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let share = Percent::of(seeded.between(0, 100) as u32 * 100);
        let mut now = seeded.below(100 * SECOND);
        let mut budget = Budget::new(now);
        let (mut requests, mut retries): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut gap = 1;
        for _ in 0..3_000 {
            if seeded.one_in(300) {
                gap = [1, 1_000, 10_000, 100_000, SECOND, 3 * SECOND][seeded.below(6) as usize];
            }
            now += seeded.below(gap);
            if seeded.one_in(2) {
                budget.request(now);
                requests.push(now);
                continue;
            }
            let within =
                |times: &[u64], length: u64| times.iter().rev().take_while(|at| *at + length > now).count() as u64;
            let allowed = |requests: u64| requests * u64::from(share.basis_points()) / 10_000 + FLOOR;
            let left = budget.left(share, now);
            let passed = budget.try_retry(share, now);
            assert_eq!(passed, left > 0, "seed {seed}");
            if passed {
                retries.push(now);
                let (retried, asked) = (within(&retries, WINDOW_US), within(&requests, WINDOW_US));
                assert!(retried <= allowed(asked), "seed {seed}: {retried} retries of {asked} requests");
            } else {
                // Refused only where, but for the slots at its ends, the window had no more to give.
                let (retried, asked) = (within(&retries, WINDOW_US + SLOT_US), within(&requests, WINDOW_US - SLOT_US));
                assert!(retried >= allowed(asked), "seed {seed}: {retried} retries of {asked} requests, and no more");
            }
        }
        assert!(retries.len() > 20, "seed {seed}");
    }
}
