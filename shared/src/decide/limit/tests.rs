//! Bounds of the counters.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::policy::{Mode, Window};

const SECOND: u64 = 1_000_000;

fn meter(algorithm: Algorithm, limits: &[(u32, u64)]) -> Meter {
    Meter::new(&rule(algorithm, limits, 1))
}

fn costly(algorithm: Algorithm, limits: &[(u32, u64)], cost: u32) -> Meter {
    Meter::new(&rule(algorithm, limits, cost))
}

fn rule(algorithm: Algorithm, limits: &[(u32, u64)], cost: u32) -> Rule {
    let limits =
        limits.iter().map(|(requests, per_s)| Window { requests: *requests, per: Duration::from_secs(*per_s) });
    Rule {
        name: "default".into(),
        limits: limits.collect(),
        by: Vec::new(),
        algorithm,
        mode: Mode::Enforce,
        max_keys: 1,
        ipv6_prefix: 64,
        cost,
        ..Rule::default()
    }
}

/// Takes at each time; the numbers left, or how many seconds to wait.
fn check(algorithm: Algorithm, limits: &[(u32, u64)], times_us: &[u64], expected: &[Result<u32, u64>]) {
    check_cost(algorithm, limits, 1, times_us, expected);
}

fn check_cost(algorithm: Algorithm, limits: &[(u32, u64)], cost: u32, times_us: &[u64], expected: &[Result<u32, u64>]) {
    let meter = costly(algorithm, limits, cost);
    let mut counters = Counters::default();
    let found: Vec<Result<u32, u64>> = times_us
        .iter()
        .map(|now| {
            let verdict = meter.take(&mut counters, *now);
            if verdict.allowed { Ok(verdict.remaining) } else { Err(verdict.retry_after_s) }
        })
        .collect();
    assert_eq!(found, expected, "{limits:?} at {times_us:?}");
}

#[test]
fn windows_slide() {
    let sliding = Algorithm::SlidingWindow;
    check(sliding, &[(2, 10)], &[0, 1, 2], &[Ok(1), Ok(0), Err(15)]);
    check(sliding, &[(2, 10)], &[0, 1, 14 * SECOND, 15 * SECOND, 16 * SECOND], &[Ok(1), Ok(0), Err(1), Ok(0), Err(4)]);
    check(sliding, &[(2, 10)], &[0, 1, 30 * SECOND], &[Ok(1), Ok(0), Ok(1)]);
    check(sliding, &[(1, 1)], &[5 * SECOND, 4 * SECOND, 6 * SECOND, 7 * SECOND], &[Ok(0), Err(2), Err(1), Ok(0)]);
}

#[test]
fn buckets_drain() {
    let bucket = |burst| Algorithm::TokenBucket { burst };
    check(bucket(None), &[(2, 10)], &[0, 1, 2, 5 * SECOND], &[Ok(1), Ok(0), Err(5), Ok(0)]);
    check(bucket(Some(1)), &[(10, 1)], &[0, 99_999, 100_000], &[Ok(0), Err(1), Ok(0)]);
    check(
        bucket(Some(3)),
        &[(1, 60)],
        &[0, 0, 0, 0, 59 * SECOND, 60 * SECOND],
        &[Ok(1), Ok(1), Ok(0), Err(60), Err(1), Ok(0)],
    );
    check(bucket(None), &[(u32::MAX, 30 * 86_400)], &[u64::MAX, u64::MAX], &[Ok(u32::MAX - 1), Ok(u32::MAX - 2)]);
}

#[test]
fn fixed_windows_begin_with_their_first_request() {
    let fixed = Algorithm::FixedWindow;
    check(fixed, &[(2, 10)], &[7, 8, 9, 10 * SECOND + 6], &[Ok(1), Ok(0), Err(10), Err(1)]);
    check(
        fixed,
        &[(2, 10)],
        &[3 * SECOND, 12 * SECOND, 13 * SECOND, 13 * SECOND, 13 * SECOND],
        &[Ok(1), Ok(0), Ok(1), Ok(0), Err(10)],
    );
    check(fixed, &[(1, 10), (2, 60)], &[0, 1, 10 * SECOND, 20 * SECOND], &[Ok(0), Err(10), Ok(0), Err(40)]);
    check(fixed, &[(1, 10)], &[50 * SECOND, 0, 60 * SECOND - 1, 60 * SECOND], &[Ok(0), Err(10), Err(1), Ok(0)]);
}

