//! Requests of a client of HTTP/2 (RFC 9113 section 8.3): what their pseudo-header fields may be, and what reaches an upstream
//! of HTTP/1.1 of them.

use tests::http2::{block, flag, frame, get_fields, headers, kind, post_fields, setting, settings};

use super::http2_case::Expects::{Malformed, Refused};
use super::http2_case::{Case, case, passes, passes_without, run};

/// A request of these fields alone.
fn of(clause: &'static str, name: &'static str, fields: &[(&str, &str)], expects: super::http2_case::Expects) -> Case {
    case(clause, name, headers(1, fields, true), expects)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "h");
const PATH: (&str, &str) = (":path", "/");

#[test]
fn pseudo_header_fields() {
    let path = |path| [METHOD, SCHEME, HOST, (":path", path)];
    let host = |host| [METHOD, SCHEME, (":authority", host), PATH];
    run(&[
        of("RFC 9113 8.3.1", "all of them", &[METHOD, SCHEME, HOST, PATH], passes(&["GET / HTTP/1.1\r\nhost: h\r\n"])),
        of(
            "RFC 9113 8.3",
            "in another order",
            &[PATH, HOST, METHOD, SCHEME],
            passes(&["GET / HTTP/1.1\r\nhost: h\r\n"]),
        ),
        of("RFC 9113 8.3.1", "no method", &[SCHEME, HOST, PATH], Malformed),
        of("RFC 9113 8.3.1", "no scheme", &[METHOD, HOST, PATH], Malformed),
        of("RFC 9113 8.3.1", "no path", &[METHOD, SCHEME, HOST], Malformed),
        of("RFC 9113 8.3", "two methods", &[METHOD, (":method", "POST"), SCHEME, HOST, PATH], Malformed),
        of("RFC 9113 8.3", "the same method twice", &[METHOD, METHOD, SCHEME, HOST, PATH], Malformed),
        of("RFC 9113 8.3", "two schemes", &[METHOD, SCHEME, SCHEME, HOST, PATH], Malformed),
        of("RFC 9113 8.3", "two paths", &[METHOD, SCHEME, HOST, PATH, (":path", "/admin")], Malformed),
        of("RFC 9113 8.3", "two authorities", &[METHOD, SCHEME, HOST, (":authority", "i"), PATH], Malformed),
        of("RFC 9113 8.3", "behind a field", &[METHOD, SCHEME, HOST, ("x-a", "b"), PATH], Malformed),
        of("RFC 9113 8.3", "an unknown one", &[METHOD, SCHEME, HOST, PATH, (":x", "y")], Malformed),
        of("RFC 9113 8.3", "one of answers", &[METHOD, SCHEME, HOST, PATH, (":status", "200")], Malformed),
        of(
            "RFC 8441 4",
            "a protocol without CONNECT",
            &[METHOD, SCHEME, HOST, PATH, (":protocol", "websocket")],
            Malformed,
        ),
        of("RFC 9113 8.3.1", "an empty path", &path(""), Malformed),
        of("RFC 9113 8.3.1", "a path without a slash", &path("admin"), Malformed),
        of("RFC 9113 8.3.1", "a whole URL as a path", &path("http://evil/"), Malformed),
        of("RFC 9113 8.3.1", "a query as a path", &path("?a=b"), Malformed),
        of("RFC 9112 3.2.4", "an asterisk for GET", &path("*"), Malformed),
        of(
            "RFC 9112 3.2.4",
            "an asterisk for OPTIONS",
            &[(":method", "OPTIONS"), SCHEME, HOST, (":path", "*")],
            Malformed,
        )
        .owed("as in HTTP/1.1, it is a path like others"),
        of("RFC 3986 3.5", "a fragment", &path("/a#b"), Malformed)
            .owed("the crate http takes it off: `GET /a` goes upstream"),
        of("RFC 9113 10.3", "a blank in a path", &path("/a HTTP/1.1"), Malformed),
        of("RFC 9113 10.3", "a line in a path", &path("/ HTTP/1.1\r\nHost: evil\r\n\r\n"), Malformed),
        of("RFC 9113 10.3", "a tab in a path", &path("/\t"), Malformed),
        of("RFC 9113 10.3", "NUL in a path", &path("/\0"), Malformed),
        of("RFC 9113 8.3.1", "a query", &path("/a?b=c&d"), passes(&["GET /a?b=c&d HTTP/1.1\r\n"])),
        of(
            "RFC 9113 10.3",
            "a line in a method",
            &[(":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"), SCHEME, HOST, PATH],
            Malformed,
        ),
        of("RFC 9113 10.3", "a blank in a method", &[(":method", "GET /admin"), SCHEME, HOST, PATH], Malformed),
        of("RFC 9110 9.1", "an empty method", &[(":method", ""), SCHEME, HOST, PATH], Malformed),
        of(
            "RFC 9110 9.1",
            "a method of one's own",
            &[(":method", "Fetch-It"), SCHEME, HOST, PATH],
            passes(&["Fetch-It / HTTP/1.1\r\n"]),
        ),
        of("house", "another scheme", &[METHOD, (":scheme", "ftp"), HOST, PATH], Refused(400, "request_malformed")),
        of("RFC 9113 8.3.1", "a scheme that is none", &[METHOD, (":scheme", "http://evil/?"), HOST, PATH], Malformed),
        of("RFC 9113 8.3.1", "a scheme with a line", &[METHOD, (":scheme", "http\r\nx: y"), HOST, PATH], Malformed),
        of(
            "house",
            "the other scheme",
            &[METHOD, (":scheme", "https"), HOST, PATH],
            passes(&["x-forwarded-proto: http\r\n"]),
        ),
        of("RFC 9113 8.3.1", "userinfo", &host("user@h"), Malformed),
        of("RFC 9113 8.3.1", "a path in the authority", &host("h/x"), Malformed),
        of("RFC 9113 8.3.1", "a blank in the authority", &host("h i"), Malformed),
        of("RFC 9113 10.3", "a line in the authority", &host("h\r\nx: y"), Malformed),
        of("RFC 3986 3.2.3", "a port of letters", &host("h:http"), Malformed),
        of("RFC 9113 8.3.1", "an empty authority", &host(""), Malformed),
        of("RFC 9113 8.3.1", "a port", &host("h:8080"), passes(&["\r\nhost: h:8080\r\n"])),
        of("RFC 3986 3.2.2", "IPv6", &host("[2001:db8::1]:80"), passes(&["\r\nhost: [2001:db8::1]:80\r\n"])),
        of("RFC 9110 7.2", "neither authority nor host", &[METHOD, SCHEME, PATH], Malformed),
        of("RFC 9113 8.3.1", "host alone", &[METHOD, SCHEME, PATH, ("host", "i")], passes(&["\r\nhost: i\r\n"])),
        of(
            "RFC 9113 8.3.1",
            "the same host",
            &[METHOD, SCHEME, HOST, PATH, ("host", "h")],
            passes(&["\r\nhost: h\r\n"]),
        ),
        of("RFC 9113 8.3.1", "another host", &[METHOD, SCHEME, HOST, PATH, ("host", "evil")], Malformed),
        of("RFC 9113 8.3.1", "two hosts", &[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")], Malformed),
        of(
            "RFC 9113 8.3.1",
            "two hosts, one of them right",
            &[METHOD, SCHEME, HOST, PATH, ("host", "h"), ("host", "evil")],
            Malformed,
        ),
        of(
            "RFC 9113 8.3.1",
            "the same host twice",
            &[METHOD, SCHEME, HOST, PATH, ("host", "h"), ("host", "h")],
            Malformed,
        ),
        of(
            "RFC 9113 8.5",
            "CONNECT",
            &[(":method", "CONNECT"), (":authority", "h:80")],
            Refused(501, "connect_refused"),
        ),
        of("RFC 9113 8.5", "CONNECT with a path", &[(":method", "CONNECT"), SCHEME, HOST, PATH], Malformed),
    ]);
}

/// Behind a POST with a body.
fn body(lengths: &[&str], sends: &[(&str, bool)]) -> Vec<u8> {
    let lengths = lengths.iter().map(|length| ("content-length", *length));
    let fields: Vec<_> = post_fields("/").into_iter().chain(lengths).collect();
    let mut bytes = headers(1, &fields, sends.is_empty());
    for (piece, ends) in sends {
        bytes.extend(frame(kind::DATA, u8::from(*ends), 1, piece));
    }
    bytes
}

#[test]
fn bodies() {
    let whole = |text| [(text, true)];
    let trailers = |fields: &[(&str, &str)]| [body(&[], &[("ab", false)]), headers(1, fields, true)].concat();
    run(&[
        case(
            "RFC 9113 8.1",
            "no length",
            body(&[], &whole("ab")),
            passes(&["transfer-encoding: chunked\r\n", "\r\n\r\nab"]),
        ),
        case(
            "RFC 9113 8.1",
            "in pieces",
            body(&[], &[("a", false), ("", false), ("b", false), ("", true)]),
            passes(&["\r\n\r\nab"]),
        ),
        case("RFC 9110 8.6", "a length", body(&["2"], &whole("ab")), passes(&["content-length: 2\r\n", "\r\n\r\nab"])),
        case("RFC 9113 8.1.1", "shorter than its length", body(&["3"], &whole("ab")), Malformed),
        case("RFC 9113 8.1.1", "longer than its length", body(&["1"], &whole("ab")), Malformed),
        case("RFC 9113 8.1.1", "a length and no body", body(&["3"], &[]), Malformed),
        case("RFC 9113 8.1.1", "a length and an empty body", body(&["3"], &[("", true)]), Malformed),
        case("RFC 9113 8.1.1", "a body, and a length of 0", body(&["0"], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "a length of 0", body(&["0"], &[]), passes(&["content-length: 0\r\n"])),
        case("RFC 9110 8.6", "two lengths", body(&["2", "3"], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "a list of lengths", body(&["2, 2"], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "a signed length", body(&["+2"], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "a length of letters", body(&["0x2"], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "an empty length", body(&[""], &whole("ab")), Malformed),
        case("RFC 9110 8.6", "a length over 64 bits", body(&["18446744073709551618"], &whole("ab")), Malformed),
        case("RFC 9113 8.1", "trailer fields", trailers(&[("x-sum", "7")]), passes(&["\r\n\r\nab", "x-sum\", \"7"])),
        case("RFC 9113 8.1", "an empty trailer block", trailers(&[]), passes(&["\r\n\r\nab[]"])),
        case("RFC 9113 8.3", "a pseudo-header field in trailers", trailers(&[(":path", "/admin")]), Malformed)
            .owed("the crate h2 leaves it out"),
        case("RFC 9113 8.2.1", "a line in a trailer field", trailers(&[("x-a", "b\r\nc: d")]), Malformed),
        case("RFC 9113 8.2.1", "a capital in a trailer field", trailers(&[("X-A", "b")]), Malformed),
        case(
            "RFC 9110 6.5.1",
            "framing in trailers",
            trailers(&[("content-length", "0"), ("x-b", "c")]),
            passes(&["\r\n\r\nab[(\"x-b\", \"c\")]"]),
        ),
        case("RFC 9113 8.2.2", "a coding in trailers", trailers(&[("transfer-encoding", "chunked")]), Malformed),
        case(
            "RFC 9110 6.5.1",
            "routing in trailers",
            trailers(&[("host", "evil"), ("authorization", "x"), ("x-forwarded-for", "9.9.9.9")]),
            passes_without(&["\r\n\r\nab"], &["evil", "authorization\", \"x", "9.9.9.9"]),
        ),
        case(
            "RFC 9110 10.1.1",
            "an expectation",
            [
                headers(1, &[&post_fields("/")[..], &[("expect", "100-continue")]].concat(), false),
                frame(kind::DATA, 1, 1, "ab"),
            ]
            .concat(),
            passes_without(&["\r\n\r\nab"], &["expect:"]),
        ),
        case(
            "RFC 9110 10.1.1",
            "another expectation",
            headers(1, &[&post_fields("/")[..], &[("expect", "miracles")]].concat(), true),
            Refused(417, "expectation_unknown"),
        ),
        case(
            "RFC 9113 6.9.2",
            "a window of 0, opened",
            {
                let closed = settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
                let opened = settings(&[(setting::INITIAL_WINDOW_SIZE, 60_000)]);
                [closed, headers(1, &get_fields("/"), true), opened].concat()
            },
            passes(&["GET / "]),
        ),
        case(
            "RFC 9113 8.1",
            "a body of GET",
            [frame(kind::HEADERS, flag::END_HEADERS, 1, block(&get_fields("/"))), frame(kind::DATA, 1, 1, "ab")]
                .concat(),
            passes(&["\r\n\r\nab"]),
        ),
    ]);
}
