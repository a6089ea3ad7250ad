//! The breaker step by step, and beside an endpoint that fails and recovers.

use super::*;
use crate::decide::seeded::Seeded;

const RULES: BreakerRules = BreakerRules {
    error_rate: Some(Percent::of(5000)),
    slow_rate: Some(Percent::of(8000)),
    min_requests: 10,
    open_for_us: 100,
    trials: 2,
};

/// What is done at a time: `judge` of (total, failed, slow), a request that asks, a trial that ends.
enum Step {
    Judge(u64, u64, u64, Option<Trip>),
    Ask(Pass),
    End(Option<bool>, Option<Trip>),
    Stands(Circuit),
}
use Step::{Ask, End, Judge, Stands};

fn check(steps: &[(u64, Step)]) {
    let mut breaker = Breaker::default();
    for (number, (now, step)) in steps.iter().enumerate() {
        let at = format!("step {number} at {now}");
        match step {
            Judge(total, failed, slow, expected) => {
                let counts = Counts { total: *total, failed: *failed, slow: *slow };
                assert_eq!(breaker.judge(&RULES, counts, *now), *expected, "{at}");
            }
            Ask(expected) => assert_eq!(breaker.try_pass(&RULES, *now), *expected, "{at}"),
            End(ok, expected) => assert_eq!(breaker.trial_ended(&RULES, *ok, *now), *expected, "{at}"),
            Stands(expected) => assert_eq!(breaker.circuit(*now), *expected, "{at}"),
        }
    }
}

#[test]
fn it_opens_by_shares_of_enough_requests() {
    check(&[
        (0, Judge(0, 0, 0, None)),
        (1, Judge(9, 9, 9, None)),
        (2, Judge(10, 4, 7, None)),
        (3, Ask(Pass::Free)),
        (4, Judge(10, 5, 8, Some(Trip::ErrorRate))),
        (4, Stands(Circuit::Open { until_us: 104 })),
        (5, Judge(10, 10, 10, None)),
        (5, Ask(Pass::No)),
    ]);
    check(&[(0, Judge(10, 4, 8, Some(Trip::SlowRate))), (1, Ask(Pass::No))]);
    let off = BreakerRules { error_rate: None, slow_rate: None, min_requests: 0, ..RULES };
    let all = Counts { total: 100, failed: 100, slow: 100 };
    assert_eq!(Breaker::default().judge(&off, all, 0), None);
    let at_any = BreakerRules { error_rate: Some(Percent::of(0)), min_requests: 0, ..RULES };
    assert_eq!(Breaker::default().judge(&at_any, Counts { total: 9, ..Counts::default() }, 0), None, "none failed");
}

#[test]
fn trials_decide() {
    let opened = || (0, Judge(10, 10, 0, Some(Trip::ErrorRate)));
    // All of them well.
    check(&[
        opened(),
        (99, Ask(Pass::No)),
        (100, Stands(Circuit::HalfOpen)),
        (100, Ask(Pass::Trial)),
        (101, Ask(Pass::Trial)),
        (102, Ask(Pass::No)),
        (103, End(Some(true), None)),
        (104, Ask(Pass::No)),
        (105, End(Some(true), None)),
        (105, Stands(Circuit::Closed)),
        (106, Ask(Pass::Free)),
    ]);
    // One fails; the other, late, says nothing while it is open.
    check(&[
        opened(),
        (100, Ask(Pass::Trial)),
        (100, Ask(Pass::Trial)),
        (110, End(Some(false), Some(Trip::Trial))),
        (110, Stands(Circuit::Open { until_us: 210 })),
        (111, End(Some(false), None)),
        (209, Ask(Pass::No)),
        (210, Ask(Pass::Trial)),
    ]);
    // One is called off: its place is free again.
    check(&[
        opened(),
        (100, Ask(Pass::Trial)),
        (100, Ask(Pass::Trial)),
        (101, End(None, None)),
        (101, Ask(Pass::Trial)),
        (102, Ask(Pass::No)),
    ]);
    // A trial that stalls holds its place over rounds.
    check(&[
        opened(),
        (100, Ask(Pass::Trial)),
        (100, Ask(Pass::Trial)),
        (110, End(Some(false), Some(Trip::Trial))),
        (210, Ask(Pass::Trial)),
        (211, Ask(Pass::No)),
        (220, End(Some(true), None)),
        (220, End(Some(true), None)),
        (220, Stands(Circuit::Closed)),
    ]);
}