#[test]
fn costs_are_taken_at_once_or_not_at_all() {
    let (sliding, fixed) = (Algorithm::SlidingWindow, Algorithm::FixedWindow);
    check_cost(sliding, &[(5, 10)], 6, &[0], &[Err(20)]);
    check_cost(sliding, &[(5, 10)], 2, &[0, 0, 0], &[Ok(3), Ok(1), Err(13)]);
    check_cost(sliding, &[(5, 10)], 2, &[0, 0, 12 * SECOND + 500_000], &[Ok(3), Ok(1), Ok(0)]);
    check_cost(fixed, &[(5, 10)], 5, &[0, 1, 10 * SECOND], &[Ok(0), Err(10), Ok(0)]);
    check_cost(fixed, &[(5, 10), (9, 60)], 3, &[0, 1, 10 * SECOND], &[Ok(2), Err(10), Ok(2)]);
    let bucket = Algorithm::TokenBucket { burst: Some(4) };
    check_cost(bucket, &[(1, 1)], 3, &[0, 0, 2 * SECOND], &[Ok(1), Err(2), Ok(0)]);
    check_cost(Algorithm::Concurrency { at_most: 5 }, &[], 2, &[0, 0, 0], &[Ok(3), Ok(1), Err(1)]);
}

#[test]
fn what_runs_at_the_same_time_is_given_back() {
    let meter = meter(Algorithm::Concurrency { at_most: 2 }, &[]);
    assert!(meter.is_concurrency());
    let mut counters = Counters::default();
    let take = |counters: &mut Counters| meter.take(counters, 0);
    assert_eq!((take(&mut counters).remaining, take(&mut counters).remaining), (1, 0));
    let refused = take(&mut counters);
    assert_eq!((refused.allowed, refused.limit, refused.per_s, refused.retry_after_s), (false, 2, 0, 1));
    assert!(!meter.is_spent(&counters, u64::MAX), "no time ends a request");
    meter.give_back(&mut counters);
    assert!(take(&mut counters).allowed);
    for _ in 0..3 {
        meter.give_back(&mut counters);
    }
    assert!(meter.is_spent(&counters, 0), "more than was taken does not come back");
    assert_eq!(meter.policy_header(), "\"default\";q=2;qu=\"concurrent-requests\"");
    let mut told = Vec::new();
    meter.rate_limit_header(&refused, &mut told);
    assert_eq!(told, b"\"default\";r=0");
    let wider = Meter::new(&rule(Algorithm::Concurrency { at_most: 9 }, &[], 1));
    assert!(wider.continues(&meter));
}

#[test]
fn a_key_may_have_a_limit_of_its_own() {
    let windows = [(60, 60), (1000, 3600)];
    for algorithm in [Algorithm::SlidingWindow, Algorithm::FixedWindow, Algorithm::TokenBucket { burst: Some(7) }] {
        let own = Meter::with_limit(&rule(algorithm, &windows, 1), (3, 10));
        assert_eq!(own.policy_header(), "\"default\";q=3;w=10", "{algorithm:?}");
        let mut counters = Counters::default();
        let passed = (0..9).filter(|_| own.take(&mut counters, 0).allowed).count();
        assert_eq!(passed, 3, "{algorithm:?}");
    }
    let at_once = Meter::with_limit(&rule(Algorithm::Concurrency { at_most: 2 }, &[], 1), (3, 10));
    assert_eq!(at_once.policy_header(), "\"default\";q=2;qu=\"concurrent-requests\"");
}

