//! Beside hyper, over generated and changed bytes: where we accept, hyper accepts, reads the same and sees the next message
//! begin at the same place. The differences are named here one by one, and in `docs/reference/http1.md` with their reasons.

use proptest::prelude::*;
use proptest::sample::select;

use super::engine::{self, End, Message};
use super::fuzz::PIECES;
use super::hyper_reads;
use super::mutation::{Random, mutate};
use super::targets::{relayed_request, relayed_response};

/// Cases of each property.
fn cases() -> ProptestConfig {
    let cases = if std::env::var_os("FULL").is_some() { 60_000 } else { 1_500 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// hyper groups lines by name: their order matters within a name only.
fn grouped(message: &Message) -> Message {
    let mut message = message.clone();
    message.fields.sort_by(|one, other| one.0.cmp(&other.0));
    message.trailers.sort_by(|one, other| one.0.cmp(&other.0));
    message
}

/// Difference 1: hyper reads the target as a URI, and refuses bytes that a URI may not hold (RFC 3986), which we send on as
/// they came. What it reads is told in its own spelling.
fn spelt_by_hyper(message: &Message) -> Option<Message> {
    let (method, rest) = message.start.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    let uri: hyper::Uri = target.parse().ok()?;
    Some(Message { start: format!("{method} {uri} {version}"), ..grouped(message) })
}

/// Compares, and tells how many messages were compared.
#[track_caller]
fn same_requests(bytes: &[u8]) -> usize {
    let (ours, end) = engine::requests(bytes, 0);
    if ours.is_empty() {
        return 0;
    }
    let theirs = hyper_reads::requests(bytes);
    for (index, (message, _)) in ours.iter().enumerate() {
        let Some(expected) = spelt_by_hyper(message) else { return index };
        assert_eq!(theirs.get(index).map(grouped), Some(expected), "{}", bytes.escape_ascii());
        // Difference 2: behind CONNECT hyper waits for a tunnel.
        if message.start.starts_with("CONNECT ") {
            return index + 1;
        }
        // Difference 3: hyper passes over a whole line of Connection for one byte above ASCII in it, and the `close` with it.
        if message.fields.iter().any(|(name, value)| name == "connection" && !value.is_ascii()) {
            return index + 1;
        }
    }
    if !matches!(end, End::Refused(_)) {
        assert_eq!(theirs.len(), ours.len(), "{end:?}: {}", bytes.escape_ascii());
    }
    ours.len()
}

#[track_caller]
fn same_response(bytes: &[u8], method: &str) -> usize {
    let (ours, _) = engine::response(bytes, 0, method == "HEAD");
    let Some((message, _)) = ours.first() else { return 0 };
    let theirs = hyper_reads::response(bytes, method);
    assert_eq!(theirs.as_ref().map(grouped), Some(grouped(message)), "to {method}: {}", bytes.escape_ascii());
    1
}

fn field() -> impl Strategy<Value = &'static str> {
    select(vec![
        "Host: h",
        "Host: example.org:80",
        "Accept:*/*",
        "X-A: \t b c \t",
        "X-Empty:",
        "x-a: d",
        "X-Forwarded-Port: 1",
        "Via: 1.1 x",
        "Connection: keep-alive",
        "Connection: close",
        "Connection: x-a, Close",
        "Connection: Keep-Alive, x",
        "Expect: 100-continue",
        "X-Obs: \u{e9}",
        "Cookie: a=b; c=\"d\"",
        "TE: trailers",
        "Content_Length: 9",
        "Upgrade: websocket",
        "Keep-Alive: timeout=1",
    ])
}

/// Framing lines and a body; mostly those that fit each other.
fn framed() -> impl Strategy<Value = &'static str> {
    select(vec![
        "\r\n",
        "\r\n",
        "\r\n",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 3\r\n\r\nabc",
        "content-length:\t14\t\r\n\r\nGET / HTTP/1.1",
        "Content-Length: 10\r\n\r\nshort",
        "Content-Length: 003\r\n\r\nabc",
        "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "Content-Length: +3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "transfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n1\r\nx\r\n0\r\nX: y\r\nx: z\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n00;x\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n0\r\nA:\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    ])
}

fn request() -> impl Strategy<Value = String> {
    let method = select(vec!["GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "get", "M-X!"]);
    let target = select(vec![
        "/",
        "/",
        "/a/b?c=d",
        "*",
        "http://h/x?y",
        "http://h",
        "HTTP://H?q",
        "h:80",
        "/a\"b",
        "/%zz",
        "//h/x",
        "/a?b?c",
        "/\\",
        "/a|b",
        "/<>",
    ]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let before = select(vec!["", "", "", "", "\r\n"]);
    (before, method, target, version, prop::collection::vec(field(), 0..4), framed()).prop_map(
        |(before, method, target, version, fields, framed)| {
            let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
            format!("{before}{method} {target} {version}\r\n{fields}{framed}")
        },
    )
}

fn response() -> impl Strategy<Value = String> {
    let start = select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 404",
        "HTTP/1.1 500 ",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 Not Modified",
        "HTTP/1.1 205 Reset",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 103 Early\tHints",
        "HTTP/1.1 101 Switching",
        "HTTP/1.1 999 \u{e9}",
    ]);
    (start, prop::collection::vec(field(), 0..4), framed()).prop_map(|(start, fields, framed)| {
        let fields: String = fields.iter().flat_map(|field| [*field, "\r\n"]).collect();
        format!("{start}\r\n{fields}{framed}")
    })
}

/// Some messages on one connection; changed where there is a seed.
fn changed(messages: &[String], seed: Option<u64>) -> Vec<u8> {
    let mut bytes = messages.concat().into_bytes();
    if let Some(seed) = seed {
        let other = messages.first().map(|message| message.clone().into_bytes()).unwrap_or_default();
        mutate(&mut bytes, &other, PIECES, &mut Random::new(seed));
    }
    bytes
}

/// Runs a property, and fails where too little was accepted to have shown anything.
fn run<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, least: usize, compare: impl Fn(T) -> usize) {
    let compared = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(cases());
    let outcome = runner.run(strategy, |value| {
        compared.set(compared.get() + compare(value));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(compared.get() >= least, "only {} messages were compared", compared.get());
}

fn requests() -> impl Strategy<Value = (Vec<String>, Option<u64>)> {
    (prop::collection::vec(request(), 1..4), any::<Option<u64>>())
}

fn responses() -> impl Strategy<Value = (Vec<String>, Option<u64>)> {
    (prop::collection::vec(response(), 1..3), any::<Option<u64>>())
}

#[test]
fn requests_that_we_accept_hyper_reads_the_same() {
    run(&requests(), 500, |(messages, seed)| same_requests(&changed(&messages, seed)));
}

#[test]
fn answers_that_we_accept_hyper_reads_the_same() {
    run(&responses(), 400, |(messages, seed)| {
        let bytes = changed(&messages, seed);
        same_response(&bytes, "GET") + same_response(&bytes, "HEAD")
    });
}

/// What goes on is for hyper, too, one message and the same one.
#[test]
fn what_goes_on_hyper_reads_the_same() {
    run(&requests(), 300, |(messages, seed)| {
        let Some((out, sent)) = relayed_request(&changed(&messages, seed)) else { return 0 };
        let Some(expected) = spelt_by_hyper(&sent) else { return 0 };
        let theirs: Vec<Message> = hyper_reads::requests(&out).iter().map(grouped).collect();
        assert_eq!(theirs, [expected], "{}", out.escape_ascii());
        1
    });
    run(&responses(), 300, |(messages, seed)| {
        let bytes = changed(&messages, seed);
        let mut compared = 0;
        for method in ["GET", "HEAD"] {
            if let Some((out, sent)) = relayed_response(&bytes, method == "HEAD") {
                let theirs = hyper_reads::response(&out, method);
                assert_eq!(theirs.as_ref().map(grouped), Some(grouped(&sent)), "to {method}: {}", out.escape_ascii());
                compared += 1;
            }
        }
        compared
    });
}

/// What hyper takes and we do not, by decision: each is a line in the reference.
#[test]
fn where_we_are_stricter_than_hyper() {
    for request in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 003\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        assert_eq!(engine::requests(request.as_bytes(), 0).0.len(), 0, "{request:?}");
        assert_eq!(hyper_reads::requests(request.as_bytes()).len(), 1, "{request:?}");
    }
    for response in [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ] {
        assert_eq!(engine::response(response.as_bytes(), 0, false).0.len(), 0, "{response:?}");
        assert!(hyper_reads::response(response.as_bytes(), "GET").is_some(), "{response:?}");
    }
}
