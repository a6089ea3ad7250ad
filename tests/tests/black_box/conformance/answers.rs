//! What an upstream answers: relayed as one message, or told to be none (502). A connection on which something is left over
//! never serves again (RFC 9112 sections 6.3, 9.2).

use super::case::Check::{Body, Holds, Lacks, Line, Only, Status, Without};
use super::case::{Answer, Case, Check, answer, answered, bad_gateway, case, get, last_answer, message, relays};
use super::run::run;

/// A case of an answer that is none.
fn bad(clause: &'static str, name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    answered(clause, name, answer(bytes), bad_gateway())
}

#[test]
fn framings() {
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{body}");
    run(&[
        bad("RFC 9112 6.1", "length, then coding", ok("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        bad("RFC 9112 6.1", "coding, then length", ok("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        bad("RFC 9112 6.3", "two lengths", ok("Content-Length: 2\r\nContent-Length: 3", "ok!")),
        bad("RFC 9112 6.3", "two equal lengths", ok("Content-Length: 2\r\nContent-Length: 2", "ok")),
        bad("RFC 9112 6.3", "a list of lengths", ok("Content-Length: 2, 2", "ok")),
        bad("RFC 9110 8.6", "a signed length", ok("Content-Length: +2", "ok")),
        bad("RFC 9110 8.6", "a length in words", ok("Content-Length: minus one", "ok")),
        bad("RFC 9110 8.6", "an empty length", ok("Content-Length:", "ok")),
        bad("RFC 9110 8.6", "a length over 64 bits", ok("Content-Length: 18446744073709551618", "ok")),
        bad("RFC 9112 6.1", "another coding first", ok("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        bad("RFC 9112 6.1", "another coding alone", ok("Transfer-Encoding: gzip", "ok")),
        bad(
            "RFC 9112 6.1",
            "chunked twice",
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        bad("RFC 9112 6.1", "coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        bad("RFC 9112 6.3", "a bad length of a 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n"),
    ]);
}

#[test]
fn heads() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\nContent-Length: 2\r\n\r\nok");
    let line = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\nok");
    run(&[
        bad("RFC 9112 2.2", "bare LFs", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        bad("RFC 9112 2.2", "a bare LF", head("X: y\nZ: z")),
        bad("RFC 9112 2.2", "a bare CR", head("X: y\rZ: z")),
        bad("RFC 9112 5.2", "a fold", head("X: y\r\n z")),
        bad("RFC 9112 5.1", "a blank before the colon", head("X : y")),
        bad("RFC 9110 5.1", "a name that is none", head("Bad Name: x")),
        bad("RFC 9112 5", "no colon", head("nonsense")),
        bad("RFC 9110 5.5", "NUL", head("X: \0")),
        bad("RFC 9112 4", "a status of two digits", line("HTTP/1.1 20 OK")),
        bad("RFC 9112 4", "a status of four digits", line("HTTP/1.1 2000 OK")),
        bad("RFC 9112 4", "a status of letters", line("HTTP/1.1 banana OK")),
        bad("RFC 9110 15", "status 000", line("HTTP/1.1 000 Zero")),
        bad("RFC 9112 4", "a signed status", line("HTTP/1.1 +20 OK")),
        bad("RFC 9112 4", "two spaces before the status", line("HTTP/1.1  200 OK")),
        bad("RFC 9112 4", "no status", line("HTTP/1.1")),
        bad("RFC 9112 4", "a control byte in the reason", line("HTTP/1.1 200 O\x07K")),
        bad("RFC 9112 2.3", "HTTP/2.0", line("HTTP/2.0 200 OK")),
        bad("RFC 9112 2.3", "HTTP/1.2", line("HTTP/1.2 200 OK")),
        bad("RFC 9112 2.3", "lower case", line("http/1.1 200 OK")),
        bad("RFC 9112 2.3", "another protocol", line("ICY 200 OK")),
        bad("RFC 9112 2.2", "an empty line first", line("\r\nHTTP/1.1 200 OK")),
        bad("RFC 9112 4", "nonsense", "complete nonsense\r\n\r\n"),
        bad("RFC 9112 4", "NULs", "\0\0\0\0\0\0\0\0"),
        bad("RFC 9112 4", "a request", get("/", "")),
        bad("house", "a long status line", line(&format!("HTTP/1.1 200 {}", "x".repeat(8192)))),
        bad("house", "large fields", head(&format!("X: {}", "y".repeat(121 * 1024)))),
        bad("house", "many fields", head(&vec!["X: y"; 256].join("\r\n"))),
        bad(
            "RFC 9110 15.2.2",
            "a 101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ),
        bad(
            "house",
            "interim answers without end",
            format!("{}{}", "HTTP/1.1 102 Wait\r\n\r\n".repeat(33), line("HTTP/1.1 200 OK")),
        )
        .then_interim(32),
        answered(
            "RFC 9112 9.5",
            "nothing",
            last_answer(""),
            relays(&[Status(502), Check::Code("upstream_reset")]).spent(),
        ),
        answered("RFC 9112 8", "half a head", last_answer("HTTP/1.1 200 OK\r\nContent-"), {
            relays(&[Status(502), Check::Code("upstream_reset")]).spent()
        }),
    ]);
}

#[test]
fn relayed() {
    let fine = |name, bytes: &str, checks: &[Check]| answered("RFC 9112 6.3", name, answer(bytes), relays(checks));
    run(&[
        fine(
            "a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            &[Status(200), Only("content-length: 2"), Body("ok")],
        ),
        fine("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\no\r\n1\r\nk\r\n0\r\n\r\n", {
            &[Only("transfer-encoding: chunked"), Without("content-length"), Lacks(b";x"), Body("ok")]
        }),
        fine("no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", &[Line("HTTP/1.1 200 "), Body("ok")]),
        fine("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", &[Line("HTTP/1.1 200 "), Body("ok")]),
        fine(
            "a reason of its own",
            "HTTP/1.1 200 Well \u{e9}\r\nContent-Length: 2\r\n\r\nok",
            &[Line("HTTP/1.1 200 Well \u{e9}"), Body("ok")],
        ),
        fine(
            "a status of nobody",
            "HTTP/1.1 799 Odd\r\nContent-Length: 2\r\n\r\nok",
            &[Line("HTTP/1.1 799 Odd"), Body("ok")],
        ),
        fine(
            "a body of nothing",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            &[Only("content-length: 0"), Body("")],
        ),
        fine("HTTP/1.0 that goes on", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", {
            &[Line("HTTP/1.1 200 OK"), Without("connection"), Body("ok")]
        }),
        fine(
            "trailers",
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: evil\r\n\r\n",
            &[Line("Trailer: X-Sum"), Body("ok"), Holds(b"\r\n0\r\nX-Sum: 1\r\n\r\n"), Lacks(b"evil")],
        ),
        fine(
            "lines in their order",
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: \u{e9}\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
            &[Holds(b"Set-Cookie: a=1\r\nX: \xc3\xa9\r\nSet-Cookie: b=2\r\n")],
        ),
        fine(
            "what frames nothing",
            "HTTP/1.1 200 OK\r\nContent_Length: 9\r\nContent-Length: 2\r\n\r\nok",
            &[Body("ok")],
        ),
        fine(
            "205 with a body",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
            &[Status(205), Body("ok")],
        ),
        answered("RFC 9112 6.3", "until the end", last_answer("HTTP/1.1 200 OK\r\n\r\nok"), {
            relays(&[Only("transfer-encoding: chunked"), Body("ok")]).spent()
        }),
        answered("RFC 9112 6.3", "HTTP/1.0 until the end", last_answer("HTTP/1.0 200 OK\r\n\r\nok"), {
            relays(&[Line("HTTP/1.1 200 OK"), Only("transfer-encoding: chunked"), Body("ok")]).spent()
        }),
        case("RFC 9112 6.1", "chunks to a client of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", {
            relays(&[Line("HTTP/1.1 200 OK"), Without("transfer-encoding"), Body("ok")]).closes().unseen()
        })
        .to(answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n")),
        case(
            "RFC 9112 6.1",
            "a length to a client of HTTP/1.0 that goes on",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            relays(&[Only("content-length: 2"), Only("connection: keep-alive"), Body("ok")]),
        ),
    ]);
}

#[test]
fn without_a_body() {
    let to_head = |name, bytes: &str, expects| {
        case("RFC 9110 9.3.2", name, message("HEAD", "/", "", ""), expects).to(answer(bytes))
    };
    let fine = |name, bytes: &str, checks: &[Check]| answered("RFC 9112 6.3", name, answer(bytes), relays(checks));
    let spent =
        |name, bytes: &str, checks: &[Check]| answered("RFC 9112 6.3", name, answer(bytes), relays(checks).spent());
    run(&[
        to_head(
            "HEAD with a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            relays(&[Only("content-length: 1234")]),
        ),
        to_head(
            "HEAD with a coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            relays(&[Without("content-length")]),
        ),
        to_head(
            "HEAD with a body all the same",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            relays(&[Lacks(b"ok\r\n")]).spent(),
        ),
        fine(
            "204",
            "HTTP/1.1 204 No Content\r\n\r\n",
            &[Status(204), Without("content-length"), Without("transfer-encoding")],
        ),
        fine(
            "204 with a length of nothing",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            &[Without("content-length")],
        ),
        spent(
            "204 with a length",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
            &[Without("content-length")],
        ),
        spent(
            "204 with a coding",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            &[Without("transfer-encoding")],
        ),
        fine("304", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", &[Status(304), Line("ETag: \"a\"")]),
        fine(
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            &[Status(304), Only("content-length: 2")],
        ),
        spent(
            "304 with a body all the same",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
            &[Status(304)],
        ),
    ]);
}

#[test]
fn interim() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let before = |interim: &str| answer(format!("{interim}{ok}"));
    let last: &[Check] = &[Status(200), Body("ok")];
    run(&[
        answered("RFC 9110 15.2", "103 goes on", before("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), {
            relays(&[]).told(&[&[Status(103), Line("Link: </a>")], last])
        }),
        answered(
            "RFC 9110 8.6",
            "without a length",
            before("HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"),
            relays(&[]).told(&[&[Status(103), Without("content-length"), Without("transfer-encoding")], last]),
        ),
        answered("RFC 9110 15.2", "one that nobody knows", before("HTTP/1.1 199 Odd\r\n\r\n"), {
            relays(&[]).told(&[&[Status(199)], last])
        }),
        answered("RFC 9110 15.2", "several", before("HTTP/1.1 102 A\r\n\r\nHTTP/1.1 103 B\r\n\r\n"), {
            relays(&[]).told(&[&[Status(102)], &[Status(103)], last])
        }),
        answered("RFC 9110 15.2.1", "100 is ours to give", before("HTTP/1.1 100 Continue\r\n\r\n"), relays(last)),
        answered(
            "RFC 9110 7.6.1",
            "what belongs to a hop",
            before("HTTP/1.1 103 Early Hints\r\nConnection: X-A\r\nX-A: 1\r\n\r\n"),
            relays(&[]).told(&[&[Status(103), Without("connection"), Without("x-a")], last]),
        ),
        case("RFC 9110 15.2", "not to HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", relays(last).closes().unseen())
            .to(before("HTTP/1.1 103 Early Hints\r\n\r\n")),
        answered("RFC 9112 2.2", "a malformed one", before("HTTP/1.1 103 Early Hints\r\nX : y\r\n\r\n"), bad_gateway()),
    ]);
}

#[test]
fn left_over() {
    let spent =
        |name, bytes: &str| answered("RFC 9112 9.2", name, answer(bytes), relays(&[Status(200), Body("ok")]).spent());
    run(&[
        spent(
            "another answer",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        spent("an empty line", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n"),
        spent("a byte behind chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx"),
        spent("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        spent("close in a list", "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok"),
        spent("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ]);
}

/// What was announced and does not come as announced is not taken for whole.
#[test]
fn broken_bodies() {
    let cut = |name, answer: Answer| {
        let told: &[Check] = &[Status(200)];
        answered("RFC 9112 8", name, answer, relays(told).cut().spent())
    };
    let chunks = |body: &str| answer(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    run(&[
        cut("shorter than its length", last_answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")),
        cut("no last chunk", last_answer(chunks("2\r\nok\r\n").bytes)),
        cut("half a chunk", last_answer(chunks("64\r\nonly this").bytes)),
        cut("no trailer section", last_answer(chunks("2\r\nok\r\n0\r\n").bytes)),
        cut("a bare LF behind a size", chunks("2\nok\r\n0\r\n\r\n")),
        cut("data longer than its size", chunks("2\r\nokay\r\n0\r\n\r\n")),
        cut("a blank behind a size", chunks("2 \r\nok\r\n0\r\n\r\n")),
        cut("a size over 64 bits", chunks("10000000000000002\r\nok\r\n0\r\n\r\n")),
        cut("a trailer that is none", chunks("2\r\nok\r\n0\r\nx\r\n\r\n")),
    ]);
}
