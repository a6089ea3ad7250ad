//! Who is chosen, tier by tier; and laws over generated facts.

use super::*;
use crate::decide::seeded::Seeded;

const NOW: u64 = 1_000;

fn ready() -> Facts {
    Facts {
        backup: false,
        weight: 1,
        admin: Admin::Ready,
        checked: Checked::Healthy,
        ejected_until_us: None,
        circuit: Circuit::Closed,
        resolved: true,
        ready_since_us: None,
    }
}

/// Endpoints by a letter each, backups in capitals: `h`ealthy, `n`ot probed, un`k`nown, `u`nhealthy, `d`raining, `x` down, `e`jected until
/// 2000, `o`pen until 3000, half open `t`rials, `w`eight 0, without an address `a`.
fn endpoints(letters: &str) -> Vec<Facts> {
    let of = |letter: char| {
        let facts = Facts { backup: letter.is_uppercase(), ..ready() };
        match letter.to_ascii_lowercase() {
            'h' => facts,
            'n' => Facts { checked: Checked::NotProbed, ..facts },
            'k' => Facts { checked: Checked::Unknown, ..facts },
            'u' => Facts { checked: Checked::Unhealthy, ..facts },
            'd' => Facts { admin: Admin::Drain, ..facts },
            'x' => Facts { admin: Admin::Down, ..facts },
            'e' => Facts { ejected_until_us: Some(2_000), ..facts },
            'o' => Facts { circuit: Circuit::Open { until_us: 3_000 }, ..facts },
            't' => Facts { circuit: Circuit::HalfOpen, ..facts },
            'w' => Facts { weight: 0, ..facts },
            'a' => Facts { resolved: false, ..facts },
            _ => panic!("{letter} says nothing"),
        }
    };
    letters.chars().map(of).collect()
}

/// The tier and the letters chosen.
fn check(letters: &str, panic_below: Option<u32>, expected: &str) {
    let rules = Rules { panic_below: panic_below.map(|percent| Percent::of(percent * 100)), slow_start_us: None };
    let found = eligible(&endpoints(letters), &rules, NOW);
    let chosen: String = found.chosen.iter().filter_map(|(index, _)| letters.chars().nth(*index)).collect();
    let word = match found.tier {
        _ if found.chosen.is_empty() && found.awaits => "awaits",
        _ if found.chosen.is_empty() => "none",
        Tier::Primary => "primary",
        Tier::Backup => "backup",
        Tier::Panic => "panic",
    };
    assert_eq!(format!("{word} {chosen}").trim_end(), expected, "{letters:?} {panic_below:?}");
}

#[test]
fn primaries_before_backups_before_panic() {
    for panic_below in [None, Some(1)] {
        check("hnt", panic_below, "primary hnt");
        check("hudxeowak", panic_below, "primary h");
        check("hH", panic_below, "primary h");
        check("ueoH", panic_below, "backup H");
        check("HN", panic_below, "backup HN");
        check("", panic_below, "none");
        check("dxwao", panic_below, "none");
        check("k", panic_below, "awaits");
        check("kkK", panic_below, "awaits");
        check("dkod", panic_below, "awaits");
        check("kH", panic_below, "backup H");
    }
    check("ue", None, "none");
    check("ueU", None, "none");
    check("uk", None, "awaits");
    check("ue", Some(1), "panic ue");
    check("uedxwaoU", Some(1), "panic ue");
    check("dxoUE", Some(1), "panic UE");
    check("uk", Some(1), "panic uk");
}

#[test]
fn a_share_too_small_is_not_enough() {
    check("huuu", Some(25), "primary h");
    check("huuu", Some(26), "panic huuu");
    check("huuuHHH", Some(26), "backup HHH");
    check("huuuHUUU", Some(26), "panic huuu");
    // Those that an operator took out, or that have no address, are not missed; nor those that nobody knows yet.
    check("huxdwax", Some(50), "primary h");
    check("hhkkkkkk", Some(50), "primary hh");
    check("hooo", Some(50), "panic h");
    check("huuu", None, "primary h");
    check("h", Some(100), "primary h");
}

