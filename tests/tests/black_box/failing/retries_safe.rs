//! Which requests are sent again, and that what is sent again is the same to the last byte.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::http2::{flag, frame, headers, kind, post_fields};
use tests::upstream::Incoming;
use tests::{Http2, Proxyd, Request, Upstream, Wire, eventually};

use super::retries::{gone, resets, takes_http2};
use super::{Door, one_worker, row, upstream, users};

type Taken = Arc<Mutex<Vec<Incoming>>>;

/// An endpoint that serves, and what it was sent.
fn takes() -> (Upstream, Taken) {
    let taken = Taken::default();
    let list = Arc::clone(&taken);
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            list.lock().unwrap().push(request);
            conn.answer(200, &[], b"good");
        }
    });
    (upstream, taken)
}

fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// Two requests, of which one meets the bad endpoint first.
fn twice(proxyd: &Proxyd, request: impl Fn(&str) -> Request) -> Vec<(String, u16)> {
    let one = |number: u32| {
        let path = format!("/{number}");
        let status = request(&path).send(proxyd.address()).status;
        (path, status)
    };
    (0..2).map(one).collect()
}

struct Case {
    name: &'static str,
    /// Whether the endpoint is there, and breaks off.
    breaks_off: bool,
    request: fn(&str) -> Request,
    body: usize,
    /// What the row says where it is not sent again.
    denied: Option<&'static str>,
}

#[test]
fn only_what_is_safe_is_sent_again() {
    fn post(path: &str) -> Request {
        Request::post(path, body(1000))
    }
    let case = |name, breaks_off, request, body, denied| Case { name, breaks_off, request, body, denied };
    for case in [
        case("POST, taken", true, post, 1000, Some("not retried: unsafe")),
        case("POST with a key, taken", true, |path| post(path).header("Idempotency-Key", "1"), 1000, None),
        case("POST, refused", false, post, 1000, None),
        case("PATCH, taken", true, |path| Request::new("PATCH", path).body(body(10)), 10, Some("not retried: unsafe")),
        case("PUT, taken", true, |path| Request::new("PUT", path).body(body(1000)), 1000, None),
        case("PUT of all that is kept", true, |path| Request::new("PUT", path).body(body(2000)), 2000, None),
        case(
            "PUT of more than is kept, taken",
            true,
            |path| Request::new("PUT", path).body(body(2001)),
            2001,
            Some("not retried: body not kept"),
        ),
        case("PUT of more than is kept, refused", false, |path| Request::new("PUT", path).body(body(9000)), 9000, None),
        case("POST of more than is kept, refused", false, |path| Request::post(path, body(90_000)), 90_000, None),
    ] {
        let (bad, (good, taken)) = (resets(), takes());
        let url = if case.breaks_off { bad.url() } else { gone() };
        let proxyd = one_worker(&users(&[url.clone(), good.url()], "retry: {body: 2000B}"));
        let answers = twice(&proxyd, case.request);
        let failed: Vec<_> = answers.iter().filter(|(_, status)| *status != 200).collect();
        let sent = taken.lock().unwrap();
        match case.denied {
            None => {
                assert_eq!((failed.len(), sent.len()), (0, 2), "{}: {answers:?}", case.name);
                let heads: Vec<_> = sent.iter().map(|one| one.head.lines().count()).collect();
                assert_eq!(heads[0], heads[1], "{}: the same head: {sent:?}", case.name);
            }
            Some(why) => {
                assert_eq!((failed.len(), sent.len()), (1, 1), "{}: {answers:?}", case.name);
                assert_eq!(failed[0].1, 502, "{}", case.name);
                let address = url.trim_start_matches("http://");
                assert_eq!(row(&proxyd, &failed[0].0)["tries"], format!("{address} reset; {why}"), "{}", case.name);
            }
        }
        assert!(sent.iter().all(|one| one.whole && one.body == body(case.body)), "{}: {sent:?}", case.name);
    }
}

#[test]
fn chunked_bodies_are_the_same_again() {
    let (bad, (good, taken)) = (resets(), takes());
    let proxyd = one_worker(&users(&[bad.url(), good.url()], "retry: {}"));
    let put = |path: &str, end: &str| {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(format!("PUT {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"));
        wire.send("5\r\nfirst\r\n");
        wire.send("7\r\n second\r\n");
        wire.send(end);
        wire.response("PUT").status
    };
    for path in ["/1", "/2"] {
        assert_eq!(put(path, "0\r\n\r\n"), 200);
    }
    assert!(taken.lock().unwrap().iter().all(|one| one.whole && one.body == b"first second"), "{taken:?}");
    assert_eq!(bad.requests(), 1);
    // Fields behind the body are not kept: without them it would be another request.
    let statuses = [put("/3", "0\r\nX-Sum: 1\r\n\r\n"), put("/4", "0\r\nX-Sum: 1\r\n\r\n")];
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 1, "{statuses:?}");
    let sent = taken.lock().unwrap();
    assert_eq!(sent.last().unwrap().trailers.get("x-sum"), Some("1"));
}