#[test]
fn it_says_how_often_it_opened_and_when_it_changed() {
    let mut breaker = Breaker::default();
    assert_eq!((breaker.opened_count(), breaker.changed_us()), (0, 0));
    let all = Counts { total: 10, failed: 10, slow: 0 };
    breaker.judge(&RULES, all, 7);
    assert_eq!((breaker.opened_count(), breaker.changed_us()), (1, 7));
    let one = BreakerRules { trials: 0, ..RULES };
    assert_eq!(breaker.try_pass(&one, 200), Pass::Trial, "no trials count as one");
    breaker.trial_ended(&one, Some(true), 201);
    assert_eq!((breaker.circuit(201), breaker.opened_count(), breaker.changed_us()), (Circuit::Closed, 1, 201));
    let forever = BreakerRules { open_for_us: u64::MAX, ..RULES };
    breaker.judge(&forever, all, 300);
    assert_eq!(breaker.circuit(u64::MAX - 1), Circuit::Open { until_us: u64::MAX });
}

/// An endpoint that is well and ill by turns, behind its breaker.
#[test]
fn an_open_breaker_lets_only_trials_through_and_closes_once_all_is_well() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let rules = BreakerRules { trials: seeded.between(1, 4) as u32, open_for_us: seeded.between(50, 500), ..RULES };
        let mut breaker = Breaker::default();
        let mut now = 0;
        let mut ill = false;
        // (ends, is a trial, ok)
        let mut under_way: Vec<(u64, bool, bool)> = Vec::new();
        let mut counts = Counts::default();
        let (mut passed_open, mut closed_again) = (0, 0);
        for step in 0..4_000 {
            let recovers = step >= 3_000;
            now += seeded.between(0, 10);
            if seeded.one_in(200) {
                ill = !ill;
            }
            ill &= !recovers;
            let mut index = 0;
            while index < under_way.len() {
                let (ends, is_trial, ok) = under_way[index];
                if ends > now {
                    index += 1;
                    continue;
                }
                under_way.swap_remove(index);
                let before = breaker.circuit(now);
                if is_trial {
                    let said = (!seeded.one_in(10)).then_some(ok);
                    let trip = breaker.trial_ended(&rules, said, now);
                    assert_eq!(trip.is_some(), before == Circuit::HalfOpen && said == Some(false), "seed {seed}");
                } else {
                    counts.total += 1;
                    counts.failed += u64::from(!ok);
                    if !ok && breaker.judge(&rules, counts, now).is_some() {
                        assert_eq!(before, Circuit::Closed, "seed {seed}");
                    }
                }
                let after = breaker.circuit(now);
                if before != after {
                    counts = Counts::default();
                    closed_again += u32::from(after == Circuit::Closed);
                }
            }
            if seeded.one_in(100) {
                counts = Counts::default();
            }
            let circuit = breaker.circuit(now);
            let pass = breaker.try_pass(&rules, now);
            let trials = under_way.iter().filter(|(_, is_trial, _)| *is_trial).count();
            match circuit {
                Circuit::Closed => assert_eq!(pass, Pass::Free, "seed {seed}"),
                Circuit::Open { until_us } => {
                    assert!(until_us > now && until_us <= now + rules.open_for_us, "seed {seed}");
                    assert_eq!(pass, Pass::No, "seed {seed}");
                    passed_open += 1;
                }
                Circuit::HalfOpen => assert_ne!(pass, Pass::Free, "seed {seed}"),
            }
            if pass == Pass::Trial {
                assert!(trials < rules.trials as usize, "seed {seed}: {trials} under way");
            }
            if pass != Pass::No {
                // Some of what an ill endpoint gets stalls for several rounds.
                let takes = if ill && seeded.one_in(10) { seeded.between(100, 1_000) } else { seeded.between(0, 30) };
                under_way.push((now + takes, pass == Pass::Trial, !ill));
            }
        }
        assert_eq!(breaker.circuit(now), Circuit::Closed, "seed {seed}: well again and not closed");
        assert!(passed_open > 0 && closed_again > 0, "seed {seed}: nothing was tried");
        assert!(breaker.opened_count() > 1, "seed {seed}");
    }
}
