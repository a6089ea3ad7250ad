//! Who is banned for what, for how long, and what a look costs.

use std::time::Duration;

use super::*;

fn config() -> config::Bans {
    config::Bans {
        refusals: 3,
        within: Duration::from_mins(1),
        lasts: Duration::from_mins(10),
        longest: Duration::from_mins(30),
        on: vec!["key_unknown".into(), "route_not_found".into()],
        exempt: vec!["10.0.0.0/8".parse().unwrap()],
        ipv6_prefix: 64,
    }
}

fn terms(config: &config::Bans) -> Terms<'_> {
    Terms { bans: Some(config), trusted_proxies: &[] }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn row(network: &str, until_s: i64) -> BanRow {
    BanRow { network: network.into(), until_s, since_s: 0, reason: "x".into(), times: 1, by: "test".into() }
}

/// So many refusals at once.
fn refuse(bans: &BanList, address: &str, times: u32, now_s: i64) -> Option<NewBan> {
    (0..times).filter_map(|_| bans.note(ip(address), "key_unknown", &terms(&config()), now_s)).last()
}

#[test]
fn who_earns_a_ban() {
    let check = |addresses: &[&str], code: &str, expected: Option<&str>| {
        let bans = BanList::default();
        let ban = addresses.iter().filter_map(|address| bans.note(ip(address), code, &terms(&config()), 0)).last();
        assert_eq!(ban.as_ref().map(|ban| ban.row.network.as_str()), expected, "{addresses:?}");
        assert_eq!(bans.active(), usize::from(expected.is_some()));
        let is_banned = bans.check(ip(addresses[0]), 0).is_some();
        assert_eq!(is_banned, expected.is_some(), "{addresses:?}");
    };
    check(&["192.0.2.1"; 2], "key_unknown", None);
    check(&["192.0.2.1"; 9], "key_expired", None);
    check(&["10.1.2.3"; 9], "key_unknown", None);
    check(&["::ffff:10.1.2.3"; 9], "key_unknown", None);
    check(&["192.0.2.1", "192.0.2.2", "192.0.2.3"], "key_unknown", None);
    check(&["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], "key_unknown", Some("192.0.2.1/32"));
    check(&["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], "key_unknown", Some("2001:db8::/64"));
    check(&["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], "key_unknown", None);
}

#[test]
fn each_ban_is_twice_as_long_up_to_the_longest() {
    let bans = BanList::default();
    let mut now_s = 0;
    for (times, lasts_s) in [(1, 600), (2, 1200), (3, 1800), (4, 1800)] {
        let ban = refuse(&bans, "192.0.2.1", 3, now_s).unwrap().row;
        assert_eq!((ban.times, ban.until_s - now_s, ban.since_s), (times, lasts_s, now_s));
        // Refusals of who is banned count nothing.
        assert_eq!(refuse(&bans, "192.0.2.1", 9, now_s), None);
        assert_eq!(bans.check(ip("192.0.2.1"), ban.until_s - 1), Some(ban.until_s));
        assert_eq!(bans.check(ip("192.0.2.1"), ban.until_s), None);
        now_s = ban.until_s;
        bans.sweep(now_s);
        assert_eq!((bans.active(), bans.known.load(Ordering::Relaxed)), (0, 1));
    }
    // A day later it is forgotten.
    bans.sweep(now_s + 86_400);
    assert_eq!(bans.known.load(Ordering::Relaxed), 0);
    assert_eq!(refuse(&bans, "192.0.2.1", 3, now_s + 86_400).unwrap().row.times, 1);
}

#[test]
fn what_is_over_is_forgotten_where_there_is_no_room() {
    let bans = BanList { most: 3, ..BanList::default() };
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert!(refuse(&bans, address, 3, 0).is_some(), "{address}");
    }
    assert_eq!((refuse(&bans, "192.0.2.4", 3, 1), bans.missed(), bans.active()), (None, 1, 3));
    bans.sweep(700);
    assert_eq!((bans.active(), bans.known.load(Ordering::Relaxed)), (0, 3));
    // One that is known needs no room, and is the longer for it.
    assert_eq!(refuse(&bans, "192.0.2.1", 3, 700).unwrap().row.times, 2);
    assert!(refuse(&bans, "192.0.2.4", 3, 700).is_some());
    assert!(bans.check(ip("192.0.2.1"), 701).is_some() && bans.check(ip("192.0.2.4"), 701).is_some());
    assert_eq!((bans.missed(), bans.active()), (1, 2));
    assert!(bans.known.load(Ordering::Relaxed) <= 3);
}

#[test]
fn what_operators_ban_and_lift() {
    let bans = BanList::default();
    assert!(!bans.add(row("nonsense", 100)));
    for network in ["192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.0/120"] {
        assert!(bans.add(row(network, 100)), "{network}");
    }
    let check = |address: &str, expected: Option<i64>| {
        assert_eq!(bans.check(ip(address), 50), expected, "{address}");
    };
    check("192.0.2.200", Some(100));
    check("::ffff:192.0.2.200", Some(100));
    check("192.0.3.1", None);
    check("2001:db8:ffff::1", Some(100));
    check("2001:db9::1", None);
    check("198.51.100.9", Some(100));
    bans.add(row("192.0.2.0/24", 200));
    assert_eq!((bans.active(), bans.list(50).len(), bans.list(150).len()), (4, 4, 1));
    check("192.0.2.7", Some(200));
    assert!(bans.lift(&parse_network("192.0.2.0/24").unwrap()) && !bans.lift(&parse_network("192.0.2.0/24").unwrap()));
    check("192.0.2.200", None);
    check("192.0.2.7", Some(100));
    for rest in ["192.0.2.7/32", "2001:db8::/32", "198.51.100.0/24"] {
        assert!(bans.lift(&parse_network(rest).unwrap()), "{rest}");
    }
    assert!(bans.active() == 0 && bans.sizes.load().v4.is_empty() && bans.sizes.load().v6.is_empty());
}

#[test]
fn what_is_not_on_disk_yet_outlives_a_reload() {
    let bans = BanList::of(vec![row("192.0.2.1/32", 100), row("192.0.2.2/32", 10)], 50);
    assert_eq!((bans.active(), bans.known.load(Ordering::Relaxed)), (1, 2));
    let earned = refuse(&bans, "192.0.2.3", 3, 50).unwrap();
    bans.reload(vec![], 50);
    assert_eq!(bans.list(50), std::slice::from_ref(&earned.row));
    bans.kept(&earned.row);
    bans.reload(vec![], 50);
    assert!(bans.list(50).is_empty() && bans.known.load(Ordering::Relaxed) == 0);
}

#[test]
fn no_more_is_taken_up_than_may_be_known() {
    let check = |most: usize, expected: &[&str]| {
        let bans = BanList { most, ..BanList::default() };
        let rows = [("192.0.2.1", 30), ("192.0.2.2", 90), ("192.0.2.3", 20), ("192.0.2.4", 80), ("192.0.2.5", 40)];
        bans.reload(rows.map(|(network, until_s)| row(network, until_s)).to_vec(), 50);
        let known = |address: &&str| bans.read(&parse_network(address).unwrap(), |_| ()).is_some();
        let known: Vec<_> =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].into_iter().filter(known).collect();
        assert_eq!(known, expected, "{most}");
        assert_eq!(bans.active(), 2, "{most}");
    };
    check(1, &["192.0.2.2", "192.0.2.4"]);
    check(3, &["192.0.2.2", "192.0.2.4", "192.0.2.5"]);
    check(4, &["192.0.2.1", "192.0.2.2", "192.0.2.4", "192.0.2.5"]);
    check(5, &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]);
}

#[test]
fn what_is_only_remembered_on_disk_ends_no_newer_ban() {
    let remembered = row("192.0.2.1/32", 10);
    let bans = BanList::of(vec![remembered.clone()], 50);
    let earned = refuse(&bans, "192.0.2.1", 3, 50).unwrap();
    assert_eq!(earned.row.times, 2);
    bans.reload(vec![remembered.clone()], 51);
    assert_eq!((bans.check(ip("192.0.2.1"), 51), bans.active()), (Some(earned.row.until_s), 1));
    assert!(bans.has(&earned.row), "it is still to be kept");
    // What an operator did elsewhere since is newer.
    let lasting = BanRow { since_s: 60, ..row("192.0.2.1/32", 9000) };
    bans.reload(vec![lasting], 61);
    assert_eq!(bans.check(ip("192.0.2.1"), 61), Some(9000));
    let kept = refuse(&bans, "192.0.2.2", 3, 61).unwrap();
    bans.kept(&kept.row);
    bans.reload(vec![row("192.0.2.2/32", 10)], 62);
    assert_eq!((bans.check(ip("192.0.2.2"), 62), bans.active()), (None, 0));
}

#[test]
fn what_the_config_says_now_counts() {
    let bans = BanList::default();
    refuse(&bans, "192.0.2.1", 3, 0).unwrap();
    bans.add(row("198.51.100.0/24", 100));
    let check = |address: &str, config: Option<&config::Bans>, expected: Option<i64>| {
        let terms = Terms { bans: config, trusted_proxies: &[] };
        assert_eq!(bans.check_now(ip(address), 50, &terms), expected, "{address} {config:?}");
    };
    let exempt = config::Bans { exempt: vec!["192.0.2.0/30".parse().unwrap()], ..config() };
    let all = config::Bans { exempt: vec!["0.0.0.0/0".parse().unwrap()], ..config() };
    check("192.0.2.1", Some(&exempt), None);
    check("::ffff:192.0.2.1", Some(&exempt), None);
    check("198.51.100.1", Some(&exempt), Some(100));
    check("198.51.100.1", Some(&all), None);
    // Without the section nothing is earned; what an operator said stands.
    check("192.0.2.1", None, None);
    check("198.51.100.1", None, Some(100));
    check("192.0.2.1", Some(&config()), Some(600));
    check("203.0.113.1", Some(&config()), None);
}

#[test]
fn trusted_proxies_neither_earn_bans_nor_keep_them() {
    let bans = BanList::default();
    let (config, trusted) = (config(), ["192.0.2.0/30".parse().unwrap(), "2001:db8::1/128".parse().unwrap()]);
    let check = |address: &str, is_refused: bool| {
        let terms = Terms { bans: Some(&config), trusted_proxies: &trusted };
        let earned = (0..3).filter_map(|_| bans.note(ip(address), "key_unknown", &terms, 0)).last();
        assert_eq!(earned.is_some(), is_refused, "{address}");
        bans.add(row(address, 100));
        for terms in [terms, Terms { bans: None, ..terms }] {
            assert_eq!(bans.check_now(ip(address), 50, &terms).is_some(), is_refused, "{address}");
        }
    };
    check("192.0.2.1", false);
    check("::ffff:192.0.2.2", false);
    check("2001:db8::1", false);
    check("192.0.2.5", true);
}

#[test]
fn which_bans_keep_anybody_out() {
    let exempt = config::Bans { exempt: vec!["192.0.2.0/24".parse().unwrap()], ..config() };
    let trusted = ["198.51.100.1/32".parse().unwrap()];
    let check = |config: Option<&config::Bans>, network: &str, by: &str, expected: bool| {
        let terms = Terms { bans: config, trusted_proxies: &trusted };
        let row = BanRow { by: by.into(), ..row(network, 100) };
        assert_eq!(terms.holds(&row), expected, "{network} by {by}");
    };
    check(Some(&exempt), "203.0.113.1/32", OURSELVES, true);
    check(Some(&exempt), "192.0.2.7/32", OURSELVES, false);
    check(Some(&exempt), "192.0.2.7/32", "operator", false);
    // Some in it are not exempt.
    check(Some(&exempt), "192.0.0.0/16", "operator", true);
    check(Some(&exempt), "198.51.100.1/32", OURSELVES, false);
    check(None, "203.0.113.1/32", OURSELVES, false);
    check(None, "203.0.113.1/32", "operator", true);
    check(None, "198.51.100.1/32", "operator", false);
}

/// Shown, not judged: `ROUNDS=1000000 cargo test --release -p proxyd --lib identity::bans -- --nocapture`.
#[test]
fn what_a_check_costs() {
    let bans = BanList::default();
    let address = ip("192.0.2.1");
    for networks in [0, 1, 10_000] {
        for number in 0..networks {
            bans.add(row(&format!("10.0.{}.{}", number / 256, number % 256), 100));
        }
        let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
        let started = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(bans.check(std::hint::black_box(address), 0));
        }
        println!("BanList::check beside {networks}: {} ns", started.elapsed().as_nanos() / rounds);
    }
}
