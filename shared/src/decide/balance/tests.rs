//! Shares, turns and where keys go. Simulations run over [`SEEDS`] seeds.

use proptest::prelude::*;

use super::*;
use crate::decide::seeded::Seeded;

const SEEDS: u64 = 200;
const METHODS: [Method; 5] = [Method::RoundRobin, Method::LeastBusy, Method::TwoChoices, Method::Random, Method::Hash];
/// So many picks that a share by chance (standard deviation at most 0.5 / sqrt(n) = 0.25 %) is within 1 % by a wide margin.
const PICKS: u64 = 40_000;

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let key = |index: usize| key_of(format!("10.0.0.{index}:80").as_bytes());
    weights.iter().enumerate().map(|(index, &weight)| Candidate { key: key(index), weight: weight * 1000 }).collect()
}

fn some_weights(seeded: &mut Seeded) -> Vec<u32> {
    (0..seeded.between(2, 6)).map(|_| seeded.between(1, 10) as u32).collect()
}

/// Takes turns; who was chosen.
fn check(weights: &[u32], excluded: &[usize], expected: &[usize]) {
    let mut balancer = Balancer::new(Method::RoundRobin, candidates(weights), 0);
    let found: Vec<usize> = expected.iter().filter_map(|_| balancer.pick(None, |_| 0, excluded, || 0)).collect();
    assert_eq!(found, expected, "{weights:?} without {excluded:?}");
}

#[test]
fn turns_are_spread() {
    check(&[1], &[], &[0, 0, 0]);
    check(&[1, 1], &[], &[0, 1, 0, 1]);
    check(&[5, 1, 1], &[], &[0, 0, 1, 0, 2, 0, 0]);
    check(&[5, 1, 1], &[0], &[1, 2, 1, 2]);
    check(&[5, 0, 1], &[0], &[2, 2, 2]);
}

#[test]
fn nobody_is_chosen_where_nobody_may_be() {
    let mut seeded = Seeded::new(0);
    for method in METHODS {
        for (weights, excluded) in
            [(&[] as &[u32], &[] as &[usize]), (&[0, 0], &[]), (&[1, 2], &[0, 1]), (&[1, 0], &[0, 7])]
        {
            let mut balancer = Balancer::new(method, candidates(weights), 5);
            assert_eq!(balancer.pick(Some(3), |_| 0, excluded, || seeded.next()), None, "{method:?} {weights:?}");
        }
    }
}

#[test]
fn workers_begin_at_different_endpoints() {
    let firsts: Vec<Option<usize>> = [0, u64::MAX / 3 + 1, u64::MAX / 3 * 2 + 1]
        .map(|random| Balancer::new(Method::RoundRobin, candidates(&[1, 1, 1]), random).pick(None, |_| 0, &[], || 0))
        .into();
    assert_eq!(firsts, [Some(0), Some(1), Some(2)]);
}

#[test]
fn the_least_busy_for_its_weight_is_chosen() {
    for (weights, loads, excluded, expected) in [
        (&[1, 1, 1], &[3, 1, 2], &[] as &[usize], 1),
        (&[1, 1, 1], &[3, 1, 2], &[1], 2),
        (&[4, 1, 1], &[3, 2, 1], &[], 0),
        (&[4, 1, 1], &[8, 3, 1], &[], 2),
        (&[65_535, 65_535, 1], &[u32::MAX, u32::MAX - 1, u32::MAX], &[], 1),
    ] {
        let mut balancer = Balancer::new(Method::LeastBusy, candidates(weights), 0);
        assert_eq!(balancer.pick(None, |index| loads[index], excluded, || 0), Some(expected), "{weights:?} {loads:?}");
    }
    // Of two candidates two choices are all.
    let mut balancer = Balancer::new(Method::TwoChoices, candidates(&[1, 2]), 0);
    let mut seeded = Seeded::new(0);
    for (loads, expected) in [([0, 0], 1), ([0, 3], 0), ([1, 4], 0), ([2, 4], 1)] {
        assert_eq!(balancer.pick(None, |index| loads[index], &[], || seeded.next()), Some(expected), "{loads:?}");
    }
}

