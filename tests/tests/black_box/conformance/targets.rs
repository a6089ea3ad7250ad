//! The four forms of a request target (RFC 9112 section 3.2).

use super::case::Check::{Line, Only};
use super::case::{Expects, case, declined, get, message, passes, refused};
use super::run::{run, run_with};

fn malformed() -> Expects {
    refused(400, "request_malformed")
}

#[test]
fn origin() {
    run(&[
        case("RFC 9112 3.2.1", "a path", get("/a/b", ""), passes(&[Line("GET /a/b HTTP/1.1")])),
        case("RFC 9112 3.2.1", "a query", get("/a?b=c&d", ""), passes(&[Line("GET /a?b=c&d HTTP/1.1")])),
        case("RFC 9112 3.2.1", "an empty query", get("/a?", ""), passes(&[Line("GET /a? HTTP/1.1")])),
        case(
            "RFC 3986 3.4",
            "a question mark in the query",
            get("/a?b?c/../d", ""),
            passes(&[Line("GET /a?b?c/../d HTTP/1.1")]),
        ),
        case(
            "RFC 3986 3.4",
            "escapes in the query stay",
            get("/?%2f%00%zz%2E", ""),
            passes(&[Line("GET /?%2f%00%zz%2E HTTP/1.1")]),
        ),
        case(
            "RFC 3986 4.2",
            "two slashes are no authority",
            get("//x/y", ""),
            passes(&[Line("GET //x/y HTTP/1.1"), Only("host: h")]),
        ),
        case("house", "marks that no URI may hold", get("/\"<>^`{|}", ""), passes(&[Line("GET /\"<>^`{|} HTTP/1.1")])),
        case("RFC 9112 3.2", "a fragment", get("/#x", ""), malformed()),
        case("RFC 9112 3.2", "a fragment in the query", get("/?a#x", ""), malformed()),
        case("RFC 9112 3.2", "no slash", get("x", ""), malformed()),
        case("RFC 9112 3.2", "a query alone", get("?x", ""), malformed()),
        case("RFC 9112 3.2", "dots alone", get("..", ""), malformed()),
        case("RFC 9112 3.2", "an escaped slash first", get("%2fx", ""), malformed()),
        case("RFC 9112 3.2", "a backslash first", get("\\x", ""), malformed()),
        case("RFC 3986 2", "above ASCII", get("/\u{e9}", ""), malformed()),
        case("RFC 3986 2", "above ASCII in the query", get("/?\u{e9}", ""), malformed()),
        case("RFC 3986 2", "NUL", get("/\0", ""), malformed()),
        case("RFC 3986 2", "a control byte in the query", get("/?\x01", ""), malformed()),
        case("RFC 3986 2", "DEL", get("/\x7f", ""), malformed()),
    ]);
}

