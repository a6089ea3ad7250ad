//! What a limiter keeps, and for whom.

use std::net::IpAddr;
use std::time::Duration;

use shared::config::policy::{Algorithm, ExemptUser, Mode, RateLimit, Window};

use super::*;
use crate::exchange::{KeyMark, Principal};
use crate::filter::rate_limit::{Limiters, Stage};

fn rule(requests: u32, max_keys: usize) -> Rule {
    Rule {
        name: "default".into(),
        limits: vec![Window { requests, per: Duration::from_mins(1) }],
        by: vec![Key::Ip],
        algorithm: Algorithm::SlidingWindow,
        mode: Mode::Enforce,
        max_keys,
        ipv6_prefix: 64,
        ..Rule::default()
    }
}

fn mask() -> Mask {
    Mask::new(&[], &[])
}

fn limiter(rule: &Rule) -> Arc<Limiter> {
    Arc::new(Limiter::new(rule, &Scope::TopLevel, &mask(), None, None, 0).unwrap())
}

fn reloaded(before: &Arc<Limiter>, rule: Rule) -> Arc<Limiter> {
    let mask = mask();
    let mut limiters = Limiters::new(std::slice::from_ref(before), &mask, None, 0);
    let policy = RateLimit { rules: vec![rule] };
    for stage in [Stage::BeforeAuth, Stage::AfterAuth] {
        limiters.compile(&policy, &Scope::TopLevel, stage);
    }
    Arc::clone(&limiters.finish()[0])
}

fn address(text: &str) -> Who<'static> {
    Who::Address(text.parse().unwrap(), 64)
}

fn take(limiter: &Limiter, who: &Who<'_>, now_us: u64) -> Option<Verdict> {
    let key = limiter.key(who);
    let quota = who.own_limit().and_then(|limit| limiter.own_quota(limit));
    limiter.take(key, quota.as_ref(), now_us, || Some(who.label(key.own)))
}

fn passes(limiter: &Limiter, who: &Who<'_>, now_us: u64) -> bool {
    take(limiter, who, now_us).unwrap().allowed
}

#[test]
fn counts_survive_a_reload_that_keeps_their_meaning() {
    let first = limiter(&rule(2, 1000));
    let who = address("10.0.0.1");
    assert!(passes(&first, &who, 1) && passes(&first, &who, 1) && !passes(&first, &who, 1));
    let shadow = Rule { mode: Mode::Shadow, max_keys: 500, ..rule(2, 0) };
    assert!(!passes(&reloaded(&first, shadow), &who, 2), "mode and room change nothing of the counts");
    assert!(passes(&reloaded(&first, rule(3, 1000)), &who, 2), "another limit counts anew");
    let fixed = Rule { algorithm: Algorithm::FixedWindow, ..rule(2, 1000) };
    assert!(passes(&reloaded(&first, fixed), &who, 2), "another algorithm counts anew");
}

#[test]
fn keys_are_bounded_and_reset() {
    let limiter = limiter(&rule(1, 64));
    for n in 0..10_000u32 {
        take(&limiter, &Who::Address(IpAddr::V4(n.into()), 64), 1);
    }
    assert_eq!(limiter.keys(), 64);
    assert!(limiter.evicted() > 9_000);
    let last = Who::Address(IpAddr::V4(9_999.into()), 64);
    let key = limiter.key(&last);
    assert_eq!(limiter.peek(&key, 1).map(|verdict| verdict.allowed), Some(false));
    assert!(limiter.reset(&key, 1));
    assert!(passes(&limiter, &last, 1));
}

#[test]
fn ipv6_clients_count_by_prefix() {
    let limiter = limiter(&rule(1, 64));
    let key = |text: &str| limiter.key(&address(text));
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
    assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
}

#[test]
fn places_at_the_same_time_are_given_back_over_reloads() {
    let at_once = |at_most, max_keys| Rule { algorithm: Algorithm::Concurrency { at_most }, ..rule(1, max_keys) };
    let first = limiter(&at_once(2, 64));
    let who = address("10.0.0.1");
    assert!(passes(&first, &who, 1) && passes(&first, &who, 1) && !passes(&first, &who, 1));
    let (one, two) = (Held::new(&first, first.key(&who)), Held::new(&first, first.key(&who)));
    let second = reloaded(&first, at_once(3, 64));
    drop(first);
    assert!(passes(&second, &who, 1) && !passes(&second, &who, 1), "what runs is known after a reload");
    drop((one, two));
    assert_eq!(second.peek(&second.key(&who), 1).map(|verdict| verdict.remaining), Some(2));
    let other = reloaded(&second, rule(5, 64));
    assert!(passes(&other, &who, 1), "another algorithm counts anew");
}