#[test]
fn times_are_told() {
    let told = |letters: &str, panic_below: Option<Percent>| {
        let found = eligible(&endpoints(letters), &Rules { panic_below, slow_start_us: None }, NOW);
        (found.recheck_us, found.opens_us)
    };
    assert_eq!(told("h", None), (None, None));
    assert_eq!(told("he", None), (Some(2_000), None));
    assert_eq!(told("ho", None), (Some(3_000), None));
    assert_eq!(told("eo", None), (Some(2_000), Some(3_000)));
    assert_eq!(told("ou", None), (Some(3_000), Some(3_000)));
    let both = Facts { ejected_until_us: Some(5_000), circuit: Circuit::Open { until_us: 3_000 }, ..ready() };
    let ill = Facts { checked: Checked::Unhealthy, ..both };
    let opens = |facts: Facts, panic_below: Option<Percent>| {
        eligible(&[facts], &Rules { panic_below, slow_start_us: None }, NOW).opens_us
    };
    assert_eq!(opens(both, None), Some(5_000));
    assert_eq!(opens(both, Some(Percent::of(100))), Some(3_000));
    assert_eq!(opens(ill, None), None, "what its probes say is not over with the breaker");
    assert_eq!(opens(ill, Some(Percent::of(100))), Some(3_000));
    assert_eq!(opens(Facts { admin: Admin::Drain, ..both }, None), None);
}

#[test]
fn a_slow_start_rises_in_steps() {
    let rules = Rules { panic_below: None, slow_start_us: Some(1_000) };
    let facts = [Facts { weight: 2, ready_since_us: Some(500), ..ready() }, ready()];
    for (now, weight, recheck) in [
        (0, 200, Some(650)),
        (500, 200, Some(650)),
        (649, 200, Some(650)),
        (650, 300, Some(700)),
        (1_000, 1_000, Some(1_050)),
        (1_499, 1_900, Some(1_500)),
        (1_500, 2_000, None),
        (u64::MAX, 2_000, None),
    ] {
        let found = eligible(&facts, &rules, now);
        assert_eq!((found.chosen, found.recheck_us), (vec![(0, weight), (1, 1_000)], recheck), "at {now}");
    }
    let largest = [Facts { weight: u32::MAX, ..ready() }];
    assert_eq!(eligible(&largest, &rules, 0).chosen, [(0, u32::MAX)]);
}

fn some_facts(seeded: &mut Seeded, now: u64) -> Facts {
    let some_time = |seeded: &mut Seeded| (now + seeded.below(400)).saturating_sub(200);
    Facts {
        backup: seeded.one_in(3),
        weight: seeded.below(4) as u32,
        admin: [Admin::Ready, Admin::Ready, Admin::Ready, Admin::Drain, Admin::Down][seeded.below(5) as usize],
        checked: [Checked::NotProbed, Checked::Unknown, Checked::Healthy, Checked::Unhealthy][seeded.below(4) as usize],
        ejected_until_us: seeded.one_in(3).then(|| some_time(seeded)),
        circuit: match seeded.below(4) {
            0 => Circuit::Open { until_us: some_time(seeded) },
            1 => Circuit::HalfOpen,
            _ => Circuit::Closed,
        },
        resolved: !seeded.one_in(6),
        ready_since_us: seeded.one_in(2).then(|| some_time(seeded)),
    }
}

fn is_open(facts: &Facts, now: u64) -> bool {
    matches!(facts.circuit, Circuit::Open { until_us } if until_us > now)
}

fn is_usable(facts: &Facts, now: u64) -> bool {
    facts.admin == Admin::Ready
        && facts.resolved
        && facts.weight > 0
        && matches!(facts.checked, Checked::NotProbed | Checked::Healthy)
        && facts.ejected_until_us.is_none_or(|until| until <= now)
        && !is_open(facts, now)
}

#[test]
fn laws_hold_for_any_facts() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let mut seen = [0; 4];
        for round in 0..200 {
            let mut now = seeded.below(1_000);
            let facts: Vec<Facts> = (0..seeded.below(8)).map(|_| some_facts(&mut seeded, now)).collect();
            let rules = Rules {
                panic_below: (!seeded.one_in(3)).then(|| Percent::of(seeded.below(10_001) as u32)),
                slow_start_us: seeded.one_in(2).then(|| seeded.between(1, 300)),
            };
            let at = format!("seed {seed}, round {round}");
            // Follows time from one recheck to the next until nothing more can change.
            for step in 0.. {
                assert!(step < 400, "{at}: it never comes to rest");
                let found = eligible(&facts, &rules, now);
                check_laws(&facts, &rules, now, &found, &at);
                seen[if found.chosen.is_empty() { 3 } else { found.tier as usize }] += 1;
                let Some(recheck) = found.recheck_us else {
                    assert_eq!(eligible(&facts, &rules, now + 1_000_000), found, "{at}: it said never");
                    break;
                };
                assert!(recheck > now, "{at}: {recheck} is not after {now}");
                let then = now + seeded.below(recheck - now);
                for before in [then, recheck - 1] {
                    assert_eq!(eligible(&facts, &rules, before), found, "{at}: changed at {before}, before {recheck}");
                }
                now = recheck;
            }
        }
        assert!(seen.iter().all(|times| *times > 0), "seed {seed}: {seen:?}");
    }
}