#[test]
fn absolute() {
    let absolute = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    run(&[
        case(
            "RFC 9112 3.2.2",
            "goes on in origin form",
            absolute("http://h/x?y", "h"),
            passes(&[Line("GET /x?y HTTP/1.1"), Only("host: h")]),
        ),
        case("RFC 9112 3.2.2", "without a path", absolute("http://h", "h"), passes(&[Line("GET / HTTP/1.1")])),
        case(
            "RFC 9112 3.2.2",
            "a query without a path",
            absolute("http://h?x", "h"),
            passes(&[Line("GET /?x HTTP/1.1")]),
        ),
        case("RFC 9110 4.2.3", "capitals", absolute("HTTP://H/", "h"), passes(&[Line("GET / HTTP/1.1")])),
        case(
            "RFC 9110 4.2.2",
            "https",
            absolute("https://h/x", "h"),
            passes(&[Line("GET /x HTTP/1.1"), Only("x-forwarded-proto: http")]),
        ),
        case(
            "RFC 9110 7.2",
            "a port",
            absolute("http://h:81/", "h:81"),
            passes(&[Line("GET / HTTP/1.1"), Only("host: h:81")]),
        ),
        case(
            "RFC 3986 3.2.2",
            "IPv6",
            absolute("http://[::1]:81/", "[::1]:81"),
            passes(&[Line("GET / HTTP/1.1"), Only("host: [::1]:81")]),
        ),
        case("RFC 3986 5.2.4", "dots in it", absolute("http://h/a/../b", "h"), passes(&[Line("GET /b HTTP/1.1")])),
        case(
            "RFC 9112 3.2.2",
            "OPTIONS without a path",
            message("OPTIONS", "http://h", "", ""),
            passes(&[Line("OPTIONS / HTTP/1.1")]),
        ),
        case("RFC 9112 3.2.2", "another host", absolute("http://a/", "b"), refused(400, "bad_host")),
        case("RFC 9112 3.2.2", "another port", absolute("http://h:81/", "h"), refused(400, "bad_host")),
        case("RFC 9112 3.2.2", "an empty Host", absolute("http://h/", ""), refused(400, "bad_host")),
        case("RFC 9112 3.2", "no Host", "GET http://h/ HTTP/1.1\r\n\r\n", refused(400, "bad_host")),
        case("RFC 9112 3.2.2", "no Host in HTTP/1.0", "GET http://h/x HTTP/1.0\r\n\r\n", {
            passes(&[Line("GET /x HTTP/1.1"), Only("host: h"), Only("x-forwarded-host: h")]).closes()
        }),
        case("RFC 9110 4.2.4", "userinfo", absolute("http://u@h/", "h"), refused(400, "bad_host")),
        case("RFC 9110 4.2.4", "userinfo in both", absolute("http://u:p@h/", "u:p@h"), refused(400, "bad_host")),
        case("RFC 9110 4.2.1", "no host", absolute("http:///x", "h"), malformed()),
        case("RFC 9110 4.2.1", "a port alone", absolute("http://:80/x", ":80"), refused(400, "bad_host")),
        case("RFC 9112 3.2.2", "a backslash in the authority", absolute("http://h\\x/", "h"), refused(400, "bad_host")),
        case("RFC 9112 3.2.2", "one slash", absolute("http:/h/x", "h"), malformed()),
        case("RFC 9112 3.2.2", "no slash", absolute("http:h", "h"), malformed()),
        case("RFC 9112 3.2.2", "another scheme", absolute("ftp://h/x", "h"), malformed()),
        case("RFC 9112 3.2.2", "a file", absolute("file:///etc/passwd", "h"), malformed()),
        case("RFC 9112 3.2.2", "a fragment", absolute("http://h/#x", "h"), malformed()),
    ]);
}

#[test]
fn authority_and_asterisk() {
    run(&[
        case(
            "RFC 9110 9.3.6",
            "CONNECT",
            "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
            refused(501, "connect_refused"),
        ),
        case(
            "RFC 9112 3.2.3",
            "CONNECT with another Host",
            message("CONNECT", "a:80", "", ""),
            refused(400, "bad_host"),
        ),
        case("RFC 9112 3.2.3", "CONNECT of a path", message("CONNECT", "/", "", ""), malformed()),
        case("RFC 9112 3.2.3", "CONNECT of an absolute target", message("CONNECT", "http://h/", "", ""), malformed()),
        case("RFC 9112 3.2.3", "an authority of GET", get("h:80", ""), malformed()),
        case("house", "OPTIONS of all has no route", message("OPTIONS", "*", "", ""), declined(404, "route_not_found")),
        case("RFC 9112 3.2.4", "GET of all", get("*", ""), malformed()),
        case("RFC 9112 3.2.4", "more than an asterisk", message("OPTIONS", "*x", "", ""), malformed()),
        case("RFC 9112 3.2.4", "an asterisk with a query", message("OPTIONS", "*?x", "", ""), malformed()),
        case(
            "RFC 9110 10.1.1",
            "an expectation that nobody knows",
            get("/", "Expect: a-miracle"),
            declined(417, "expectation_unknown"),
        ),
    ]);
}

/// The authority that counts chooses the route.
#[test]
fn the_authority_of_an_absolute_target_routes() {
    let from = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let inner = || passes(&[Line("GET /inner/x HTTP/1.1")]);
    let routes = "  - {name: inner, path: /, hosts: [inner.example], target: '{}', rewrite: {add_prefix: /inner}}\n";
    run_with(
        "",
        routes,
        &[
            case("RFC 9112 3.2.2", "its own", from("http://inner.example/x", "inner.example"), inner()),
            case("RFC 9110 4.2.3", "in capitals", from("http://INNER.example/x", "inner.example"), inner()),
            case("RFC 9110 7.2", "with a port", from("http://inner.example:81/x", "inner.example:81"), inner()),
            case("RFC 9112 3.2", "as Host", from("/x", "inner.example"), inner()),
            case("RFC 3986 3.2.2", "with a dot behind", from("/x", "inner.example."), inner()),
            case("RFC 9112 3.2.2", "another", from("http://h/x", "h"), passes(&[Line("GET /x HTTP/1.1")])),
            case(
                "RFC 9112 3.2.2",
                "that contradicts Host",
                from("http://h/x", "inner.example"),
                refused(400, "bad_host"),
            ),
        ],
    );
}
