//! What clients get in place of a failure: a fixed answer, or another upstream's; and only then.

use serde_json::json;
use tests::{Proxyd, Request, Upstream, Wire};

use super::retries::{gone, resets};
use super::{Door, hold, holding, one_worker, row, upstream};

/// `users` of this endpoint with these keys, `spare` of that one, and this fallback.
fn yaml(endpoint: &str, more: &str, spare: &str, fallback: &str) -> String {
    format!(
        "upstreams:\n{}{}routes: [{{name: all, path: /, upstream: users, fallback: {{{fallback}}}}}, {{name: spare, path: /spare, upstream: spare}}]\n",
        upstream("users", &[endpoint.to_owned()], more),
        upstream("spare", &[spare.to_owned()], ""),
    )
}

fn answering(status: u16) -> Upstream {
    Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            conn.answer(status, &[("X-Own", "1")], b"own");
        }
    })
}

#[test]
fn failures_of_the_chosen_kinds_are_replaced() {
    let reset = resets();
    let silent = Upstream::scripted(|conn| drop(conn.wire.rest()));
    let garbage = Upstream::once("SSH-2.0\r\n\r\n");
    let statuses: Vec<(u16, Upstream)> =
        [404, 500, 502, 503, 504].into_iter().map(|status| (status, answering(status))).collect();
    let quick = "timeouts: {response_headers: 50ms}";
    let mut cases = vec![
        ("connect", gone(), ""),
        ("reset", reset.url(), ""),
        ("timeout", silent.url(), quick),
        ("protocol", garbage.url(), ""),
        ("unavailable", gone(), "panic_below: off, breaker: {min_requests: 1, open_for: 1h}"),
    ];
    let words: Vec<String> = statuses.iter().map(|(status, _)| status.to_string()).collect();
    cases.extend(statuses.iter().zip(&words).map(|((_, upstream), word)| (word.as_str(), upstream.url(), "")));
    let respond = "respond: {status: 418, headers: {x-stand-in: 'yes'}, body: short and stout}";
    let (mut upstreams, mut routes, mut expected) = (String::new(), String::new(), Vec::new());
    for (word, url, more) in cases {
        // Listed, it is replaced; the default lists all but most statuses; another list does not have it.
        let is_default = !matches!(word, "404" | "500");
        let listed = (word != "404").then(|| (format!("on: {word}, "), true));
        let other = if word == "502" { "503" } else { "502" };
        upstreams.push_str(&upstream(&format!("u-{word}"), &[url], more));
        for (list, replaced) in
            listed.into_iter().chain([(String::new(), is_default), (format!("on: {other}, "), false)])
        {
            let path = format!("/{}", expected.len());
            routes.push_str(&format!("  - {{path: {path}, upstream: u-{word}, fallback: {{{list}{respond}}}}}\n"));
            expected.push((path, format!("{word} with {list:?}"), replaced));
        }
    }
    let proxyd =
        Proxyd::start(&format!("upstreams:\n{upstreams}routes:\n{routes}  - {{path: /, upstream: u-unavailable}}\n"));
    // Opens the breaker.
    proxyd.get("/");
    for (path, name, replaced) in &expected {
        let answer = proxyd.get(path);
        assert_eq!(answer.status == 418, *replaced, "{name}: {}", answer.text());
        if *replaced {
            assert_eq!(
                (answer.text().as_str(), answer.header("x-stand-in")),
                ("short and stout", Some("yes")),
                "{name}"
            );
        }
    }
    for row in proxyd.audit(&json!({ "last": 1000, "kind": "requests" }), expected.len() + 1) {
        let case = expected.iter().find(|(path, ..)| row["path"] == path.as_str());
        let Some((_, name, replaced)) = case else { continue };
        assert_eq!(row["outcome"] == "fallback", *replaced, "{name}: {row:#}");
        assert_eq!(
            row["tries"].as_str().is_some_and(|tries| tries.ends_with("fallback")),
            *replaced,
            "{name}: {row:#}"
        );
        assert_eq!(row["status"] == 418, *replaced, "{name}: {row:#}");
    }
    let replaced = expected.iter().filter(|(.., replaced)| *replaced).count();
    assert_eq!(proxyd.metric("proxyd_fallbacks_total", &["to=\"respond\""]) as usize, replaced);
}

