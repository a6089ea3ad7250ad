//! When endpoints are ejected, for how long, and how many at once.

use std::time::Duration;

use super::*;
use crate::config::Statuses;
use crate::decide::seeded::Seeded;

const RULES: EjectRules = EjectRules { lasts_us: 30, max_for_us: 100, max_percent: Percent::of(5000) };

fn config() -> Eject {
    Eject {
        consecutive_errors: Some(5),
        error_rate: Some(Percent::of(5000)),
        latency: Some(Duration::from_millis(1)),
        min_requests: 10,
        window: Duration::from_secs(10),
        statuses: Statuses::new(vec![(500, 599)]),
        lasts: Duration::from_micros(30),
        max_for: Duration::from_micros(100),
        max_percent: Percent::of(5000),
    }
}

fn check(consecutive: u32, total: u64, failed: u64, mean_latency_us: u64, expected: Option<Why>) {
    let counts = Counts { total, failed, slow: 0 };
    let found = should_eject(&config(), consecutive, counts, mean_latency_us);
    assert_eq!(found, expected, "{consecutive} in a row, {failed} of {total}, {mean_latency_us} us");
}

#[test]
fn each_measure_is_a_reason() {
    check(0, 0, 0, 0, None);
    check(4, 4, 4, 0, None);
    check(5, 5, 5, 0, Some(Why::ConsecutiveErrors));
    check(4, 9, 9, 9_000, None);
    check(4, 10, 4, 1_000, None);
    check(4, 10, 5, 1_001, Some(Why::ErrorRate));
    check(0, 10, 0, 1_001, Some(Why::Latency));
    let off = Eject { consecutive_errors: None, error_rate: None, latency: None, ..config() };
    assert_eq!(should_eject(&off, 99, Counts { total: 99, failed: 99, slow: 0 }, 99_999), None);
    assert_eq!(EjectRules::from(&config()), RULES);
}

#[test]
fn ejections_grow_and_fall_again() {
    let mut ejections = Ejections::default();
    let mut eject = |now: u64| ejections.eject(&RULES, 1, 2, now);
    assert_eq!(eject(0), Some(30));
    assert_eq!(eject(10), None, "it is out already");
    assert_eq!(eject(30), Some(90));
    assert_eq!(eject(90), Some(180));
    assert_eq!(eject(180), Some(280), "the longest");
    assert_eq!(eject(281), Some(381));
    assert_eq!(eject(381 + 60), Some(441 + 90), "twice as long outside as the first one lasts");
    assert_eq!(eject(1_000_000), Some(1_000_030));
    assert_eq!((ejections.count(1), ejections.count(2)), (7, 0));
    assert_eq!((ejections.until_us(1, 1_000_029), ejections.until_us(1, 1_000_030)), (Some(1_000_030), None));
    ejections.retain(&[2]);
    assert_eq!(ejections.count(1), 0);
}

#[test]
fn a_share_is_rounded_down() {
    for (percent, endpoints, expected) in
        [(5000, 1, 0), (5000, 2, 1), (5000, 3, 1), (3333, 3, 0), (3400, 3, 1), (10_000, 3, 3), (0, 9, 0)]
    {
        let rules = EjectRules { max_percent: Percent::of(percent), ..RULES };
        let mut ejections = Ejections::default();
        let out = (0..endpoints as u64).filter(|key| ejections.eject(&rules, *key, endpoints, 0).is_some()).count();
        assert_eq!(out, expected, "{percent} of {endpoints}");
        assert_eq!(ejections.ejected(0), expected);
    }
    let extreme = EjectRules { lasts_us: u64::MAX, max_for_us: u64::MAX, max_percent: Percent::of(10_000) };
    assert_eq!(Ejections::default().eject(&extreme, 0, usize::MAX, 5), Some(u64::MAX));
    let nothing = EjectRules { lasts_us: 0, max_for_us: 0, max_percent: Percent::of(10_000) };
    assert_eq!(Ejections::default().eject(&nothing, 0, 1, 5), Some(6));
}

#[test]
fn no_more_are_out_than_may_be_nor_for_longer() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let rules = EjectRules {
            lasts_us: seeded.between(1, 100),
            max_for_us: seeded.between(100, 1_000),
            max_percent: Percent::of(seeded.below(10_001) as u32),
        };
        let endpoints = seeded.between(1, 12) as usize;
        let most = endpoints * rules.max_percent.basis_points() as usize / 10_000;
        let mut ejections = Ejections::default();
        let mut lengths: Vec<(u64, u64)> = vec![(0, 0); endpoints];
        let mut now = 0;
        for _ in 0..2_000 {
            now += seeded.below(50);
            let key = seeded.below(endpoints as u64);
            let was_out = ejections.until_us(key, now).is_some();
            let room = ejections.ejected(now) < most;
            let until = ejections.eject(&rules, key, endpoints, now);
            assert_eq!(until.is_some(), room && !was_out, "seed {seed}");
            assert!(ejections.ejected(now) <= most, "seed {seed}");
            if let Some(until) = until {
                let (before, ended) = lengths[key as usize];
                let length = until - now;
                assert!(length <= rules.max_for_us && length >= rules.lasts_us.min(before.max(1)), "seed {seed}");
                assert!(length <= before + rules.lasts_us, "seed {seed}: it grew by more than one step");
                if before > 0 && now < ended + rules.lasts_us {
                    assert!(length >= before, "seed {seed}: it fell though nothing was served off");
                }
                lengths[key as usize] = (length, until);
            }
        }
        now += rules.max_for_us * 1_000;
        assert_eq!(ejections.ejected(now), 0, "seed {seed}");
        if most > 0 {
            let first = rules.lasts_us.min(rules.max_for_us);
            assert_eq!(ejections.eject(&rules, 0, endpoints, now), Some(now + first), "seed {seed}: all is forgotten");
        }
    }
}
