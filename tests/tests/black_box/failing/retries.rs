//! Requests that are sent again: after what, when, how often, and what is told of it.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::upstream::{Conn, nobody};
use tests::{Http2, Proxyd, Request, Start, Upstream, Wire};

use super::{Moody, one_worker, row, users};

/// An endpoint that has gone.
pub(super) fn gone() -> String {
    format!("http://{}", nobody())
}

/// An endpoint that takes a whole request and resets the connection.
pub(super) fn resets() -> Upstream {
    Upstream::scripted(|conn| {
        if conn.request().is_some() {
            conn.wire.reset_on_close();
        }
    })
}

/// How an endpoint fails, what that is called, and the keys of the upstream that see to it.
type Failing = (&'static str, fn(&mut Conn), &'static str);

#[test]
fn what_failed_is_tried_elsewhere() {
    let scripts: [Failing; 6] = [
        ("reset", |conn| drop(conn.request()), ""),
        (
            "reset",
            |conn| {
                conn.request();
                conn.wire.reset_on_close();
            },
            "",
        ),
        (
            "reset",
            |conn| {
                conn.request();
                conn.send("HTTP/1.1 200 OK\r\nContent-Le");
            },
            "",
        ),
        ("timeout", |conn| drop(conn.wire.rest()), ", timeouts: {response_headers: 50ms}"),
        (
            "protocol",
            |conn| {
                conn.request();
                conn.send("SSH-2.0-OpenSSH\r\n\r\n");
            },
            "",
        ),
        (
            "503",
            |conn| {
                while conn.request().is_some() {
                    conn.answer(503, &[], b"not now");
                }
            },
            "",
        ),
    ];
    let mut cases: Vec<(&str, Option<Upstream>, &str)> = vec![("connect", None, "")];
    cases.extend(scripts.into_iter().map(|(word, script, more)| (word, Some(Upstream::scripted(script)), more)));
    for (number, (word, bad, more)) in cases.into_iter().enumerate() {
        let url = bad.as_ref().map_or_else(gone, Upstream::url);
        let good = Upstream::saying("good");
        let on = "[connect, refused_stream, reset, timeout, protocol, 503]";
        // A pause that would be noticed: another endpoint is asked at once.
        let retry = format!("retry: {{on: {on}, backoff: 1m, max_backoff: 1m, budget: off}}{more}");
        let proxyd = one_worker(&users(&[url.clone(), good.url()], &retry));
        for turn in 0..2 {
            for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
                let path = format!("/{number}/{turn}/{method}");
                let answer = Request::new(method, &path).send(proxyd.address());
                assert_eq!(answer.status, 200, "{word} {path}: {}", answer.text());
            }
        }
        let rows = proxyd.audit(&json!({ "outcome": "served" }), 10);
        let address = url.trim_start_matches("http://");
        let again: Vec<_> = rows.iter().filter(|row| row["attempts"] == 2).collect();
        assert!(again.len() >= 4, "{word}: {rows:#?}");
        for row in again {
            assert_eq!(row["tries"], format!("{address} {word}"), "{row:#}");
            assert_eq!(row["endpoint"], good.address().to_string(), "{row:#}");
        }
        let retries = proxyd.metric("proxyd_upstream_retries_total", &[&format!("endpoint=\"{address}\"")]);
        assert!(retries >= 4.0, "{word}: {retries}");
    }
}

#[test]
fn what_is_not_listed_stands() {
    let (bad, good) = (resets(), Upstream::saying("good"));
    let proxyd = one_worker(&users(&[bad.url(), good.url()], "retry: {on: connect}"));
    let answers: Vec<_> = (0..4).map(|number| proxyd.get(&format!("/{number}"))).collect();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status == 502).collect();
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|answer| answer.error_code() == "upstream_reset"));
    let rows = proxyd.audit(&json!({ "outcome": "upstream_reset" }), 2);
    assert_eq!(rows[0]["tries"], format!("{} reset; not retried: not listed", bad.address()));
    assert_eq!(rows[0]["attempts"], 1);
}

#[test]
fn attempts_have_an_end() {
    let proxyd = one_worker(&users(&[gone(), gone(), gone()], "retry: {attempts: 5, backoff: 1ms}"));
    let answer = proxyd.get("/five");
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_connect"));
    let row = row(&proxyd, "/five");
    assert_eq!((&row["attempts"], &row["outcome"]), (&json!(5), &json!("upstream_connect")));
    let tries = row["tries"].as_str().unwrap();
    assert_eq!(tries.matches(" connect").count(), 5, "{tries}");
    assert!(tries.ends_with("; not retried: attempts used up"), "{tries}");
    // Each was tried before any was tried twice.
    let first: std::collections::BTreeSet<_> = tries.split(", ").take(3).collect();
    assert_eq!(first.len(), 3, "{tries}");
}