#[test]
fn a_script_is_told_and_tells() {
    let sliding = costly(Algorithm::SlidingWindow, &[(60, 60), (1000, 3600)], 5);
    assert_eq!(sliding.form(), "s:60/60000000:1000/3600000000");
    assert_eq!(sliding.arguments(), [5, 60, 60_000_000, 60, 1000, 3_600_000_000, 1000]);
    let bucket = meter(Algorithm::TokenBucket { burst: Some(9) }, &[(2, 10)]);
    assert_eq!(bucket.form(), "b:2/10000000/9");
    assert_eq!(bucket.arguments(), [1, 2, 10_000_000, 9]);
    let fixed = meter(Algorithm::FixedWindow, &[(2, 10)]);
    assert_eq!(fixed.form(), "f:2/10000000");
    let told = fixed.told("1 15000000 14000000 1 0").unwrap();
    assert_eq!((told.now_us, told.verdict.allowed), (15 * SECOND, true));
    assert_eq!((told.verdict.remaining, told.verdict.reset_s), (1, 9));
    assert_eq!(fixed.peek(&told.counters, 15 * SECOND).remaining, 1);
    let level = bucket.told("0 15000000 42 7 0").unwrap();
    assert_eq!(level.counters.slots[0], Slot::of_level(42 * (1 << 21) + 7));
    for nonsense in ["", "1", "2 0 0 0 0", "1 0 0 0", "1 0 0 0 0 0", "1 a 0 0 0", "1 0 0 -1 0", "OK"] {
        assert_eq!(fixed.told(nonsense), None, "{nonsense:?}");
    }
    assert_eq!(meter(Algorithm::SlidingWindow, &[(2, 10)]).told("1 0 0 4294967296 0"), None);
}

#[test]
fn several_limits_are_taken_all_or_none() {
    let sliding = Algorithm::SlidingWindow;
    let meter = meter(sliding, &[(2, 1), (3, 3600)]);
    let mut counters = Counters::default();
    let start = 3600 * SECOND;
    for now in [start, start] {
        assert!(meter.take(&mut counters, now).allowed);
    }
    let refused = meter.take(&mut counters, start);
    assert_eq!((refused.allowed, refused.limit, refused.remaining, refused.retry_after_s), (false, 2, 0, 2));
    let third = meter.take(&mut counters, start + 2 * SECOND);
    assert_eq!((third.allowed, third.limit, third.remaining, third.per_s), (true, 3, 0, 3600), "refusals took nothing");
    let fourth = meter.take(&mut counters, start + 4 * SECOND);
    assert_eq!((fourth.allowed, fourth.limit), (false, 3));
    assert_eq!(meter.limit_name(&fourth), "default-3600s");
    assert!(meter.take(&mut counters, start + (4 + fourth.retry_after_s) * SECOND).allowed);
}

#[test]
fn headers_are_told() {
    let one = meter(Algorithm::SlidingWindow, &[(60, 60)]);
    assert_eq!(one.policy_header(), "\"default\";q=60;w=60");
    let verdict = one.take(&mut Counters::default(), 30 * SECOND);
    let mut told = Vec::new();
    one.rate_limit_header(&verdict, &mut told);
    assert_eq!(told, b"\"default\";r=59;t=30");
    let two = meter(Algorithm::SlidingWindow, &[(60, 60), (1000, 3600)]);
    assert_eq!(two.policy_header(), "\"default-60s\";q=60;w=60, \"default-3600s\";q=1000;w=3600");
    assert!(one.continues(&one.clone()) && !one.continues(&two));
    assert!(!one.continues(&meter(Algorithm::TokenBucket { burst: None }, &[(60, 60)])));
    assert_eq!(quotable("a\"b\\c\r\né"), "abc");
}

#[test]
fn looking_takes_nothing_and_unused_counters_are_spent() {
    for algorithm in [Algorithm::SlidingWindow, Algorithm::FixedWindow, Algorithm::TokenBucket { burst: None }] {
        let meter = meter(algorithm, &[(2, 10)]);
        let mut counters = Counters::default();
        assert!(meter.is_spent(&counters, 0) && meter.peek(&counters, 0).allowed);
        meter.take(&mut counters, 0);
        let before = counters;
        assert_eq!(meter.peek(&counters, 1).remaining, 1);
        assert_eq!(counters, before);
        let reset = meter.peek(&counters, 0).reset_s;
        assert!(!meter.is_spent(&counters, (reset - 1) * SECOND));
        assert!(meter.is_spent(&counters, 20 * SECOND));
    }
}

