//! Hostile and huge texts: bounded, placed, and never a panic.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{bad, good, load_text};
use crate::config::{Input, References, load};

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = bad(text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains(expected), "{found:?}");
}

#[test]
fn bombs() {
    let mut bomb = String::from("a: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let alias = format!("*a{},", level - 1).repeat(10);
        let _ = writeln!(bomb, "b{level}: &a{level} [{alias}]");
    }
    let start = Instant::now();
    check(&bomb, "too_large");
    check(&"[".repeat(100_000), "too_large");
    check(&"- ".repeat(100_000), "too_large");
    check(&format!("{}x", "{a: ".repeat(80)), "too_large");
    check(&" ".repeat((64 << 20) + 1), "too_large");
    check("a: &a [*a]", "syntax");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn anchors_may_be_used() {
    let checked = good("routes:\n- {path: /a, target: &t 'http://a'}\n- {path: /b, target: *t}\n");
    assert_eq!(checked.config.upstreams.len(), 1);
    check("log: {<<: {level: info}}\n", "unknown_key log.<<");
}

#[test]
fn documents_tags_and_keys() {
    check("routes: []\n---\nroutes: []\n", "2:1 syntax");
    check("log: {level: !word info}", "syntax");
    check("{a", "syntax");
    assert!(bad("log: {? [a] : b}")[0].contains("wrong_type"));
    check("- a", "wrong_type");
    check("log: &a *a", "syntax");
    for empty in ["", "# only a comment\n", "---\n", "null", "~", "{}"] {
        good(empty);
    }
}

#[test]
fn json_is_read_too() {
    let checked = good(
        "{\n\t\"routes\": [\n\t\t{\"path\": \"/\\u0061\\/b\", \"respond\": {\"status\": 201, \"body\": \"\\ud83d\\ude00\"}}\n\t]\n}\n",
    );
    assert_eq!(&*checked.config.routes[0].name, "/a/b");
    check("{\"routes\": [\n\t{\"path\": 1, \"target\": \"http://a\"}]}", "2:11 invalid_value routes[0].path");
}

#[test]
fn words_are_never_surprises() {
    good(
        "routes: [{hosts: [no], respond: {body: on}}, {path: /y, query: {y: yes, n: 2, t: true}, respond: {}}]\ncors: off\nsecurity_headers: 'on'\n",
    );
    check("server: {merge_slashes: yes}", "wrong_type server.merge_slashes");
    check("server: {merge_slashes: 'true'}", "wrong_type server.merge_slashes");
}

#[test]
fn problems_are_bounded_in_number() {
    let many = "a: 1\n".repeat(10_000);
    assert!(bad(&many).len() == 101);
    let routes = "- {path: 1}\n".repeat(10_000);
    assert_eq!(bad(&format!("routes:\n{routes}")).len(), 101);
}

#[test]
fn a_hundred_thousand_routes_load() {
    let mut text = String::from("routes:\n");
    for index in 0..90_000 {
        let _ = write!(
            text,
            "  - path: /service/{index}/\n    hosts: [h{}.example.com]\n    target: http://10.0.{}.{}:80\n",
            index % 1000,
            index % 256,
            index % 250
        );
    }
    // Many that share path and host are the hard case for looking for routes in the way.
    for index in 0..10_000 {
        let _ = write!(text, "  - path: /same\n    query: {{id: '{index}'}}\n    respond: {{}}\n");
    }
    let start = Instant::now();
    let checked = good(&text);
    let took = start.elapsed();
    assert_eq!(checked.config.routes.len(), 100_000);
    assert_eq!(checked.warnings.len(), 0);
    // Unoptimised, and beside other tests, it takes its time; a quadratic step would take hours.
    let bound = Duration::from_secs(if cfg!(debug_assertions) { 180 } else { 10 });
    assert!(took < bound, "{took:?}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|[\n :{}\\[\\],'\"&*!#-]){0,200}") {
        let _ = load_text(&text).map_err(|problems| problems.render(true));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load_text(&String::from_utf8_lossy(&bytes)).map_err(|problems| problems.render(false));
    }

    #[test]
    fn no_override_makes_it_panic(set in "(routes|server|\\[|\\]|\\.|\"|=|[0-9a-z{}: ]){0,12}", name in "(SERVER|ROUTES|__|[0-9A-Z_]){0,8}") {
        let mut input = Input::text("config.yaml", "routes: [{path: /a, respond: {}}]\n");
        input.set = vec![set.clone(), format!("{set}=1")];
        input.environment = vec![(format!("PROXYD__{name}"), set)];
        let _ = load(&input, &References::Refuse).map_err(|problems| problems.render(false));
    }

    /// The example with pieces cut out and put elsewhere: nearly right texts reach deeper than noise does.
    #[test]
    fn no_broken_example_makes_it_panic(from in 0_usize..6000, length in 0_usize..40, to in 0_usize..6000, insert in "[\\[\\]{}:,'\" \n0-9a-z$*&-]{0,6}") {
        let whole: Vec<char> = include_str!("../../../../config.yaml").chars().collect();
        let cut = |at: usize| at.min(whole.len());
        let mut text: String = whole[..cut(from)].iter().collect();
        text.extend(&whole[cut(from + length)..]);
        let at = text.char_indices().nth(to).map_or(text.len(), |(at, _)| at);
        text.insert_str(at, &insert);
        match load_text(&text) {
            Ok(checked) => drop(checked.config),
            Err(problems) => {
                prop_assert!(!problems.0.is_empty(), "refused without a reason:\n{text}");
                let _ = problems.render(true);
            }
        }
    }
}