proptest! {
    #[test]
    fn each_cycle_honours_the_weights(weights in prop::collection::vec(1u32..50, 1..12), random in any::<u64>()) {
        let mut balancer = Balancer::new(Method::RoundRobin, candidates(&weights), random);
        let mut taken = vec![0u32; weights.len()];
        for _ in 0..weights.iter().sum::<u32>() {
            taken[balancer.pick(None, |_| 0, &[], || 0).unwrap()] += 1;
        }
        prop_assert_eq!(taken, weights);
    }

    #[test]
    fn whoever_is_chosen_may_be(
        weights in prop::collection::vec(0u32..4, 0..6),
        excluded in prop::collection::vec(0usize..6, 0..6),
        loads in prop::collection::vec(any::<u32>(), 6),
        key in any::<Option<u64>>(),
        random in any::<u64>(),
    ) {
        let may = |index: &usize| weights.get(*index).is_some_and(|weight| *weight > 0) && !excluded.contains(index);
        for method in METHODS {
            let mut balancer = Balancer::new(method, candidates(&weights), random);
            let mut seeded = Seeded::new(random);
            let chosen = balancer.pick(key, |index| loads[index], &excluded, || seeded.next());
            prop_assert_eq!(chosen.is_some(), (0..6).any(|index| may(&index)), "{:?}", method);
            prop_assert!(chosen.is_none_or(|index| may(&index)), "{:?}", method);
        }
    }
}

/// How often each one was chosen, and how often it should have been: one share of each pick.
#[derive(Default)]
struct Tally {
    chosen: [f64; 8],
    due: [f64; 8],
    picks: f64,
}

impl Tally {
    fn count(&mut self, place: usize) {
        self.chosen[place] += 1.0;
        self.picks += 1.0;
    }

    fn owe(&mut self, places: &[usize], candidates: &[Candidate], excluded: &[usize]) {
        let weight = |index: usize| if excluded.contains(&index) { 0.0 } else { f64::from(candidates[index].weight) };
        let total: f64 = (0..candidates.len()).map(weight).sum();
        for (index, &place) in places.iter().enumerate() {
            self.due[place] += weight(index) / total;
        }
    }

    /// The largest difference, in picks.
    fn off(&self) -> f64 {
        self.chosen.iter().zip(&self.due).map(|(chosen, due)| (chosen - due).abs()).fold(0.0, f64::max)
    }

    fn check(&self, what: &str) {
        assert!(self.off() <= self.picks / 100.0, "{what}: {:?} due {:?}", self.chosen, self.due);
    }
}

#[test]
fn shares_follow_weights_while_all_changes() {
    for seed in 0..SEEDS {
        for method in [Method::RoundRobin, Method::Random, Method::Hash] {
            let mut seeded = Seeded::new(seed);
            let all = candidates(&some_weights(&mut seeded));
            let mut places: Vec<usize> = (0..all.len()).collect();
            let mut now = all.clone();
            let mut balancer = Balancer::new(method, now.clone(), seeded.next());
            let mut tally = Tally::default();
            // What has no chance in it needs fewer.
            let picks = if method == Method::RoundRobin { PICKS / 8 } else { PICKS };
            for _ in 0..picks {
                if seeded.one_in(500) {
                    // One leaves or comes back, all get other weights: now and then thousandths of what they were.
                    places = (0..all.len()).filter(|_| !seeded.one_in(3)).collect();
                    if places.is_empty() {
                        places = vec![0];
                    }
                    let scale = if seeded.one_in(4) { 1 } else { 1000 };
                    let weight = |seeded: &mut Seeded| seeded.between(1, 10) as u32 * scale;
                    now =
                        places.iter().map(|&at| Candidate { key: all[at].key, weight: weight(&mut seeded) }).collect();
                    balancer.update(method, now.clone());
                }
                let excluded = if seeded.one_in(10) && now.len() > 1 {
                    vec![seeded.below(now.len() as u64) as usize]
                } else {
                    vec![]
                };
                tally.owe(&places, &now, &excluded);
                let key = seeded.next();
                let index = balancer.pick(Some(key), |_| 0, &excluded, || seeded.next()).unwrap();
                assert!(!excluded.contains(&index));
                tally.count(places[index]);
            }
            tally.check(&format!("{method:?}, seed {seed}"));
        }
    }
}