#[test]
fn a_bucket_tells_when_more_of_it_is_there() {
    let bucket = meter(Algorithm::TokenBucket { burst: None }, &[(5, 5)]);
    let mut counters = Counters::default();
    assert_eq!(bucket.peek(&counters, 0).reset_s, 0);
    for remaining in (0..5).rev() {
        let verdict = bucket.take(&mut counters, 0);
        assert_eq!((verdict.remaining, verdict.reset_s), (remaining, 1), "one more is there a second later");
    }
    let refused = bucket.take(&mut counters, 0);
    assert_eq!((refused.retry_after_s, refused.reset_s), (1, 1));
    assert_eq!(bucket.peek(&counters, SECOND / 2).reset_s, 1);
    assert_eq!((bucket.peek(&counters, SECOND).remaining, bucket.peek(&counters, 5 * SECOND).reset_s), (1, 0));
    // Nobody is told to come back before a request would pass.
    let costly = costly(Algorithm::TokenBucket { burst: None }, &[(5, 5)], 3);
    let mut counters = Counters::default();
    costly.take(&mut counters, 0);
    let refused = costly.take(&mut counters, 0);
    assert_eq!((refused.allowed, refused.retry_after_s, refused.reset_s), (false, 1, 1));
    let larger = meter(Algorithm::TokenBucket { burst: Some(50) }, &[(5, 5)]);
    let verdict = larger.take(&mut Counters::default(), 0);
    assert_eq!((verdict.remaining, verdict.reset_s), (5, 1));
}

#[test]
fn ipv6_clients_count_by_network() {
    for (client, prefix, expected) in [
        ("10.1.2.3", 64, "10.1.2.3"),
        ("::ffff:10.1.2.3", 64, "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
        ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", 0, "::"),
        ("2001:db8:1:2:3:4:5:6", 255, "2001:db8:1:2:3:4:5:6"),
    ] {
        assert_eq!(counted_address(client.parse().unwrap(), prefix).to_string(), expected);
    }
}

/// A reproducible stream of numbers (`SplitMix64`).
struct Seeded {
    seed: u64,
    state: u64,
}

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 31) % bound
    }
}

/// Random traffic in bursts and pauses: when each request passed, and every promise of each verdict.
fn simulate(meter: &Meter, random: &mut Seeded, steps: u64) -> Vec<u64> {
    let mut counters = Counters::default();
    let mut now = random.below(1 << 50);
    let mut passed = Vec::new();
    for _ in 0..steps {
        now += match random.below(10) {
            0..6 => 0,
            6..9 => random.below(SECOND),
            _ => random.below(8 * SECOND),
        };
        let before = counters;
        let peeked = meter.peek(&counters, now);
        let verdict = meter.take(&mut counters, now);
        assert_eq!(peeked.allowed, verdict.allowed, "seed {}", random.seed);
        if verdict.allowed {
            passed.push(now);
            assert!(verdict.reset_s >= 1 && verdict.retry_after_s == 0, "seed {}", random.seed);
        } else {
            let mut taken_nothing = before;
            meter.settle(&mut taken_nothing, now);
            assert_eq!(counters, taken_nothing, "a refusal takes nothing, seed {}", random.seed);
            let wait = verdict.retry_after_s * SECOND;
            assert!(wait > 0 && meter.peek(&counters, now + wait).allowed, "seed {}: {verdict:?}", random.seed);
            let too_early = (verdict.retry_after_s - 1) * SECOND;
            assert!(!meter.peek(&counters, now + too_early).allowed, "seed {}: {verdict:?}", random.seed);
        }
        let longest_us = meter.limits.iter().map(|limit| limit.per_us).max().unwrap();
        let idle = meter.limits.iter().any(|limit| matches!(limit.kind, Kind::Bucket { .. }))
            || meter.is_spent(&counters, now + 2 * longest_us);
        assert!(idle, "seed {}", random.seed);
    }
    passed
}

/// The most that passed in any stretch of this length, ends included.
fn most_within(passed: &[u64], length_us: u64) -> u64 {
    let mut first = 0;
    let counts = passed.iter().enumerate().map(|(last, now)| {
        while now - passed[first] >= length_us {
            first += 1;
        }
        (last + 1 - first) as u64
    });
    counts.max().unwrap_or_default()
}