#[test]
fn the_same_endpoint_is_given_time() {
    const BUSY: &[&str] = &["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"];
    const ONE: &[&str] = &["HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"];
    const PAST: &[&str] =
        &["HTTP/1.1 503 Busy\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"];
    const NONSENSE: &[&str] = &["HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"];
    const HOUR: &[&str] = &["HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 4\r\n\r\nlate"];
    let turns = |answers: &'static [&'static str]| {
        Upstream::scripted(move |conn| {
            let mut turns = answers.iter();
            while conn.request().is_some() {
                conn.send(turns.next().unwrap_or(&"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
            }
        })
    };
    let timed = |answers, retry: &str| {
        let upstream = turns(answers);
        let proxyd = one_worker(&users(&[upstream.url()], &format!("retry: {{{retry}}}")));
        let began = Instant::now();
        let answer = proxyd.get("/");
        (answer, began.elapsed(), upstream.requests(), proxyd)
    };
    let (answer, took, _, _proxyd) = timed(BUSY, "backoff: 400ms, max_backoff: 1m");
    assert_eq!((answer.status, took >= Duration::from_millis(200)), (200, true), "{took:?}");
    let (answer, took, _, _proxyd) = timed(ONE, "backoff: 1ms, max_backoff: 2s");
    assert_eq!((answer.status, took >= Duration::from_secs(1)), (200, true), "{took:?}");
    // A time in the past, and nonsense, ask for nothing.
    for answers in [PAST, NONSENSE] {
        assert_eq!(timed(answers, "backoff: 1ms").0.status, 200);
    }
    // Longer than we wait: the answer is the client's affair.
    let (answer, _, requests, proxyd) = timed(HOUR, "max_backoff: 2s");
    assert_eq!((answer.status, answer.text().as_str(), requests), (503, "late", 1));
    assert_eq!(answer.header("retry-after"), Some("3600"));
    let tries = row(&proxyd, "/")["tries"].as_str().unwrap().to_owned();
    assert!(tries.ends_with(" 503; not retried: asked to wait longer"), "{tries}");
}

#[test]
fn retries_are_a_share_of_the_requests() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    one.says(503);
    two.says(503);
    let urls = [one.upstream.url(), two.upstream.url()];
    let proxyd = one_worker(&users(&urls, "retry: {budget: 0.01%, attempts: 3}"));
    let began = Instant::now();
    for number in 0..30 {
        assert_eq!(proxyd.get(&format!("/{number}")).status, 503);
    }
    // One each second, of the last ten and of those that passed since.
    let most = 10 + began.elapsed().as_secs() as usize + 1;
    let sent = one.upstream.requests() + two.upstream.requests();
    assert!((40..=30 + most).contains(&sent), "{sent} of at most {}", 30 + most);
    let tries = row(&proxyd, "/29")["tries"].as_str().unwrap().to_owned();
    assert!(tries.ends_with("503; not retried: budget used up"), "{tries}");
    // Without a budget each is sent as often as may be.
    proxyd.reload_with(&users(&urls, "retry: {budget: off, attempts: 3, backoff: 0s}"));
    for _ in 0..10 {
        proxyd.get("/off");
    }
    assert_eq!(one.upstream.requests() + two.upstream.requests() - sent, 30);
}

#[test]
fn all_workers_share_one_budget() {
    let mood = Moody::new("a");
    mood.says(503);
    let yaml = users(&[mood.upstream.url()], "retry: {budget: 0.01%, backoff: 0s}");
    let proxyd = Start::new(&yaml).set("server.workers", "4").run();
    let began = Instant::now();
    // On connections of their own: all workers have some.
    for _ in 0..60 {
        proxyd.get("/");
    }
    let most = 4 * 3 + 4 * (began.elapsed().as_secs() as usize + 1);
    let retries = mood.upstream.requests() - 60;
    assert!((1..=most).contains(&retries), "{retries} of at most {most}");
}

#[test]
fn a_route_s_rule_replaces_its_upstream_s() {
    let good = Upstream::saying("good");
    let yaml = |first: &str| {
        format!(
            "upstreams:\n  up: {{endpoints: ['{first}', '{}'], retry: {{}}}}\n  \
             plain: {{endpoints: ['{first}', '{}']}}\nroutes:\n  \
             - {{name: own, path: /own, upstream: plain, retry: {{on: reset}}}}\n  \
             - {{name: none, path: /none, upstream: up, retry: off}}\n  \
             - {{name: other, path: /other, upstream: up, retry: {{on: connect}}}}\n  \
             - {{name: up, path: /up, upstream: up}}\n  - {{name: plain, path: /plain, upstream: plain}}\n",
            good.url(),
            good.url(),
        )
    };
    let bad = resets();
    let proxyd = one_worker(&yaml(&bad.url()));
    for (path, hidden) in [("/own", true), ("/none", false), ("/other", false), ("/up", true), ("/plain", false)] {
        let failed = (0..4).filter(|_| proxyd.get(path).status != 200).count();
        assert_eq!(failed == 0, hidden, "{path}: {failed} failed");
    }
}

