//! Targets taken apart, and requests as they go on.

use super::*;

const ROOMY: HeadLimits = HeadLimits { start_line: 1024, fields: 4096, count: 64 };

fn parsed(text: &str) -> RequestHead {
    RequestHead::parse(text.as_bytes(), &ROOMY).unwrap().unwrap().0
}

/// Form, authority, path and query.
#[track_caller]
fn check(method: &str, target: &str, expected: (Target, Option<&str>, &str, Option<&str>)) {
    let head = parsed(&format!("{method} {target} HTTP/1.1\r\n\r\n"));
    assert_eq!((head.form(), head.authority(), head.path(), head.query()), expected, "{target}");
    assert_eq!(head.path_bytes(), head.path().as_bytes());
    let made = RequestHead::new(method, target, Version::Http11).unwrap();
    assert_eq!((made.form(), made.authority(), made.path(), made.query()), expected, "{target}");
}

#[test]
fn targets_are_taken_apart() {
    check("GET", "/", (Target::Origin, None, "/", None));
    check("GET", "/a?", (Target::Origin, None, "/a", Some("")));
    check("GET", "/a?b?c/d", (Target::Origin, None, "/a", Some("b?c/d")));
    check("GET", "//h/x", (Target::Origin, None, "//h/x", None));
    check("GET", "/http://h/", (Target::Origin, None, "/http://h/", None));
    check("GET", "http://h", (Target::Absolute, Some("h"), "/", None));
    check("GET", "http://h?q", (Target::Absolute, Some("h"), "/", Some("q")));
    check("GET", "http://h/p?q", (Target::Absolute, Some("h"), "/p", Some("q")));
    check("GET", "HTTPS://H:1/p", (Target::Absolute, Some("H:1"), "/p", None));
    // Whether an authority is one is for whoever serves it.
    check("GET", "http://u@h/p", (Target::Absolute, Some("u@h"), "/p", None));
    check("GET", "http://h:x\\/p", (Target::Absolute, Some("h:x\\"), "/p", None));
    check("OPTIONS", "*", (Target::Asterisk, None, "*", None));
    check("OPTIONS", "/", (Target::Origin, None, "/", None));
    check("CONNECT", "h:443", (Target::Authority, Some("h:443"), "", None));
    check("CONNECT", "h", (Target::Authority, Some("h"), "", None));
    // Methods have case: this is another one.
    check("connect", "/", (Target::Origin, None, "/", None));
}

#[test]
fn what_could_not_stand_in_a_request_line_is_no_head() {
    for method in ["", "A B", "A\r", "\u{e9}", "A:"] {
        assert_eq!(RequestHead::new(method, "/", Version::Http11).err(), Some(Fault::Method), "{method:?}");
    }
    for target in ["", " ", "/ x", "/#", "/\r\n", "/\u{e9}", "x", "*", "http://"] {
        assert_eq!(RequestHead::new("GET", target, Version::Http11).err(), Some(Fault::Target), "{target:?}");
    }
}

#[track_caller]
fn written(text: &str, target: Option<&str>, expected: &str) {
    let mut out = Vec::new();
    parsed(text).write(target, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn requests_go_on_in_origin_form_and_as_http_1_1() {
    written("GET /a?b HTTP/1.1\r\nHost:h\r\n\r\n", None, "GET /a?b HTTP/1.1\r\nHost:h\r\n");
    written("GET /a?b HTTP/1.0\r\n\r\n", None, "GET /a?b HTTP/1.1\r\n");
    written("GET http://h HTTP/1.1\r\n\r\n", None, "GET / HTTP/1.1\r\n");
    written("GET http://h?q HTTP/1.1\r\nA: \t b \t\r\n\r\n", None, "GET /?q HTTP/1.1\r\nA: \t b \t\r\n");
    written("OPTIONS * HTTP/1.1\r\n\r\n", None, "OPTIONS * HTTP/1.1\r\n");
    written("OPTIONS * HTTP/1.0\r\n\r\n", None, "OPTIONS * HTTP/1.1\r\n");
    written("GET /a?b HTTP/1.1\r\n\r\n", Some("/c?d"), "GET /c?d HTTP/1.1\r\n");
}