#[test]
fn who_runs_makes_no_room() {
    let limiter = limiter(&Rule { algorithm: Algorithm::Concurrency { at_most: 1 }, ..rule(1, 1) });
    let all: Vec<Who<'_>> = (0..2000u32).map(|n| Who::Address(IpAddr::V4(n.into()), 64)).collect();
    let taken: Vec<bool> = all.iter().map(|who| take(&limiter, who, 1).is_some()).collect();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 64, "one in each shard");
    assert_eq!(limiter.evicted(), 2000 - 64, "the others pass, and that is told");
    for (who, _) in all.iter().zip(&taken).filter(|(_, taken)| **taken) {
        assert!(!passes(&limiter, who, 1));
        drop(Held::new(&limiter, limiter.key(who)));
        assert!(passes(&limiter, who, 1));
    }
}

#[test]
fn what_runs_outlives_less_room_another_prefix_and_a_reset() {
    let at_once = |max_keys| Rule { algorithm: Algorithm::Concurrency { at_most: 1 }, ..rule(1, max_keys) };
    let first = limiter(&at_once(6400));
    let all: Vec<Who<'_>> = (0..2000u32).map(|n| Who::Address(IpAddr::V4(n.into()), 64)).collect();
    assert!(all.iter().all(|who| passes(&first, who, 1)));
    assert!(!first.reset(&first.key(&all[0]), 1) && first.runs(&first.key(&all[0])));
    let held: Vec<Held> = all.iter().map(|who| Held::new(&first, first.key(who))).collect();
    let second = reloaded(&first, Rule { ipv6_prefix: 48, ..at_once(1) });
    assert_eq!(second.keys(), 2000, "they run");
    assert!(!all.iter().any(|who| passes(&second, who, 1)), "each has its one place");
    drop(held);
    assert_eq!(second.keys(), 64, "one in each shard");
    assert!(!second.runs(&second.key(&all[0])));
    assert!(all.iter().any(|who| take(&second, who, 1).is_some()));
}

fn principal(limit: Option<(u32, u64)>) -> Principal {
    Principal {
        user: "ci-bot".into(),
        provider: "api_key".into(),
        key: Some(KeyMark { id: "00ff".into(), prefix: "pk_abcd1234".into(), name: "ci".into(), is_user: true, limit }),
        ..Principal::default()
    }
}

#[test]
fn a_key_with_a_limit_of_its_own_is_counted_by_that() {
    let limiter = limiter(&Rule { by: vec![Key::User], ..rule(1, 64) });
    let (usual, special) = (principal(None), principal(Some((3, 3600))));
    assert!(passes(&limiter, &Who::User(&usual), 1) && !passes(&limiter, &Who::User(&usual), 1));
    let verdict = take(&limiter, &Who::User(&special), 1).unwrap();
    assert_eq!((verdict.allowed, verdict.limit, verdict.remaining, verdict.per_s), (true, 3, 2, 3600));
    let key = limiter.key(&Who::User(&special));
    assert_eq!(limiter.peek(&key, 1).unwrap().limit, 3, "operators see it too");
    assert!(!passes(&limiter, &Who::User(&usual), 1) || limiter.peek(&key, 1).unwrap().limit == 1);
    let top = limiter.top(10, 1);
    assert_eq!((top.len(), &*top[0].label), (1, "key pk_abcd1234 (ci-bot)"));
}

#[test]
fn the_busiest_keys_are_told() {
    let limiter = limiter(&rule(100, 10_000));
    for n in 0..300u32 {
        for _ in 0..=n % 50 {
            take(&limiter, &Who::Address(IpAddr::V4((0x0a00_0000 + n).into()), 64), 1);
        }
    }
    let top = limiter.top(3, 1);
    let told: Vec<_> = top.iter().map(|line| (&*line.label, line.used, line.verdict.remaining)).collect();
    assert_eq!(told, [("10.0.0.149", 50, 50), ("10.0.0.199", 50, 50), ("10.0.0.249", 50, 50)]);
    assert_eq!(limiter.top(usize::MAX, 1).len(), 300);
    assert!(limiter.top(0, 1).is_empty());
    assert!(limiter.top(3, 120_000_000).is_empty(), "nothing of it counts any more");
}