#[test]
fn bounds_hold_for_two_hundred_seeds() {
    for seed in 0..200 {
        let mut random = Seeded { seed, state: seed };
        let limits: Vec<(u32, u64)> =
            (1..=1 + random.below(3)).map(|n| (1 + random.below(20 * n) as u32, n * (1 + random.below(4)))).collect();

        let passed = simulate(&meter(Algorithm::FixedWindow, &limits), &mut random, 400);
        for (requests, per_s) in &limits {
            let mut rest = &passed[..];
            while let Some(start) = rest.first() {
                let within = rest.iter().take_while(|now| *now - start < per_s * SECOND).count();
                assert!(within <= *requests as usize, "seed {seed}: {limits:?}");
                rest = &rest[within..];
            }
        }

        let cost = 1 + random.below(u64::from(limits.iter().map(|(requests, _)| *requests).min().unwrap())) as u32;
        for algorithm in [Algorithm::SlidingWindow, Algorithm::FixedWindow, Algorithm::TokenBucket { burst: None }] {
            let passed = simulate(&costly(algorithm, &limits, cost), &mut random, 200);
            for (requests, per_s) in &limits {
                let most = most_within(&passed, per_s * SECOND) * u64::from(cost);
                assert!(most <= 2 * u64::from(*requests), "seed {seed}: {limits:?} at {cost}");
            }
        }

        let passed = simulate(&meter(Algorithm::SlidingWindow, &limits), &mut random, 400);
        for (requests, per_s) in &limits {
            let per_us = per_s * SECOND;
            for window in passed.chunk_by(|a, b| a / per_us == b / per_us) {
                assert!(window.len() as u64 <= u64::from(*requests), "seed {seed}: {limits:?}");
            }
            assert!(
                most_within(&passed, per_us) < 2 * u64::from(*requests).max(1) + u64::from(*requests == 1),
                "seed {seed}"
            );
        }

        let burst = 1 + random.below(10) as u32;
        let passed = simulate(&meter(Algorithm::TokenBucket { burst: Some(burst) }, &limits), &mut random, 400);
        for (requests, per_s) in &limits {
            for (index, start) in passed.iter().enumerate() {
                for (count, end) in passed[index..].iter().enumerate() {
                    let earned = u128::from(end - start) * u128::from(*requests) / u128::from(per_s * SECOND);
                    assert!((count as u128) < u128::from(burst) + earned + 1, "seed {seed}: {limits:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_full_bucket_gives_its_size_at_once(requests in 1..500_u32, per_s in 1..100_000_u64, burst in 1..500_u32, now in any::<u64>()) {
        let meter = meter(Algorithm::TokenBucket { burst: Some(burst) }, &[(requests, per_s)]);
        let mut counters = Counters::default();
        let passed = (0..600).filter(|_| meter.take(&mut counters, now).allowed).count();
        prop_assert_eq!(passed, burst as usize);
    }

    #[test]
    fn any_times_and_limits_have_an_answer(
        limits in prop::collection::vec((1..=u32::MAX, 1..=2_592_000_u64), 0..10),
        times in prop::collection::vec(any::<u64>(), 0..20),
        algorithm in 0..4_u8,
        cost in any::<u32>(),
    ) {
        let algorithm = match algorithm {
            0 => Algorithm::SlidingWindow,
            1 => Algorithm::FixedWindow,
            2 => Algorithm::Concurrency { at_most: 7 },
            _ => Algorithm::TokenBucket { burst: Some(u32::MAX) },
        };
        let meter = costly(algorithm, &limits, cost);
        let mut counters = Counters::default();
        for now in times {
            meter.take(&mut counters, now);
            meter.give_back(&mut counters);
        }
    }

    #[test]
    fn what_a_script_says_never_panics(text in "[01] [0-9]{1,20}( [0-9]{1,20}){0,6}", algorithm in 0..3_u8) {
        let algorithm = match algorithm {
            0 => Algorithm::SlidingWindow,
            1 => Algorithm::FixedWindow,
            _ => Algorithm::TokenBucket { burst: None },
        };
        let _ = meter(algorithm, &[(3, 60), (5, 3600)]).told(&text);
    }
}