#[test]
fn an_answer_that_has_begun_stands() {
    // Half a body, then nothing: the client sees that it is not whole.
    let half = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let (good, taken) = takes();
    let proxyd = one_worker(&users(&[half.url(), good.url()], "retry: {on: [reset, timeout, 500-599]}"));
    let answers: Vec<_> = ["/1", "/2"].map(|path| (path, proxyd.get(path))).into();
    let broken: Vec<_> = answers.iter().filter(|(_, answer)| !answer.whole).collect();
    assert_eq!((broken.len(), half.requests(), taken.lock().unwrap().len()), (1, 1, 1));
    assert_eq!(broken[0].1.text(), "half");
    let row = row(&proxyd, broken[0].0);
    assert_eq!((&row["attempts"], &row["status"]), (&json!(1), &json!(200)));
    assert_ne!(row["outcome"], "served");
}

#[test]
fn after_an_answer_that_came_before_the_whole_body_the_next_gets_all_of_it_or_nothing() {
    // Of the request nobody has all: the next endpoint is sent what came, and then the rest. What the first one's answer
    // still sends on is not there for a fallback.
    let busy = Upstream::scripted(|conn| {
        if conn.request_head().is_some() {
            conn.answer(503, &[], b"busy");
            conn.wire.rest();
        }
    });
    let (good, taken) = takes();
    let fallback = format!(
        "upstreams:\n{}{}routes: [{{name: all, path: /, upstream: users, fallback: {{upstream: spare}}}}]\n",
        upstream("users", &[busy.url()], ""),
        upstream("spare", &[good.url()], ""),
    );
    for (yaml, goes_on) in [(users(&[busy.url(), good.url()], "retry: {}"), true), (fallback, false)] {
        let proxyd = one_worker(&yaml);
        for _ in 0..2 {
            let (busy_before, good_before) = (busy.requests(), good.requests());
            let mut wire = Wire::connect(proxyd.address());
            wire.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst");
            eventually("an endpoint has it", || {
                (busy.requests() + good.requests() > busy_before + good_before).then_some(())
            });
            if busy.requests() > busy_before && !goes_on {
                assert_eq!(wire.response("PUT").text(), "busy", "{yaml}");
            } else {
                wire.send(" last");
                assert_eq!(wire.response("PUT").text(), "good", "{yaml}");
            }
        }
        for one in taken.lock().unwrap().iter() {
            assert_eq!(String::from_utf8_lossy(&one.body), "first last", "{one:?}");
        }
    }
}

#[test]
fn a_body_on_a_stream_that_was_answered_too_early_goes_on_to_the_next() {
    let hasty = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        if server.until(|all| all.messages.contains_key(&1)) {
            server.head(1, &[(":status", "503")], true);
            server.until(|_| false);
        }
    });
    let (good, bodies) = takes_http2(200);
    let yaml = format!(
        "upstreams:\n  users: {{endpoints: ['{}', {{url: '{}', backup: true}}], protocol: http2, retry: {{}}, \
         eject: {{consecutive_errors: 1, max_percent: 50%}}}}\nroutes: [{{path: /, upstream: users}}]\n",
        hasty.url(),
        good.url()
    );
    let proxyd = one_worker(&yaml);
    let mut wire = Wire::connect(proxyd.address());
    wire.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst");
    eventually("the next endpoint is asked", || (good.requests() > 0 || good.connections() > 0).then_some(()));
    wire.send(" last");
    assert_eq!(wire.response("PUT").status, 200);
    assert_eq!(*bodies.lock().unwrap(), ["first last"]);
}

