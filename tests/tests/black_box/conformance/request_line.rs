//! `method SP request-target SP HTTP-version CRLF` (RFC 9112 section 3): the line, the version, the method.

use super::case::Check::{Line, Only};
use super::case::{Expects, case, declined, get, message, passes, refused};
use super::run::run;

fn malformed() -> Expects {
    refused(400, "request_malformed")
}

#[test]
fn lines() {
    let line = |line: &str| format!("{line}\r\nHost: h\r\n\r\n");
    run(&[
        case("RFC 9112 3", "a plain line", line("GET / HTTP/1.1"), passes(&[Line("GET / HTTP/1.1"), Line("Host: h")])),
        case("RFC 9112 3", "no version", line("GET /"), malformed()),
        case("RFC 9112 3", "no version, no fields", "GET /\r\n\r\n", malformed()),
        case("RFC 9112 3", "no target", line("GET HTTP/1.1"), malformed()),
        case("RFC 9112 3", "an empty target", line("GET  HTTP/1.1"), malformed()),
        case("RFC 9112 3", "no method", line("/ HTTP/1.1"), malformed()),
        case("RFC 9112 3", "an empty method", line(" / HTTP/1.1"), malformed()),
        case("RFC 9112 3", "a word too many", line("GET / x HTTP/1.1"), malformed()),
        case("RFC 9112 3", "a version too many", line("GET / HTTP/1.1 HTTP/1.1"), malformed()),
        case("RFC 9112 3", "two spaces before the target", line("GET  / HTTP/1.1"), malformed()),
        case("RFC 9112 3", "two spaces before the version", line("GET /  HTTP/1.1"), malformed()),
        case("RFC 9112 3", "a space in front", line(" GET / HTTP/1.1"), malformed()),
        case("RFC 9112 3", "a space behind", line("GET / HTTP/1.1 "), malformed()),
        case("RFC 9112 3", "a tab for a space", line("GET\t/ HTTP/1.1"), malformed()),
        case("RFC 9112 3", "a tab before the version", line("GET /\tHTTP/1.1"), malformed()),
        case("RFC 9112 3", "VT for a space", line("GET\x0b/ HTTP/1.1"), malformed()),
        case("RFC 9112 3", "FF for a space", line("GET /\x0cHTTP/1.1"), malformed()),
        case("RFC 9112 3", "a no-break space", line("GET\u{a0}/ HTTP/1.1"), malformed()),
        case("RFC 9112 3", "words", "hello there\r\n\r\n", malformed()),
        case("RFC 9112 3", "an answer", line("HTTP/1.1 200 OK"), malformed()),
        case("RFC 9112 3", "TLS", "\x16\x03\x01\x00\u{7f}\x01\x00\x00\x7b\x03\x03\r\n\r\n", malformed()),
        case("RFC 9112 2.2", "a bare LF", "GET / HTTP/1.1\nHost: h\r\n\r\n", malformed()),
        case("RFC 9112 2.2", "a bare CR behind", "GET / HTTP/1.1\rHost: h\r\n\r\n", malformed()),
        case("RFC 9112 2.2", "a bare CR in the target", line("GET /\r/ HTTP/1.1"), malformed()),
        case("RFC 9112 2.2", "a CR too many", "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", malformed()),
        case(
            "RFC 9112 2.2",
            "an empty line first",
            format!("\r\n{}", line("GET / HTTP/1.1")),
            passes(&[Line("Host: h")]),
        ),
        case("RFC 9112 2.2", "two empty lines first", format!("\r\n\r\n{}", line("GET / HTTP/1.1")), malformed()),
        case("RFC 9112 2.2", "a bare LF first", format!("\n{}", line("GET / HTTP/1.1")), malformed()),
        case("RFC 9112 2.2", "a blank line first", format!(" \r\n{}", line("GET / HTTP/1.1")), malformed()),
        case("RFC 9112 2.2", "NUL first", format!("\0{}", line("GET / HTTP/1.1")), malformed()),
        case("RFC 3629", "a byte order mark first", format!("\u{feff}{}", line("GET / HTTP/1.1")), malformed()),
        case(
            "RFC 9112 3",
            "a long line",
            get(&format!("/{}", "x".repeat(9000)), ""),
            refused(414, "request_line_too_long"),
        ),
        case(
            "house",
            "a line at its limit",
            get(&format!("/{}", "x".repeat(8192 - 14)), ""),
            passes(&[Only("host: h")]),
        ),
        case(
            "house",
            "a line one byte over its limit",
            get(&format!("/{}", "x".repeat(8192 - 13)), ""),
            refused(414, "request_line_too_long"),
        ),
    ]);
}

