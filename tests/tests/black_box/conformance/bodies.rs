//! Chunked bodies (RFC 9112 section 7.1) and their trailers.

use super::case::Check::{Body, Holds, Lacks};
use super::case::{Expects, case, passes, post, refused, several};
use super::run::run;

fn coded(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}

fn malformed() -> Expects {
    refused(400, "body_malformed")
}

#[test]
fn chunks() {
    run(&[
        case("RFC 9112 7.1", "two chunks", coded("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), passes(&[Body("abcde")])),
        case("RFC 9112 7.1", "no chunk", coded("0\r\n\r\n"), passes(&[Body("")])),
        case("RFC 9112 7.1", "hexadecimal in both cases", coded("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"), {
            passes(&[Body("01234567890123456789")])
        }),
        case("RFC 9112 7.1", "zeros in front", coded("0003\r\nabc\r\n000\r\n\r\n"), passes(&[Body("abc")])),
        case(
            "RFC 9112 7.1",
            "data that looks like its end",
            coded("5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
            passes(&[Body("0\r\n\r\n")]),
        ),
        case("RFC 9112 7.1.1", "extensions go no further", coded("3;a;b=c;d=\"e f\"\r\nabc\r\n0;x\r\n\r\n"), {
            passes(&[Body("abc"), Lacks(b";")])
        }),
        case("RFC 9112 7.1", "a bare LF behind the size", coded("3\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a bare CR behind the size", coded("3\rabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a bare LF behind the data", coded("3\r\nabc\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "no line end behind the data", coded("3\r\nabc0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a line end too many", coded("3\r\nabc\r\n\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a bare LF behind the last chunk", coded("0\r\n\n"), malformed()),
        case("RFC 9112 7.1", "a bare LF at the last size", coded("0\n\r\n"), malformed()),
        case("RFC 9112 7.1", "no size", coded("\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "letters for a size", coded("zz\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a prefix", coded("0x3\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a suffix", coded("3h\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a plus", coded("+3\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a minus", coded("-3\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a separator", coded("0_3\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a point", coded("3.0\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a comma", coded("3,\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a blank behind the size", coded("3 \r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a tab behind the size", coded("3\t\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a blank before the extension", coded("3 ;a\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "a blank before the size", coded(" 3\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "2^64 and 3", coded("10000000000000003\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("house", "more than sixteen digits", coded("00000000000000003\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "data longer than its size", coded("2\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1", "data shorter than its size", coded("4\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a line end within quotes", coded("3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a bare LF in an extension", coded("3;a\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "a bare CR in an extension", coded("3;a\rb\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("RFC 9112 7.1.1", "NUL in an extension", coded("3;a\0\r\nabc\r\n0\r\n\r\n"), malformed()),
        case("house", "a long extension", coded(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(256))), malformed()),
        case(
            "house",
            "extensions without end",
            coded(&format!("1;{}\r\na\r\n", "x".repeat(250)).repeat(100)),
            malformed(),
        ),
    ]);
}

#[test]
fn trailers() {
    let with = |trailers: &str| coded(&format!("3\r\nabc\r\n0\r\n{trailers}\r\n"));
    run(&[
        case(
            "RFC 9112 7.1.2",
            "go on",
            with("X-Sum: 1\r\nx-b:2\r\n"),
            passes(&[Body("abc"), Holds(b"\r\n0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n")]),
        ),
        case(
            "RFC 9110 6.5.1",
            "one that frames",
            with("Content-Length: 40\r\nX-A: b\r\n"),
            passes(&[Holds(b"X-A: b"), Lacks(b"Content-Length")]),
        ),
        case(
            "RFC 9110 6.5.1",
            "one that codes",
            with("Transfer-Encoding: gzip\r\n"),
            passes(&[Body("abc"), Lacks(b"gzip")]),
        ),
        case("RFC 9110 6.5.1", "one that routes", with("Host: evil\r\n"), passes(&[Body("abc"), Lacks(b"evil")])),
        case(
            "RFC 9110 6.5.1",
            "one that authenticates",
            with("Authorization: Basic eA==\r\nCookie: a=evil\r\n"),
            passes(&[Lacks(b"Basic"), Lacks(b"evil")]),
        ),
        case(
            "RFC 9110 6.5.1",
            "one of ours",
            with("X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-ID: evil\r\n"),
            passes(&[Body("abc"), Lacks(b"6.6.6.6"), Lacks(b"evil")]),
        ),
        case(
            "RFC 9110 7.6.1",
            "one of a hop",
            with("Connection: close\r\nTE: x\r\nUpgrade: y\r\nKeep-Alive: z\r\n"),
            passes(&[Lacks(b"close"), Lacks(b"TE:"), Lacks(b"Upgrade:"), Lacks(b"Keep-Alive:")]),
        ),
        case("RFC 9112 5.2", "a fold", with("x: y\r\n z\r\n"), malformed()),
        case("RFC 9112 5.1", "a blank before the colon", with("x : y\r\n"), malformed()),
        case("RFC 9112 2.2", "a bare LF", with("x: y\nz: z\r\n"), malformed()),
        case("RFC 9112 7.1.2", "no colon", with("x\r\n"), malformed()),
        case("RFC 9110 5.5", "NUL", with("x: \0\r\n"), malformed()),
        case("RFC 9112 7.1.2", "a request for one", coded("0\r\n"), malformed()),
        case("house", "many", with(&"x: y\r\n".repeat(65)), malformed()),
        case("house", "large", with(&format!("x: {}\r\n", "y".repeat(9000))), malformed()),
    ]);
}

/// What ends before its framing says so is whole to nobody (RFC 9112 section 8).
#[test]
fn clients_that_break_off() {
    let broken = |name, sends: &[u8], expects| case("RFC 9112 8", name, sends, expects).ended();
    // The answer is a courtesy; that nobody takes the request for whole is not.
    let short = || refused(400, "body_malformed");
    run(&[
        broken("nothing", b"", several(&[]).unanswered()),
        broken("an empty line", b"\r\n", several(&[]).unanswered()),
        broken("within the request line", b"GET / HT", several(&[]).unanswered()),
        broken("within the fields", b"GET / HTTP/1.1\r\nHost: h\r\n", several(&[]).unanswered()),
        broken("within a length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1", several(&[]).unanswered()),
        broken("before a body", &post("Content-Length: 10", ""), short()),
        broken("within a body", &post("Content-Length: 10", "half"), short()),
        broken("before a chunk", &coded(""), short()),
        broken("within a size", &coded("3\r\nabc\r\n1"), short()),
        broken("within a chunk", &coded("a\r\nhalf"), short()),
        broken("before the last chunk", &coded("3\r\nabc\r\n"), short()),
        broken("before the trailer section", &coded("3\r\nabc\r\n0\r\n"), short()),
        broken("within the trailer section", &coded("3\r\nabc\r\n0\r\nX: y\r\n"), short()),
        broken("within the last line end", &coded("3\r\nabc\r\n0\r\n\r"), short()),
    ]);
}