#[test]
fn keys_are_found_by_names_ids_and_prefixes() {
    let limiter = limiter(&Rule { by: vec![Key::ApiKey, Key::User, Key::Ip], ..rule(1, 64) });
    let person = Principal { user: "alice".into(), key: None, ..principal(None) };
    let mark = principal(None).key.unwrap();
    take(&limiter, &Who::ApiKey(&mark, "ci-bot"), 1);
    take(&limiter, &Who::User(&person), 1);
    take(&limiter, &address("10.0.0.1"), 1);
    let found = |text: &str| {
        limiter
            .keys_of(text, &[Arc::clone(&person.provider)])
            .iter()
            .filter(|named| limiter.peek(&named.key, 1).is_some())
            .count()
    };
    for (text, expected) in [
        ("00ff", 1),
        ("pk_abcd1234", 1),
        ("ci-bot", 1),
        ("alice", 1),
        ("10.0.0.1", 1),
        ("bob", 0),
        ("pk_abcd123", 0),
        ("", 0),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn rules_count_when_what_they_count_by_is_known() {
    let stage = |by: Vec<Key>, exempt_users: Vec<&str>| {
        let named = |name: &str| ExemptUser { name: name.into(), provider: None };
        let exempt_users = exempt_users.into_iter().map(named).collect();
        let policy = RateLimit { rules: vec![Rule { by, exempt_users, ..rule(1, 64) }] };
        let mask = mask();
        let mut limiters = Limiters::new(&[], &mask, None, 0);
        [Stage::BeforeAuth, Stage::AfterAuth].map(|stage| limiters.compile(&policy, &Scope::TopLevel, stage).is_some())
    };
    assert_eq!(stage(vec![Key::Ip], vec![]), [true, false]);
    assert_eq!(stage(vec![Key::Header("x-a".into()), Key::Certificate], vec![]), [true, false]);
    assert_eq!(stage(vec![Key::User, Key::Ip], vec![]), [false, true]);
    assert_eq!(stage(vec![Key::Ip, Key::ApiKey], vec![]), [false, true]);
    assert_eq!(stage(vec![Key::Ip], vec!["ci-bot"]), [false, true], "who is exempt is known then");
}

#[test]
fn labels_go_when_they_may_not_be_shown_any_more() {
    let rule = Rule { by: vec![Key::Header("x-tenant".into())], ..rule(5, 64) };
    let shown = limiter(&rule);
    let who = Who::Header { name: "x-tenant", value: b"acme", secret: false };
    take(&shown, &who, 1);
    assert_eq!(shown.top(1, 1)[0].label, "header x-tenant acme");
    let hiding = Mask::new(&["x-tenant".into()], &[]);
    let hidden = Limiter::new(&rule, &Scope::TopLevel, &hiding, None, Some(&shown), 0).unwrap();
    assert_eq!((&*hidden.top(1, 1)[0].label, hidden.top(1, 1)[0].used), ("[not shown]", 1));
    take(&hidden, &Who::Header { name: "x-tenant", value: b"acme", secret: true }, 1);
    let label = &*hidden.top(1, 1)[0].label;
    assert!(
        label.starts_with("header x-tenant [present, masked, 4 bytes]"),
        "made anew by whoever comes next: {label}"
    );
}

#[test]
fn what_the_list_calls_a_key_finds_it() {
    let by = vec![Key::Certificate, Key::Header("x-tenant".into()), Key::Header("x-secret".into()), Key::User, Key::Ip];
    let limiter = limiter(&Rule { by, ..rule(1, 640) });
    let person = Principal { user: "alice".into(), key: None, ..principal(None) };
    let mark = principal(None);
    let long = "a".repeat(300);
    let header = |value, secret| Who::Header { name: "x-tenant", value, secret };
    let all = [
        address("10.0.0.1"),
        address("2001:db8::1"),
        Who::Certificate("billing"),
        header(b"acme", false),
        header(b"a\xff", false),
        header(long.as_bytes(), false),
        Who::Header { name: "x-secret", value: b"s3cret", secret: true },
        Who::User(&person),
        Who::User(&mark),
    ];
    for who in &all {
        take(&limiter, who, 1);
    }
    let providers = [Arc::clone(&person.provider)];
    let found = |text: &str| -> Vec<KeyHash> {
        let keys = limiter.keys_of(text, &providers).into_iter();
        keys.map(|named| named.key).filter(|key| limiter.peek(key, 1).is_some()).collect()
    };
    for who in &all {
        let label = who.label(limiter.key(who).own);
        assert_eq!(found(&label), [limiter.key(who)], "{label}");
    }
    assert_eq!(found("2001:db8::/63"), []);
    // Also one that only others have counted, as far as its words say who it is.
    limiter.counts.forget_labels();
    for who in [&all[1], &all[2], &all[3], &all[7]] {
        assert_eq!(found(&who.label(0)), [limiter.key(who)], "{who:?}");
    }
}