#[test]
fn versions() {
    let version = |version: &str| format!("GET / {version}\r\nHost: h\r\n\r\n");
    run(&[
        case("RFC 9112 2.3", "HTTP/1.0 goes on as 1.1", version("HTTP/1.0"), {
            passes(&[Line("GET / HTTP/1.1"), Only("host: h")]).closes()
        }),
        case("RFC 9112 2.3", "lower case", version("http/1.1"), malformed()),
        case("RFC 9112 2.3", "mixed case", version("Http/1.1"), malformed()),
        case("RFC 9112 2.3", "HTTP/0.9", version("HTTP/0.9"), malformed()),
        case("RFC 9110 2.5", "HTTP/1.2", version("HTTP/1.2"), malformed()),
        case("RFC 9112 2.3", "HTTP/2.0", version("HTTP/2.0"), malformed()),
        case("RFC 9112 2.3", "HTTP/3.7", version("HTTP/3.7"), malformed()),
        case("RFC 9112 2.3", "two digits", version("HTTP/1.10"), malformed()),
        case("RFC 9112 2.3", "a zero in front", version("HTTP/01.1"), malformed()),
        case("RFC 9112 2.3", "no minor", version("HTTP/1"), malformed()),
        case("RFC 9112 2.3", "an empty minor", version("HTTP/1."), malformed()),
        case("RFC 9112 2.3", "a comma", version("HTTP/1,1"), malformed()),
        case("RFC 9112 2.3", "a space in it", version("HTTP/ 1.1"), malformed()),
        case("RFC 9112 2.3", "another protocol", version("ICY/1.1"), malformed()),
        case("RFC 9112 2.3", "a longer name", version("XHTTP/1.1"), malformed()),
        case("RFC 9113 3.4", "half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n", malformed()),
    ]);
}

#[test]
fn methods() {
    run(&[
        case("RFC 9110 9.1", "one that nobody knows", message("M-X!", "/", "", ""), passes(&[Line("M-X! / HTTP/1.1")])),
        case("RFC 9110 9.1", "all marks of a token", message("!#$%&'*+-.^_`|~9A", "/", "", ""), {
            passes(&[Line("!#$%&'*+-.^_`|~9A / HTTP/1.1")])
        }),
        case(
            "RFC 9110 9.1",
            "lower case is another, but not to every server",
            message("get", "/", "", ""),
            declined(400, "method_malformed"),
        ),
        case("RFC 9110 9.1", "one of its own", message("purge", "/", "", ""), passes(&[Line("purge / HTTP/1.1")])),
        case("RFC 9110 9.3.1", "GET with a body", message("GET", "/", "Content-Length: 3", "abc"), {
            passes(&[Line("GET / HTTP/1.1"), super::case::Check::Body("abc")])
        }),
        case(
            "RFC 9110 9.3.5",
            "DELETE without a body",
            message("DELETE", "/", "", ""),
            passes(&[Line("DELETE / HTTP/1.1")]),
        ),
        case("RFC 9110 9.1", "a parenthesis", message("G(T", "/", "", ""), malformed()),
        case("RFC 9110 9.1", "a colon", message("GET:", "/", "", ""), malformed()),
        case("RFC 9110 9.1", "quotes", message("\"GET\"", "/", "", ""), malformed()),
        case("RFC 9110 9.1", "NUL", message("G\0T", "/", "", ""), malformed()),
        case("RFC 9110 9.1", "DEL", message("G\x7fT", "/", "", ""), malformed()),
        case("RFC 9110 9.1", "above ASCII", message("G\u{e9}T", "/", "", ""), malformed()),
        case("house", "64 bytes", message(&"M".repeat(64), "/", "", ""), passes(&[Only("host: h")])),
        case("house", "65 bytes", message(&"M".repeat(65), "/", "", ""), malformed()),
    ]);
}
