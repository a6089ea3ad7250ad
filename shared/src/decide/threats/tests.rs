//! The rules over tables of attacks and of innocent requests, and over anything.

mod attacks;
mod innocents;

use std::time::Instant;

use proptest::prelude::*;

use super::patterns::{Patterns, encoded_dots, of};
use super::*;

/// One request: its target, and headers as `name: value` lines.
pub(super) fn judged(target: &str, lines: &[&str]) -> Judgement {
    let (raw_path, query) = target.split_once('?').unwrap_or((target, ""));
    let normal = crate::routing::normalize(raw_path, false);
    let path = normal.as_ref().map_or(raw_path, |normal| &*normal.path);
    let headers = lines.iter().map(|line| line.split_once(": ").unwrap_or((line, "")));
    let headers = headers.map(|(name, value)| (name, value.as_bytes()));
    judge(&Scores::default(), &Facts { raw_path, path, query }, headers)
}

/// As a browser encodes a value.
fn encoded(value: &str) -> String {
    let octet = |octet: u8| match octet {
        b' ' => "+".to_owned(),
        b'-' | b'.' | b'_' | b'*' => char::from(octet).to_string(),
        _ if octet.is_ascii_alphanumeric() => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    value.bytes().map(octet).collect()
}

fn told(judgement: &Judgement) -> Vec<(&'static str, u32)> {
    judgement.rules().map(|(rule, points)| (rule.name(), points)).collect()
}

#[test]
fn every_pattern_is_one() {
    for rule in Rule::ALL {
        assert!(of(rule).is_some_and(Patterns::is_whole), "{}", rule.name());
    }
    assert!(encoded_dots().is_whole());
}

#[test]
fn rules_have_names_and_codes() {
    for rule in Rule::ALL {
        assert_eq!(Rule::named(rule.name()), Some(rule));
        assert_eq!(rule.code(), format!("threat_{}", rule.name()));
        assert_eq!(Rule::ALL.get(rule as usize), Some(&rule));
    }
    assert_eq!(Rule::named("none"), None);
    // What the config takes.
    assert_eq!(Rule::ALL.map(Rule::name), *crate::config::policy::THREAT_RULES);
}

fn policy(rules: &[(&str, u32)]) -> Threats {
    Threats {
        mode: crate::config::policy::ThreatMode::Block,
        score: 5,
        rules: rules.iter().map(|(name, score)| ((*name).into(), *score)).collect(),
        shape: crate::config::policy::Shape::default(),
    }
}

#[track_caller]
fn check_scores(rules: &[(&str, u32)], query: &str, expected: u32, worst: Option<Rule>) {
    let facts = Facts { raw_path: "/", path: "/", query };
    let judgement = judge(&Scores::of(&policy(rules)), &facts, []);
    assert_eq!((judgement.score(), judgement.worst()), (expected, worst), "{:?}", told(&judgement));
}

#[test]
fn scores_add_up_and_can_be_changed() {
    let both = "a=1'+or+1=1--&b=../../x";
    check_scores(&[], both, 10, Some(Rule::Traversal));
    check_scores(&[("sql_injection", 7)], both, 12, Some(Rule::SqlInjection));
    check_scores(&[("sql_injection", 0)], both, 5, Some(Rule::Traversal));
    check_scores(&[("sql_injection", 0), ("traversal", 0)], both, 0, None);
    check_scores(&[("traversal", u32::MAX), ("sql_injection", 2)], both, u32::MAX, Some(Rule::Traversal));
    // A faint trace counts half.
    check_scores(&[], "next=../home", 3, Some(Rule::Traversal));
    check_scores(&[("traversal", 8)], "next=../home", 4, Some(Rule::Traversal));
    check_scores(&[("unheard_of", 8)], "", 0, None);
}

/// What is found, and whether there was more than is looked at.
#[track_caller]
fn check_bounds(target: &str, lines: &[&str], score: u32, is_partial: bool) {
    let judgement = judged(target, lines);
    assert_eq!((judgement.score(), judgement.is_partial()), (score, is_partial), "{} {}", target.len(), lines.len());
}

#[test]
fn no_more_than_the_bound_is_looked_at() {
    const BOUND: usize = 32 * 1024;
    let padded = |bytes: usize| format!("/?a={}&b=../../x", "x".repeat(bytes));
    // As much as a head may have where the config says nothing.
    check_bounds(&padded(8100), &[], 5, false);
    check_bounds(&padded(BOUND), &[], 0, true);
    // One path in two forms is one path.
    let path = format!("/{}/./y?b=../../x", "x".repeat(BOUND - 100));
    check_bounds(&path, &[], 5, false);
    // Neither a long query nor other headers hide what attacks come in.
    let long = format!("x-long: {}", "x".repeat(BOUND + 1));
    check_bounds(&padded(BOUND), &["user-agent: sqlmap/1.7"], 5, true);
    check_bounds("/", &[&*long, "user-agent: sqlmap/1.7"], 5, true);
    check_bounds("/", &[&*long, "cookie: a=../../x"], 5, true);
    check_bounds("/", &[&*long, "x-a: ${jndi:ldap://x/}"], 0, true);
    let many = vec!["x-a: b"; 128];
    check_bounds("/", &[&many[..127], &["x-b: ${jndi:ldap://x/}"]].concat(), 5, false);
    check_bounds("/", &[&many[..], &["x-b: ${jndi:ldap://x/}"]].concat(), 0, true);
    check_bounds("/", &[&many[..], &["cookie: a=../../x"]].concat(), 5, false);
    check_bounds("/", &[&many[..], &["authorization: x", "user-agent: y"]].concat(), 0, false);
}

#[test]
fn credentials_are_not_looked_at() {
    assert_eq!(judged("/", &["authorization: ' or 1=1--", "Proxy-Authorization: ${jndi:ldap://x/}"]).score(), 0);
    assert_eq!(judged("/", &["x-authorization: ${jndi:ldap://x/}"]).score(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_panics_and_nothing_takes_long(
        target in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"%2527'\"<>(){}$;|&./\\*+ =ou-".to_vec())], 0..1000),
        value in proptest::collection::vec(any::<u8>(), 0..1000),
    ) {
        let target = String::from_utf8_lossy(&target);
        let (raw_path, query) = target.split_once('?').unwrap_or(("/", &target));
        let facts = Facts { raw_path, path: raw_path, query };
        let began = Instant::now();
        judge(&Scores::default(), &facts, [("cookie", &value[..]), ("user-agent", &value[..])]);
        // Far more than it takes, far less than a pattern that backtracks would.
        prop_assert!(began.elapsed().as_millis() < 2000);
    }
}