#[test]
fn round_robin_is_never_far_from_its_shares() {
    for seed in 0..SEEDS {
        let mut seeded = Seeded::new(seed);
        let candidates = candidates(&some_weights(&mut seeded));
        let places: Vec<usize> = (0..candidates.len()).collect();
        let mut balancer = Balancer::new(Method::RoundRobin, candidates.clone(), 0);
        let mut tally = Tally::default();
        for _ in 0..2_000 {
            let mut excluded = vec![];
            while seeded.one_in(4) && excluded.len() + 1 < candidates.len() {
                excluded.push(seeded.below(candidates.len() as u64) as usize);
            }
            tally.owe(&places, &candidates, &excluded);
            tally.count(balancer.pick(None, |_| 0, &excluded, || 0).unwrap());
            assert!(tally.off() <= 2.0, "seed {seed}: {:?} due {:?}", tally.chosen, tally.due);
        }
    }
}

#[test]
fn those_that_come_and_go_are_owed_nothing_at_once() {
    let all = candidates(&[1, 1, 1, 1]);
    let mut balancer = Balancer::new(Method::RoundRobin, all.clone(), 0);
    let pick = |balancer: &mut Balancer| balancer.pick(None, |_| 0, &[], || 0).unwrap();
    for round in 0..1_000 {
        // It leaves each time when it is owed most.
        while pick(&mut balancer.clone()) != 0 {
            pick(&mut balancer);
        }
        balancer.update(Method::RoundRobin, all[1..].to_vec());
        pick(&mut balancer);
        balancer.update(Method::RoundRobin, all.clone());
        let first = (0..8).filter(|_| pick(&mut balancer) == 0).count();
        assert!((1..=3).contains(&first), "{first} of 8 in round {round}");
    }
}

/// Requests under way: each step one comes and, at random, one ends.
struct InFlight {
    loads: [u32; 8],
    open: Vec<usize>,
}

impl InFlight {
    fn step(&mut self, balancer: &mut Balancer, excluded: &[usize], seeded: &mut Seeded) -> usize {
        const MOST: usize = 600;
        let chosen = balancer.pick(None, |index| self.loads[index], excluded, || seeded.next()).unwrap();
        self.loads[chosen] += 1;
        self.open.push(chosen);
        if self.open.len() > MOST {
            let ended = self.open.swap_remove(seeded.below(self.open.len() as u64) as usize);
            self.loads[ended] -= 1;
        }
        chosen
    }
}

#[test]
fn loads_follow_weights_that_have_changed() {
    for seed in 0..SEEDS {
        for method in [Method::LeastBusy, Method::TwoChoices] {
            let mut seeded = Seeded::new(seed);
            let mut now = candidates(&some_weights(&mut seeded));
            let places: Vec<usize> = (0..now.len()).collect();
            let mut balancer = Balancer::new(method, now.clone(), seeded.next());
            let mut in_flight = InFlight { loads: [0; 8], open: Vec::new() };
            for _ in 0..1_000 {
                in_flight.step(&mut balancer, &[], &mut seeded);
            }
            for candidate in &mut now {
                candidate.weight = seeded.between(1, 10) as u32 * 1000;
            }
            balancer.update(method, now.clone());
            for _ in 0..4_000 {
                in_flight.step(&mut balancer, &[], &mut seeded);
            }
            let mut tally = Tally::default();
            for _ in 0..PICKS {
                let excluded = if seeded.one_in(10) { vec![seeded.below(now.len() as u64) as usize] } else { vec![] };
                tally.owe(&places, &now, &[]);
                let chosen = in_flight.step(&mut balancer, &excluded, &mut seeded);
                assert!(!excluded.contains(&chosen));
                tally.count(chosen);
            }
            tally.check(&format!("{method:?}, seed {seed}"));
        }
    }
}