#[test]
fn bodies_on_streams_are_the_same_again() {
    // Answered only when all of it has come, on a stream: it is sent again with its body.
    let (busy, first) = takes_http2(503);
    let (good, bodies) = takes_http2(200);
    let proxyd = one_worker(&users(&[busy.url(), good.url()], "protocol: http2, retry: {}"));
    for number in 0..4 {
        let request = Request::new("PUT", &format!("/{number}")).body(format!("body {number}"));
        assert_eq!(request.send(proxyd.address()).status, 200);
    }
    assert!(!first.lock().unwrap().is_empty(), "the busy one was asked");
    assert_eq!(*bodies.lock().unwrap(), ["body 0", "body 1", "body 2", "body 3"]);
    // The same with a fallback in place of another endpoint.
    let (spare, bodies) = takes_http2(200);
    let yaml = format!(
        "upstreams:\n  users: {{endpoints: ['{}'], protocol: http2}}\n  \
         spare: {{endpoints: ['{}'], protocol: http2}}\n\
         routes: [{{name: all, path: /, upstream: users, fallback: {{upstream: spare}}}}]\n",
        busy.url(),
        spare.url()
    );
    let proxyd = one_worker(&yaml);
    let answer = Request::new("PUT", "/").body("all of it").send(proxyd.address());
    assert_eq!((answer.status, bodies.lock().unwrap().clone()), (200, vec!["all of it".to_owned()]));
}

#[test]
fn clients_of_http2_are_served_alike() {
    let (bad, (good, taken)) = (resets(), takes());
    let proxyd = one_worker(&users(&[bad.url(), good.url()], "retry: {}"));
    let mut client = Http2::connect(proxyd.address());
    let put = |path: &'static str| {
        let mut fields = post_fields(path);
        fields[0].1 = "PUT";
        fields
    };
    for (stream, path) in [(1, "/1"), (3, "/2")] {
        client.head(stream, &put(path), false);
        client.data(stream, "one,", false);
        client.send(frame(kind::DATA, flag::END_STREAM, stream, "two"));
        assert_eq!(client.whole(stream).status(), 200);
    }
    assert_eq!(bad.requests(), 1);
    assert!(taken.lock().unwrap().iter().all(|one| one.body == b"one,two"), "{taken:?}");
    // From stream to stream, without a length.
    let (busy, _) = takes_http2(503);
    let (well, bodies) = takes_http2(200);
    let streams = one_worker(&users(&[busy.url(), well.url()], "protocol: http2, retry: {}"));
    let mut other = Http2::connect(streams.address());
    for (stream, path) in [(1, "/1"), (3, "/2"), (5, "/3")] {
        other.head(stream, &put(path), false);
        other.data(stream, "one,", false);
        other.data(stream, "two", true);
        assert_eq!(other.whole(stream).status(), 200);
    }
    assert_eq!(*bodies.lock().unwrap(), ["one,two", "one,two", "one,two"]);
    // POST, with fields behind the body: once it was sent it is not sent again.
    for stream in [5, 7] {
        client.head(stream, &post_fields("/3"), false);
        client.data(stream, "x", false);
        client.send(headers(stream, &[("x-sum", "1")], true));
        client.whole(stream);
    }
    assert_eq!((client.message(5).status() + client.message(7).status(), bad.requests()), (702, 2));
}

#[test]
fn a_body_that_is_waited_for_is_asked_for_once() {
    // RFC 9110 section 10.1.1.
    let (bad, (good, taken)) = (resets(), takes());
    for (url, asks) in [(gone(), "POST"), (bad.url(), "PUT")] {
        let proxyd = one_worker(&users(&[url, good.url()], "retry: {}"));
        for _ in 0..2 {
            let mut wire = Wire::connect(proxyd.address());
            wire.send(format!("{asks} / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
            assert!(wire.head().expect("an interim answer").starts_with("HTTP/1.1 100"));
            wire.send("body");
            let head = wire.head().expect("an answer");
            assert!(head.starts_with("HTTP/1.1 200"), "{asks}: {head}");
        }
    }
    assert!(taken.lock().unwrap().iter().all(|one| one.body == b"body"), "{taken:?}");
}

#[test]
fn a_body_that_is_still_coming_goes_on_to_the_next() {
    // The first endpoint resets in the middle of it: what came is sent again, and the rest follows as it comes.
    let door = Door::default();
    let opens = door.clone();
    let bad = Upstream::scripted(move |conn| {
        if conn.request_head().is_some() {
            conn.wire.exactly(5);
            conn.wire.reset_on_close();
            opens.open();
        }
    });
    let (good, taken) = takes();
    let proxyd = one_worker(&users(&[bad.url(), good.url()], "retry: {}"));
    for number in 0..2 {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(format!("PUT /{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst"));
        eventually("an endpoint has it", || (bad.requests() + good.requests() > number).then_some(()));
        if bad.requests() > 0 {
            door.pass();
        }
        wire.send(" last");
        assert_eq!(wire.response("PUT").status, 200);
    }
    assert_eq!(bad.requests(), 1);
    assert!(taken.lock().unwrap().iter().all(|one| one.whole && one.body == b"first last"), "{taken:?}");
}