/// Shown, not judged: `ROUNDS=200000 cargo test --profile release-quick -p shared --lib decide::threats::tests::cost -- --nocapture`.
#[test]
fn cost() {
    let rounds: u32 = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    let ordinary = [
        ("host", "shop.example.com"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://shop.example.com/catalogue/shoes"),
        ("cookie", "session=7f3a9c2be1d04f5a8b6c; theme=dark; _ga=GA1.2.1203847561.1700000000"),
        ("sec-fetch-mode", "navigate"),
        ("x-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    let query = "page=2&limit=50&sort=created_at&q=hello+world&lang=en-GB&x=1";
    for (name, headers, query) in
        [("ordinary", &ordinary[..], query), ("no headers", &[][..], query), ("no query", &ordinary[..], "")]
    {
        let facts = Facts { raw_path: "/api/v1/projects/42/items", path: "/api/v1/projects/42/items", query };
        let scores = Scores::default();
        let run = || {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            std::hint::black_box(judge(&scores, std::hint::black_box(&facts), headers)).score()
        };
        assert_eq!(run(), 0);
        let began = Instant::now();
        let sum: u32 = (0..rounds).map(|_| run()).sum();
        eprintln!("{name}: {} ns a request ({sum})", began.elapsed().as_nanos() / u128::from(rounds));
    }
    // Made to keep it busy: a quarter of what is looked at, and all of it.
    Scores::default().make_ready();
    for piece in
        ["' or (select ", "1 union\n-- ", "<a b='c' ", ";cat -x ", "{{a|b", "${a:", "a/../b", "#\n--\u{a0}", "%2527"]
    {
        for bytes in [8 * 1024, 32 * 1024] {
            let query = piece.repeat(bytes / piece.len());
            let facts = Facts { raw_path: "/", path: "/", query: &query };
            let began = Instant::now();
            let score = judge(&Scores::default(), &facts, []).score();
            eprintln!("{piece:?}: {} us for {} bytes ({score})", began.elapsed().as_micros(), query.len());
        }
    }
}
