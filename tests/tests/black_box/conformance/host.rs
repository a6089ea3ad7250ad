//! Which host is meant (RFC 9112 section 3.2, RFC 9110 section 7.2): one, or none that anybody may guess.

use super::case::Check::{Line, Only};
use super::case::{Case, case, passes, refused};
use super::run::run;

/// A GET whose lines are these alone.
fn lines(clause: &'static str, name: &'static str, lines: &str, expects: super::case::Expects) -> Case {
    case(clause, name, format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n"), expects)
}

#[test]
fn hosts() {
    let bad = || refused(400, "bad_host");
    run(&[
        lines(
            "RFC 9112 3.2",
            "a name",
            "Host: example.org",
            passes(&[Only("host: example.org"), Only("x-forwarded-host: example.org")]),
        ),
        lines("RFC 9110 7.2", "a port", "Host: h:8080", passes(&[Only("host: h:8080")])),
        lines("RFC 3986 3.2.3", "an empty port", "Host: h:", passes(&[Only("host: h:")])),
        lines("RFC 3986 3.2.2", "IPv6 and a port", "Host: [2001:db8::1]:80", passes(&[Only("host: [2001:db8::1]:80")])),
        lines("RFC 9110 7.2", "an empty one", "Host:", passes(&[Line("Host:")])),
        lines("RFC 9110 5.5", "blanks around it", "hOsT: \t h \t", passes(&[Only("host: h")])),
        lines("RFC 9110 7.2", "behind other fields", "X-A: b\r\nHost: h", passes(&[Only("host: h")])),
        lines("RFC 9112 3.2", "none", "X-A: b", bad()),
        lines("RFC 9112 3.2", "two", "Host: a\r\nHost: b", bad()),
        lines("RFC 9112 3.2", "two equal ones", "Host: a\r\nhost: a", bad()),
        lines("RFC 9112 3.2", "one and an empty one", "Host: a\r\nHost:", bad()),
        lines("RFC 9112 3.2", "a list", "Host: a, b", bad()),
        lines("RFC 9110 4.2.4", "userinfo", "Host: u@a", bad()),
        lines("RFC 9112 3.2", "a path", "Host: a/b", bad()),
        lines("RFC 9112 3.2", "a query", "Host: a?b", bad()),
        lines("RFC 9112 3.2", "a fragment", "Host: a#b", bad()),
        lines("RFC 9112 3.2", "a backslash", "Host: a\\b", bad()),
        lines("RFC 9112 3.2", "a scheme", "Host: http://a", bad()),
        lines("RFC 9112 3.2", "a blank in it", "Host: a b", bad()),
        lines("RFC 9112 3.2", "a tab in it", "Host: a\tb", bad()),
        lines("RFC 9112 3.2", "quotes", "Host: \"a\"", bad()),
        lines("RFC 3986 3.2.2", "above ASCII", "Host: \u{e9}", bad()),
        lines("RFC 3986 3.2.2", "an escape that is none", "Host: %zz", bad()),
        lines("RFC 3986 3.2.2", "half an IPv6 address", "Host: [::1", bad()),
        lines("RFC 3986 3.2.2", "more behind an IPv6 address", "Host: [::1]x", bad()),
        lines("RFC 3986 3.2.2", "IPv6 without brackets", "Host: ::1", bad()),
        lines("RFC 3986 3.2.2", "brackets around a name", "Host: [a]", bad()),
        lines("RFC 3986 3.2.2", "a zone", "Host: [fe80::1%25eth0]", bad()),
        lines("RFC 3986 3.2.3", "a port of letters", "Host: h:http", bad()),
        lines("RFC 3986 3.2.3", "a signed port", "Host: h:+80", bad()),
        lines("RFC 3986 3.2.3", "two ports", "Host: h:80:80", bad()),
        lines("house", "a long port", "Host: h:000080", bad()),
        lines("house", "a long name", &format!("Host: {}", "a".repeat(256)), bad()),
        case("RFC 9112 3.2", "none in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", passes(&[Line("GET / HTTP/1.1")]).closes()),
        case("RFC 9112 3.2", "two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", bad()),
        case("RFC 9112 3.2", "a bad one in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", bad()),
    ]);
}