fn check_laws(facts: &[Facts], rules: &Rules, now: u64, found: &Eligible, at: &str) {
    for (index, weight) in &found.chosen {
        let one = &facts[*index];
        assert!(one.admin == Admin::Ready && one.resolved && one.weight > 0 && !is_open(one, now), "{at}: {one:?}");
        assert!(
            *weight >= 1 && *weight <= one.weight * 1_000 && *weight >= one.weight * 100,
            "{at}: {weight} of {one:?}"
        );
        assert!(found.tier == Tier::Panic || is_usable(one, now), "{at}: {one:?}");
    }
    assert!(found.chosen.is_sorted_by(|one, other| one.0 < other.0), "{at}");
    let primaries = facts.iter().filter(|one| !one.backup);
    let usable = primaries.clone().filter(|one| is_usable(one, now)).count();
    let present = primaries
        .filter(|one| one.admin == Admin::Ready && one.resolved && one.weight > 0 && one.checked != Checked::Unknown)
        .count();
    let is_enough = |least: Percent| usable * 10_000 >= present * least.basis_points() as usize;
    let primaries_do = usable > 0 && rules.panic_below.is_none_or(is_enough);
    let is_firm = |one: &&Facts| is_usable(one, now) && one.circuit == Circuit::Closed;
    if primaries_do && found.tier == Tier::Backup {
        // Beside primaries that take trials only.
        assert!(!facts.iter().filter(|one| !one.backup).any(|one| is_firm(&one)), "{at}");
        assert!(facts.iter().filter(|one| one.backup).any(|one| is_firm(&one)), "{at}");
        assert_eq!(found.chosen.len(), facts.iter().filter(|one| is_usable(one, now)).count(), "{at}");
    } else if primaries_do {
        assert_eq!((found.tier, found.chosen.len()), (Tier::Primary, usable), "{at}");
    } else {
        assert!(found.chosen.is_empty() || found.tier != Tier::Primary, "{at}");
    }
    if found.tier == Tier::Panic {
        assert!(rules.panic_below.is_some() && !primaries_do, "{at}");
    }
    if found.chosen.is_empty() {
        assert!(facts.iter().all(|one| rules.panic_below.is_some() || !is_usable(one, now)), "{at}");
        assert!(found.opens_us.is_none_or(|opens| opens > now), "{at}");
    } else {
        assert!(!found.awaits && found.opens_us.is_none(), "{at}");
    }
}

#[test]
fn a_slow_start_never_falls_and_ends() {
    for seed in 0..200 {
        let mut seeded = Seeded::new(seed);
        let length = seeded.between(1, 1_000_000);
        let since = seeded.below(1_000_000);
        let rules = Rules { panic_below: None, slow_start_us: Some(length) };
        let facts = [Facts { weight: seeded.between(1, 65_535) as u32, ready_since_us: Some(since), ..ready() }];
        let whole = facts[0].weight * 1_000;
        let (mut now, mut before) = (since, 0);
        while now <= since + length {
            let found = eligible(&facts, &rules, now);
            let weight = found.chosen[0].1;
            let elapsed = now - since;
            let exact = u64::from(whole) * elapsed.max(length / 10) / length;
            assert!(weight >= before, "seed {seed}: {weight} after {before}");
            assert!(
                u64::from(weight) <= exact.max(u64::from(whole) / 10),
                "seed {seed}: {weight} at {elapsed} of {length}"
            );
            assert!(
                u64::from(weight) + u64::from(whole) / 19 + 1 >= exact,
                "seed {seed}: {weight} at {elapsed} of {length}"
            );
            before = weight;
            now += seeded.between(1, length.div_ceil(50));
        }
        let ended = eligible(&facts, &rules, since + length);
        assert_eq!((ended.chosen[0].1, ended.recheck_us), (whole, None), "seed {seed}");
    }
}