#[test]
fn a_stream_that_is_refused_is_sent_again_whatever_it_is() {
    // RFC 9113 section 8.7: the endpoint says that it did nothing.
    let refuses = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        let mut next = 1;
        while server.until(|all| all.messages.get(&next).is_some_and(|message| message.ended)) {
            server.send(tests::http2::reset(next, tests::http2::code::REFUSED_STREAM));
            next += 2;
        }
    });
    let (good, bodies) = takes_http2(200);
    let more = "protocol: http2, retry: {on: refused_stream}";
    let proxyd = one_worker(&users(&[refuses.url(), good.url()], more));
    for number in 0..4 {
        let answer = Request::post(&format!("/{number}"), format!("body {number}")).send(proxyd.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let expected: Vec<String> = (0..4).map(|number| format!("body {number}")).collect();
    assert_eq!(*bodies.lock().unwrap(), expected);
    let rows = proxyd.audit(&json!({ "outcome": "served" }), 4);
    let tries = format!("{} refused_stream", refuses.address());
    assert!(rows.iter().any(|row| row["tries"] == tries), "{rows:#?}");
}

#[test]
fn streams_above_the_last_one_are_sent_again() {
    // RFC 9113 section 6.8: the endpoint leaves, and has not seen this one.
    let leaves = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        if server.until(|all| all.messages.get(&1).is_some_and(|message| message.ended)) {
            server.send(tests::http2::goaway(0, tests::http2::code::NO_ERROR));
        }
    });
    let (good, bodies) = takes_http2(200);
    let proxyd = one_worker(&users(&[leaves.url(), good.url()], "protocol: http2, retry: {on: refused_stream}"));
    for number in 0..4 {
        let answer = Request::post("/", format!("body {number}")).send(proxyd.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(*bodies.lock().unwrap(), ["body 0", "body 1", "body 2", "body 3"]);
    assert!(leaves.connections() > 0);
}

#[test]
fn an_answer_that_never_ends_is_let_go() {
    let endless = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n");
        let piece = [b"8000\r\n".to_vec(), vec![b'x'; 0x8000], b"\r\n".to_vec()].concat();
        while conn.send(&piece) {}
    });
    let good = Upstream::saying("good");
    let proxyd = one_worker(&users(&[endless.url(), good.url()], "retry: {}"));
    assert_eq!(super::said(&proxyd, "/", 4), "goodgoodgoodgood");
    tests::eventually("it is told so", || {
        (endless.connections() > 0 && endless.closed() == endless.connections()).then_some(())
    });
    assert_eq!(super::endpoint(&proxyd, 0)["in_flight"], 0);
}

/// An endpoint of HTTP/2 that answers with this status, and the bodies that it took.
pub(super) fn takes_http2(status: u16) -> (Upstream, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let bodies: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
    let taken = std::sync::Arc::clone(&bodies);
    let upstream = Upstream::scripted(move |conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        let mut next = 1;
        while server.until(|all| all.messages.get(&next).is_some_and(|message| message.ended)) {
            taken.lock().unwrap().push(server.message(next).text());
            server.head(next, &[(":status", &status.to_string())], true);
            next += 2;
        }
    });
    (upstream, bodies)
}

#[test]
fn a_client_that_leaves_is_not_waited_for() {
    let upstream = Moody::new("a");
    upstream.says(503);
    let proxyd = one_worker(&users(&[upstream.upstream.url()], "retry: {backoff: 1m, max_backoff: 1m}"));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/leaves").bytes());
    tests::eventually("the first attempt", || (upstream.upstream.requests() == 1).then_some(()));
    drop(wire);
    // Long before the pause is over.
    let row = row(&proxyd, "/leaves");
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("client_closed"), &json!(1)), "{row:#}");
    assert_eq!(upstream.upstream.requests(), 1);
    tests::eventually("nothing is under way", || (super::endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
}

#[test]
fn a_stream_that_is_given_up_is_not_waited_for() {
    let upstream = Moody::new("a");
    upstream.says(503);
    let proxyd = one_worker(&users(&[upstream.upstream.url()], "retry: {backoff: 1m, max_backoff: 1m}"));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &tests::http2::get_fields("/leaves"), true);
    tests::eventually("the first attempt", || (upstream.upstream.requests() == 1).then_some(()));
    client.send(tests::http2::reset(1, tests::http2::code::CANCEL));
    assert_eq!(row(&proxyd, "/leaves")["attempts"], 1);
    assert_eq!(upstream.upstream.requests(), 1);
}

#[test]
fn retries_are_within_the_total_time() {
    let silent = Upstream::scripted(|conn| drop(conn.wire.rest()));
    let more = "retry: {attempts: 10, backoff: 1ms}, timeouts: {response_headers: 100ms, total: 250ms}";
    let proxyd = Proxyd::start(&users(&[silent.url(), silent.url().replace("127.0.0.1", "localhost")], more));
    let answer = proxyd.get("/late");
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "total_timeout"));
    let row = row(&proxyd, "/late");
    assert_eq!(row["outcome"], "total_timeout");
    assert!((2..=3).contains(&row["attempts"].as_u64().unwrap()), "{row:#}");
}
