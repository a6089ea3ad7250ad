//! Rewritten paths and locations.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::fixture::pattern;
use super::*;

fn prefix(strip: &str, add: &str) -> Rewrite {
    Rewrite::Prefix { strip: strip.into(), add: add.into() }
}

fn regex(text: &str, to: &str) -> Rewrite {
    Rewrite::Regex { pattern: pattern(text), to: to.into() }
}

fn check(path: &str, rewrite: Option<&Rewrite>, path_prefix: &str, expected: &str) {
    assert_eq!(upstream_path(path, rewrite, path_prefix), expected, "{path} {rewrite:?} {path_prefix}");
}

#[test]
fn prefixes_are_replaced_on_segments() {
    check("/api/x", None, "", "/api/x");
    check("/api/x", Some(&prefix("/api", "")), "", "/x");
    check("/api", Some(&prefix("/api", "")), "", "/");
    check("/api/", Some(&prefix("/api", "")), "", "/");
    check("/apix", Some(&prefix("/api", "")), "", "/apix");
    check("/other", Some(&prefix("/api", "/v2")), "", "/v2/other");
    check("/api/x", Some(&prefix("/api/", "/v2/")), "", "/v2/x");
    check("/api", Some(&prefix("/api", "/v2")), "", "/v2");
    check("/api/", Some(&prefix("/api", "/v2")), "", "/v2/");
    check("/api//x", Some(&prefix("/api", "/v2")), "", "/v2//x");
    check("/x", Some(&prefix("", "/v2")), "", "/v2/x");
    check("/x", Some(&prefix("/", "")), "", "/x");
    check("/x", Some(&prefix("", "/a/../b")), "", "/b/x");
}

#[test]
fn nothing_is_copied_without_need() {
    assert!(matches!(upstream_path("/a/b", None, ""), Cow::Borrowed("/a/b")));
    assert!(matches!(upstream_path("/a/b", Some(&prefix("/a", "")), ""), Cow::Borrowed("/b")));
    assert!(matches!(upstream_path("/a/b", Some(&regex("z", "")), ""), Cow::Borrowed("/a/b")));
}

#[test]
fn path_prefixes_stand_before() {
    check("/x", None, "/base", "/base/x");
    check("/", None, "/base", "/base/");
    check("/api/x", Some(&prefix("/api", "/v2")), "/base", "/base/v2/x");
    check("/x", Some(&Rewrite::Path("/whole".into())), "/base", "/base/whole");
}

#[test]
fn patterns_replace_their_first_match() {
    check("/users/7/x", Some(&regex("^/users/([0-9]+)", "/u/$1")), "", "/u/7/x");
    check("/users/7", Some(&regex("^/users/(?P<id>[0-9]+)", "/u/${id}a$$")), "", "/u/7a$");
    check("/aa", Some(&regex("a", "b")), "", "/ba");
    check("/a", Some(&regex("^/a", "x$2${none}")), "", "/x");
    check("/a", Some(&regex("a", "b c?é#\\\"%\r\n")), "", "/b%20c%3F%C3%A9%23%5C%22%25");
    check("/a/b", Some(&regex("b", "../..")), "", "/");
    check("/a%2500", Some(&regex("25", "")), "", "/a%2500");
    check("/a%2Fb", Some(&regex("^/a", "/c")), "", "/c%2Fb");
}

fn located(to: &[RedirectPart], keep_query: bool, path: &str, query: &str) -> String {
    location(&Redirect { to: to.to_vec(), status: 308, keep_query }, "https", "h.example.com:8443", path, query)
}

fn text(text: &str) -> RedirectPart {
    RedirectPart::Text(text.into())
}

#[test]
fn locations_are_put_together() {
    use RedirectPart::{Host, Path, Query, Scheme};
    let same = [Scheme, text("://"), Host, Path];
    assert_eq!(located(&same, true, "/a%20b", "x=1&y"), "https://h.example.com:8443/a%20b?x=1&y");
    assert_eq!(located(&same, false, "/a", "x"), "https://h.example.com:8443/a");
    assert_eq!(located(&[text("/new#top")], true, "/a", "x=1"), "/new?x=1#top");
    assert_eq!(located(&[text("/new?a=b")], true, "/a", "x=1"), "/new?a=b&x=1");
    assert_eq!(located(&[text("/s?q="), Query], false, "/a", "x=\"<#"), "/s?q=x=%22%3C%23");
    assert_eq!(located(&[Path], true, "//evil.example", ""), "/.//evil.example");
    assert_eq!(located(&[Path], true, "/\\evil", ""), "/%5Cevil");
    assert_eq!(located(&[text("https://é/\r\nx: y")], false, "/", ""), "https://%C3%A9/%0D%0Ax:%20y");
}

fn share(upstream: usize, weight: u32) -> Share {
    Share { upstream, weight, path_prefix: "".into() }
}

#[test]
fn shares_are_picked_by_weight() {
    let shares = [share(0, 9), share(1, 1)];
    let picks: Vec<usize> = (0..20).map(|random| pick_share(&shares, random).unwrap().upstream).collect();
    assert_eq!(picks.iter().filter(|upstream| **upstream == 1).count(), 2);
    assert!(pick_share(&[], 7).is_none());
    assert_eq!(pick_share(&[share(3, 1)], u64::MAX).unwrap().upstream, 3);
    assert!(pick_share(&[share(0, u32::MAX), share(1, u32::MAX)], u64::MAX).is_some());
}

fn any_rewrite() -> impl Strategy<Value = Rewrite> {
    let patterns = prop::sample::select(vec!["a", "/", "2", "(.*)b", "^/(?P<x>[^/]*)", "%", "$"]);
    prop_oneof![
        ("(/a|/\\.|/){0,3}", "(/a|/\\.\\.|/b/)?").prop_map(|(strip, add)| prefix(&strip, &add)),
        any::<String>().prop_map(|path| Rewrite::Path(Arc::from(path))),
        (patterns.clone(), any::<String>()).prop_map(|(text, to)| regex(text, &to)),
        (patterns, "(\\$1|\\$\\{x\\}|\\.|/|%|0|2|e){0,6}").prop_map(|(text, to)| regex(text, &to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_is_sent_is_always_a_normal_path(
        path in "/(a|b|/|\\.|%2e|%2F|%00|%25|20){0,8}",
        rewrite in any_rewrite(),
        path_prefix in "(/base)?",
    ) {
        if let Ok(normal) = normalize(&path, false) {
            let sent = upstream_path(&normal.path, Some(&rewrite), &path_prefix);
            let again = normalize(&sent, false);
            prop_assert_eq!(again.map(|normal| normal.path), Ok(Cow::Borrowed(&*sent)), "{:?}", rewrite);
            prop_assert!(sent.starts_with(&path_prefix));
        }
    }

    #[test]
    fn a_location_is_always_a_header_value(parts in prop::collection::vec(any::<String>(), 4), keep_query in any::<bool>()) {
        let to = [text(&parts[0]), RedirectPart::Host, RedirectPart::Path, RedirectPart::Query, RedirectPart::Scheme];
        let redirect = Redirect { to: to.to_vec(), status: 302, keep_query };
        let found = location(&redirect, &parts[1], &parts[2], &parts[3], &parts[0]);
        prop_assert!(found.bytes().all(|octet| octet.is_ascii_graphic()), "{found}");
    }
}