#[test]
fn another_upstream_takes_over_what_is_safe() {
    let spare = Upstream::echo();
    let proxyd = Proxyd::start(&yaml(&resets().url(), "", &spare.url(), "upstream: spare"));
    let busy = answering(503);
    for (bad, kind) in [(resets(), "reset"), (busy, "503")] {
        proxyd.reload_with(&yaml(&bad.url(), "", &spare.url(), "upstream: spare"));
        let put = Request::new("PUT", "/put?q=1").body("the body").send(proxyd.address());
        assert_eq!((put.status, &put.json()["body"]), (200, &json!("the body")), "{kind}");
        assert_eq!(put.json()["target"], "/put?q=1");
        let keyed = Request::post("/keyed", "the body").header("Idempotency-Key", "1").send(proxyd.address());
        assert_eq!(keyed.json()["body"], "the body", "{kind}");
        // Sent once, it may have been done.
        let path = format!("/post/{kind}");
        let post = Request::post(&path, "the body").send(proxyd.address());
        assert!(matches!(post.status, 502 | 503), "{kind}: {}", post.status);
        assert_eq!(
            row(&proxyd, &path)["tries"].as_str().map(|tries| tries.contains("no fallback: unsafe")),
            Some(true)
        );
    }
    // Where nothing was sent all is safe.
    proxyd.reload_with(&yaml(&gone(), "", &spare.url(), "upstream: spare"));
    let post = Request::post("/refused", "the body").send(proxyd.address());
    assert_eq!((post.status, &post.json()["body"]), (200, &json!("the body")));
    let row = row(&proxyd, "/refused");
    assert_eq!((&row["outcome"], &row["endpoint"]), (&json!("served"), &json!(spare.address().to_string())));
    assert!(proxyd.metric("proxyd_fallbacks_total", &["to=\"upstream\""]) >= 5.0);
}

#[test]
fn what_is_not_kept_does_not_go_to_another() {
    let spare = Upstream::echo();
    let proxyd = Proxyd::start(&yaml(&resets().url(), "", &spare.url(), "upstream: spare"));
    let bad = resets();
    proxyd.reload_with(&yaml(&bad.url(), "", &spare.url(), "upstream: spare"));
    let large = Request::new("PUT", "/large").body(vec![b'x'; 64 * 1024 + 1]).send(proxyd.address());
    assert_eq!((large.status, spare.requests()), (502, 0));
    let small = Request::new("PUT", "/small").body(vec![b'x'; 64 * 1024]).send(proxyd.address());
    assert_eq!((small.status, &small.json()["body_bytes"]), (200, &json!(65_536)));
}

#[test]
fn it_is_the_last_resort_and_has_none_of_its_own() {
    // After the retries; the spare's failure is the answer, whatever the spare would fall back to.
    let (bad, busy) = (resets(), answering(503));
    let both = yaml(&bad.url(), "retry: {attempts: 3, backoff: 1ms}", &busy.url(), "upstream: spare");
    let proxyd = one_worker(&both);
    let answer = proxyd.get("/last");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("x-own")), (503, "own", Some("1")));
    assert_eq!((bad.requests(), busy.requests()), (3, 1));
    let row = row(&proxyd, "/last");
    assert_eq!(row["attempts"], 4, "{row:#}");
    let tries = row["tries"].as_str().unwrap();
    assert!(tries.contains("attempts used up; fallback"), "{tries}");
    // A fallback for everyone: the upstream that stands in does not stand in for itself.
    let top = format!(
        "fallback: {{upstream: spare}}\n{}",
        both.replace("fallback: {upstream: spare}", "headers: {}").replace(", headers: {}", "")
    );
    let proxyd = one_worker(&top);
    let before = busy.requests();
    assert_eq!(proxyd.get("/spare").status, 503);
    assert_eq!(busy.requests(), before + 1);
    assert_eq!(proxyd.get("/other").text(), "own");
}

#[test]
fn a_queue_that_is_full_falls_back_too() {
    let door = Door::default();
    let holds = holding("a", &door);
    let spare = Upstream::saying("spare");
    let more = "in_flight: {total: 1, queue: 0}";
    let proxyd = Proxyd::start(&yaml(&holds.url(), more, &spare.url(), "on: unavailable, upstream: spare"));
    let (_held, _) = hold(&proxyd);
    assert_eq!(proxyd.get("/full").text(), "spare");
    // Nothing was sent: even what is unsafe.
    assert_eq!(Request::post("/full", "x").send(proxyd.address()).text(), "spare");
}

#[test]
fn an_answer_that_has_begun_is_not_replaced() {
    let half = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let spare = Upstream::saying("spare");
    let proxyd = Proxyd::start(&yaml(&half.url(), "", &spare.url(), "upstream: spare"));
    let mut wire = Wire::connect(proxyd.address());
    let answer = Request::get("/").send_on(&mut wire);
    assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "half", false));
    assert_eq!(spare.requests(), 0);
}

#[test]
fn upgrades_fall_back_where_nothing_was_sent() {
    let switches = Upstream::scripted(|conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhello");
        conn.wire.rest();
    });
    let ask = |proxyd: &Proxyd| {
        let mut wire = Wire::connect(proxyd.address());
        wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
        let head = wire.head().expect("an answer");
        (head.split(' ').nth(1).unwrap_or_default().to_owned(), wire)
    };
    let proxyd = Proxyd::start(&yaml(&gone(), "", &switches.url(), "respond: {status: 418}"));
    assert_eq!(ask(&proxyd).0, "418");
    proxyd.reload_with(&yaml(&gone(), "", &switches.url(), "upstream: spare"));
    let (status, mut wire) = ask(&proxyd);
    assert_eq!((status.as_str(), wire.exactly(5)), ("101", b"hello".to_vec()));
    // What was sent may have begun something.
    let bad = resets();
    proxyd.reload_with(&yaml(&bad.url(), "", &switches.url(), "upstream: spare"));
    assert_eq!((ask(&proxyd).0.as_str(), switches.connections()), ("502", 1));
}
