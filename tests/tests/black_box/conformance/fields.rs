//! Field lines (RFC 9112 section 5, RFC 9110 section 5): their syntax, their bytes, how many.

use super::case::Check::{Holds, Line, Without};
use super::case::{Expects, case, get, passes, post, refused};
use super::run::run;

fn malformed() -> Expects {
    refused(400, "request_malformed")
}

#[test]
fn syntax() {
    run(&[
        case("RFC 9112 2.2", "a bare LF", get("/", "X: y\nContent-Length: 40"), malformed()),
        case("RFC 9112 2.2", "a bare LF at the end", "GET / HTTP/1.1\r\nHost: h\r\n\n", malformed()),
        case("RFC 9112 2.2", "LF LF at the end", "GET / HTTP/1.1\r\nHost: h\n\n", malformed()),
        case("RFC 9112 2.2", "LF CR LF at the end", "GET / HTTP/1.1\r\nHost: h\n\r\n", malformed()),
        case("RFC 9112 2.2", "a bare CR", get("/", "X: y\rContent-Length: 40"), malformed()),
        case("RFC 9112 2.2", "a CR too many", get("/", "X: y\r\r\nZ: z"), malformed()),
        case("RFC 9112 2.2", "a bare CR for the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\rX\r\n\r\n", malformed()),
        case("RFC 9112 2.2", "a blank before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", malformed()),
        case("RFC 9112 5.2", "a fold", get("/", "X: y\r\n Content-Length: 40"), malformed()),
        case("RFC 9112 5.2", "a fold with a tab", get("/", "X: y\r\n\tz"), malformed()),
        case("RFC 9112 5.2", "an empty fold", get("/", "X: y\r\n \r\nZ: z"), malformed()),
        case("RFC 9112 5.2", "a folded coding", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), malformed()),
        case("RFC 9112 5.1", "a blank before the colon", get("/", "X : y"), malformed()),
        case("RFC 9112 5.1", "of a length", post("Content-Length : 40", ""), malformed()),
        case("RFC 9112 5.1", "a tab before the colon", post("Transfer-Encoding\t: chunked", "0\r\n\r\n"), malformed()),
        case("RFC 9112 5", "no name", get("/", ": y"), malformed()),
        case("RFC 9112 5", "no colon", get("/", "chunked"), malformed()),
        case("RFC 9112 5", "a blank in the name", get("/", "X Y: z"), malformed()),
        case("RFC 9110 5.1", "a name that is no token", get("/", "X(Y): z"), malformed()),
        case("RFC 9110 5.1", "a forwarding name that is none", get("/", "X-Forwarded-(For): 1.2.3.4"), malformed()),
        case("RFC 9110 5.1", "a name in quotes", get("/", "\"X\": z"), malformed()),
        case("RFC 9110 5.1", "a name above ASCII", get("/", "X\u{b7}Y: z"), malformed()),
        case("RFC 9110 5.1", "NUL in a name", get("/", "X\0Y: z"), malformed()),
        case(
            "RFC 9110 5.1",
            "all marks of a token",
            get("/", "!#$%&'*+-.^_`|~9: y"),
            passes(&[Line("!#$%&'*+-.^_`|~9: y")]),
        ),
        case("RFC 9110 5.5", "NUL in a value", get("/", "X: y\0z"), malformed()),
        case("RFC 9110 5.5", "a control byte in a value", get("/", "X: y\x01z"), malformed()),
        case("RFC 9110 5.5", "ESC in a value", get("/", "X: \x1b[31m"), malformed()),
        case("RFC 9110 5.5", "DEL in a value", get("/", "X: y\x7fz"), malformed()),
        case("RFC 9110 5.5", "VT for a blank", post("Transfer-Encoding:\x0bchunked", "0\r\n\r\n"), malformed()),
        case("RFC 9110 5.5", "FF behind a length", post("Content-Length: 3\x0c", "abc"), malformed()),
    ]);
}

#[test]
fn bytes_go_on_as_they_came() {
    let obs_text = [b"GET / HTTP/1.1\r\nHost: h\r\nX-Obs: \x80\xe9\xff".as_slice(), b"\r\n\r\n"].concat();
    run(&[
        case("RFC 9110 5.5", "obs-text", obs_text, passes(&[Holds(b"\r\nX-Obs: \x80\xe9\xff\r\n")])),
        case("RFC 9110 5.5", "UTF-8", get("/", "X: gr\u{fc}\u{df}e"), passes(&[Line("X: gr\u{fc}\u{df}e")])),
        case("RFC 9110 5.5", "an empty value", get("/", "X-Empty:"), passes(&[Line("X-Empty:")])),
        case("RFC 9112 5.1", "blanks around a value", get("/", "X-A:\t y \t"), passes(&[Line("X-A:\t y \t")])),
        case("RFC 9112 5.1", "no blank before a value", get("/", "X-A:y"), passes(&[Line("X-A:y")])),
        case("RFC 9110 5.5", "a tab in a value", get("/", "X-A: y\tz"), passes(&[Line("X-A: y\tz")])),
        case("RFC 9110 5.1", "the case of names", get("/", "x-MiXeD: y"), passes(&[Line("x-MiXeD: y")])),
        case("RFC 9110 5.3", "the order of repeated lines", get("/", "X-A: 1\r\nX-B: 2\r\nX-A: 3"), {
            passes(&[Holds(b"X-A: 1\r\nX-B: 2\r\nX-A: 3\r\n")])
        }),
        case("RFC 9110 5.5", "colons in a value", get("/", "X-A:: b: c"), passes(&[Line("X-A:: b: c")])),
        case("RFC 9112 5.1", "digits for a name", get("/", "1: y"), passes(&[Line("1: y")])),
    ]);
}

#[test]
fn sizes() {
    let lines = |count: usize| "X: y\r\n".repeat(count);
    // `Host: h` and its CRLF are 9 bytes of 32 KiB, and one line of 100.
    let bytes = |bytes: usize| format!("X: {}", "y".repeat(bytes - 9 - 5));
    let large = || refused(431, "headers_too_large");
    run(&[
        case("RFC 6585 5", "many bytes in one line", get("/", &bytes(1 << 17)), large()),
        case(
            "RFC 6585 5",
            "many bytes in many lines",
            get("/", &format!("X: {}\r\n", "y".repeat(500)).repeat(80)),
            large(),
        ),
        case("RFC 6585 5", "many lines", get("/", &lines(1000)), large()),
        case("house", "bytes at the limit", get("/", &bytes(32 * 1024)), passes(&[Without("x-never")])),
        case("house", "a byte over it", get("/", &bytes(32 * 1024 + 1)), large()),
        case("house", "lines at the limit", get("/", &lines(99)), passes(&[Holds(b"X: y\r\nX: y\r\n")])),
        case("house", "a line over it", get("/", &lines(100)), large()),
        case("house", "empty values", get("/", &"X:\r\n".repeat(100)), large()),
        case("house", "a long name", get("/", &format!("{}: y", "X".repeat(40 * 1024))), large()),
    ]);
}