#[test]
fn equals_share_evenly_where_all_are_idle() {
    let mut seeded = Seeded::new(1);
    let candidates = candidates(&[2, 2, 2, 2, 2]);
    for method in METHODS {
        let mut balancer = Balancer::new(method, candidates.clone(), 0);
        let mut tally = Tally::default();
        for _ in 0..PICKS {
            tally.owe(&[0, 1, 2, 3, 4], &candidates, &[]);
            tally.count(balancer.pick(None, |_| 7, &[], || seeded.next()).unwrap());
        }
        tally.check(&format!("{method:?}"));
    }
}

/// Which endpoint each key goes to, by the endpoints' keys.
fn homes(candidates: &[Candidate], keys: &[u64], excluded: &[usize]) -> Vec<u64> {
    let mut balancer = Balancer::new(Method::Hash, candidates.to_vec(), 0);
    let mut home = |key: &u64| candidates[balancer.pick(Some(*key), |_| 0, excluded, || 0).unwrap()].key;
    keys.iter().map(&mut home).collect()
}

#[test]
fn one_that_comes_or_goes_moves_only_its_share() {
    let (mut moved, mut due, mut all_keys) = (0.0, 0.0, 0.0);
    for seed in 0..SEEDS {
        let mut seeded = Seeded::new(seed);
        let with = candidates(&some_weights(&mut seeded));
        let at = seeded.below(with.len() as u64) as usize;
        let other = with[at];
        let without: Vec<Candidate> = with.iter().copied().filter(|candidate| *candidate != other).collect();
        let keys: Vec<u64> = (0..2_000_u64).map(|number| key_of(&(seed << 32 | number).to_le_bytes())).collect();
        let (before, after) = (homes(&without, &keys, &[]), homes(&with, &keys, &[]));
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *after == other.key, "seed {seed}: a key moved between two that stayed");
        }
        assert_eq!(before, homes(&with, &keys, &[at]), "seed {seed}: excluded is as good as gone");
        let mut turned = with.clone();
        turned.rotate_left(1);
        assert_eq!(after, homes(&turned, &keys, &[]), "seed {seed}: the order says nothing");
        let mut heavier = with.clone();
        heavier[at].weight *= 2;
        for (after, then) in after.iter().zip(homes(&heavier, &keys, &[])) {
            assert!(*after == then || then == other.key, "seed {seed}: weight drew a key elsewhere");
        }
        moved += after.iter().filter(|home| **home == other.key).count() as f64;
        due += keys.len() as f64 * f64::from(other.weight) / with.iter().map(|one| f64::from(one.weight)).sum::<f64>();
        all_keys += keys.len() as f64;
    }
    assert!((moved - due).abs() < all_keys / 100.0, "{moved} moved, {due} due of {all_keys}");
}

#[test]
fn keys_and_homes_are_the_same_in_every_version() {
    assert_eq!(key_of(b""), 15_130_871_412_783_076_140);
    assert_eq!(key_of(b"10.0.0.1:80"), 4_630_397_733_479_927_016);
    let keys: Vec<u64> = (0..12_u8).map(|number| key_of(&[number])).collect();
    let candidates = candidates(&[1, 2, 3]);
    let home = |key: u64| candidates.iter().position(|candidate| candidate.key == key).unwrap();
    let found: Vec<usize> = homes(&candidates, &keys, &[]).into_iter().map(home).collect();
    assert_eq!(found, [2, 0, 1, 2, 2, 1, 1, 1, 2, 1, 1, 2]);
}
