//! Fields of a client of HTTP/2 (RFC 9113 section 8.2): nothing that HTTP/1.1 would read otherwise reaches an upstream.

use tests::http2::{code, flag, frame, get_fields, headers, kind, raw_block};

use super::http2_case::Expects::{Bare, Ends, Malformed, Refused};
use super::http2_case::{Case, Expects, case, passes, passes_without, run, run_with};

/// A GET with these fields.
fn with(clause: &'static str, name: &'static str, fields: &[(&[u8], &[u8])], expects: Expects) -> Case {
    let own = get_fields("/");
    let own = own.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let fields: Vec<_> = own.chain(fields.iter().copied()).collect();
    case(clause, name, frame(kind::HEADERS, flag::WHOLE, 1, raw_block(&fields)), expects)
}

#[test]
fn names_and_values() {
    run(&[
        with("RFC 9113 8.2.1", "a capital in a name", &[(b"X-Up", b"a")], Malformed),
        with("RFC 9113 8.2.1", "a capital at the end", &[(b"x-uP", b"a")], Malformed),
        with("RFC 9113 8.2.1", "an empty name", &[(b"", b"a")], Malformed),
        with("RFC 9113 8.2.1", "a colon in a name", &[(b"x:y", b"a")], Malformed),
        with("RFC 9113 8.2.1", "a blank in a name", &[(b"x y", b"a")], Malformed),
        with("RFC 9113 8.2.1", "a line in a name", &[(b"x: y\r\nz", b"a")], Malformed),
        with("RFC 9113 8.2.1", "a tab in a name", &[(b"x\t", b"a")], Malformed),
        with("RFC 9113 8.2.1", "NUL in a name", &[(b"x\0", b"a")], Malformed),
        with("RFC 9113 8.2.1", "above ASCII in a name", &[(b"x\xe9", b"a")], Malformed),
        with("RFC 9113 8.2.1", "quotes in a name", &[(b"x\"y\"", b"a")], Malformed),
        with("RFC 9113 8.2.1", "CR LF in a value", &[(b"x-a", b"b\r\nhost: evil")], Malformed),
        with("RFC 9113 8.2.1", "CR in a value", &[(b"x-a", b"b\rc")], Malformed),
        with("RFC 9113 8.2.1", "LF in a value", &[(b"x-a", b"b\nc: d")], Malformed),
        with("RFC 9113 8.2.1", "NUL in a value", &[(b"x-a", b"b\0c")], Malformed),
        with(
            "RFC 9113 8.2.1",
            "the whole end of a head in a value",
            &[(b"x-a", b"b\r\n\r\nGET /admin HTTP/1.1\r\n\r\n")],
            Malformed,
        ),
        with("RFC 9113 8.2.1", "a blank before a value", &[(b"x-a", b" b")], Malformed),
        with("RFC 9113 8.2.1", "a tab before a value", &[(b"x-a", b"\tb")], Malformed),
        with("RFC 9113 8.2.1", "a blank behind a value", &[(b"x-a", b"b ")], Malformed),
        with("RFC 9113 8.2.1", "a tab behind a value", &[(b"x-a", b"b\t")], Malformed),
        with("RFC 9110 5.5", "a control character in a value", &[(b"x-a", b"b\x01c")], Malformed),
        with("RFC 9110 5.5", "DEL in a value", &[(b"x-a", b"b\x7fc")], Malformed),
        with("RFC 9110 5.5", "a blank and a tab within", &[(b"x-a", b"b \tc")], passes(&["x-a: b \tc\r\n"])),
        with("RFC 9110 5.5", "above ASCII in a value", &[(b"x-a", "\u{e9}".as_bytes())], passes(&["x-a: \u{e9}\r\n"])),
        with("RFC 9110 5.5", "an empty value", &[(b"x-a", b"")], passes(&["x-a: \r\n"])),
        with(
            "RFC 9110 5.3",
            "a field twice",
            &[(b"x-a", b"b"), (b"x-b", b""), (b"x-a", b"c")],
            passes(&["x-a: b\r\nx-a: c\r\n"]),
        ),
        with("RFC 9110 5.6.2", "odd names", &[(b"!#$%&'*+-.^_`|~9", b"a")], passes(&["!#$%&'*+-.^_`|~9: a\r\n"])),
        with(
            "RFC 9113 8.2.3",
            "cookies",
            &[(b"cookie", b"a=1"), (b"x-a", b"b"), (b"cookie", b"c=2"), (b"cookie", b"d=3; e=4")],
            passes(&["\r\ncookie: a=1; c=2; d=3; e=4\r\n"]),
        ),
        with("RFC 9113 8.2.3", "a line in a cookie", &[(b"cookie", b"a=1"), (b"cookie", b"b\r\nx: y")], Malformed),
    ]);
}

#[test]
fn fields_of_a_connection() {
    run(&[
        with("RFC 9113 8.2.2", "connection: close", &[(b"connection", b"close")], Malformed),
        with("RFC 9113 8.2.2", "connection: a field", &[(b"connection", b"x-a"), (b"x-a", b"b")], Malformed),
        with("RFC 9113 8.2.2", "keep-alive", &[(b"keep-alive", b"timeout=5")], Malformed),
        with("RFC 9113 8.2.2", "proxy-connection", &[(b"proxy-connection", b"keep-alive")], Malformed),
        with("RFC 9113 8.2.2", "transfer-encoding: chunked", &[(b"transfer-encoding", b"chunked")], Malformed),
        with("RFC 9113 8.2.2", "transfer-encoding: identity", &[(b"transfer-encoding", b"identity")], Malformed),
        with("RFC 9113 8.2.2", "transfer-encoding of nothing", &[(b"transfer-encoding", b"")], Malformed),
        with("RFC 9113 8.2.2", "upgrade", &[(b"upgrade", b"websocket")], Malformed),
        with(
            "RFC 9113 8.2.2",
            "upgrade: h2c",
            &[(b"upgrade", b"h2c"), (b"http2-settings", b"AAMAAABkAAQAAP__")],
            Malformed,
        ),
        with("RFC 9113 8.2.2", "te: gzip", &[(b"te", b"gzip")], Malformed),
        with("RFC 9113 8.2.2", "te: trailers and more", &[(b"te", b"trailers, gzip")], Malformed),
        with("RFC 9113 8.2.2", "te: trailers", &[(b"te", b"trailers")], passes(&["te: trailers\r\n"])),
        with(
            "RFC 9110 7.6.1",
            "what is said to a proxy alone",
            &[(b"proxy-authorization", b"Basic eA=="), (b"x-a", b"b")],
            passes_without(&["x-a: b\r\n"], &["proxy-authorization"]),
        ),
        with(
            "house",
            "where it came from",
            &[
                (b"x-forwarded-for", b"9.9.9.9"),
                (b"forwarded", b"for=9.9.9.9"),
                (b"x-forwarded-proto", b"https"),
                (b"x-forwarded-client-cert", b"Subject=root"),
                (b"client-cert", b":AA==:"),
                (b"x-real-ip", b"9.9.9.9"),
            ],
            passes_without(
                &["x-forwarded-for: 127.0.0.1\r\n", "x-forwarded-proto: http\r\n"],
                &["9.9.9.9", "root", "client-cert"],
            ),
        ),
        with("RFC 9110 7.6.3", "via", &[(b"via", b"1.1 other")], passes(&["via: 2 proxyd\r\n"])),
        with(
            "house",
            "two ids",
            &[(b"x-request-id", b"a"), (b"x-request-id", b"b")],
            passes_without(&["x-request-id: a\r\n"], &["x-request-id: b"]),
        ),
    ]);
}

#[test]
fn limits() {
    let long = |count: usize| "a".repeat(count);
    let path = |length: usize| {
        let path = format!("/{}", long(length - 1));
        headers(1, &[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", &path)], true)
    };
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
        let own: Vec<(&str, &str)> =
            get_fields("/").into_iter().chain(names.iter().map(|name| (&**name, ""))).collect();
        headers(1, &own, true)
    };
    let wide = |size: usize| headers(1, &[&get_fields("/")[..], &[("x-a", &long(size))]].concat(), true);
    // As one compressed field that is used again and again: small on the wire, large behind it (RFC 9113 section 10.5.1).
    let bomb = |times: usize| {
        let value = long(2000);
        let mut block = tests::http2::block(&get_fields("/"));
        block.extend([0x40, 3]);
        block.extend(b"x-a");
        block.extend([0x7f, 0xd1, 0x0e]);
        block.extend(value.as_bytes());
        block.extend(vec![0xbe; times]);
        frame(kind::HEADERS, flag::WHOLE, 1, block)
    };
    let limits = "  limits: {request_line: 1KiB, headers: 8KiB, header_count: 20}\n";
    run_with(
        limits,
        &[
            case("RFC 9110 4.1", "a path at the limit", path(1000), passes(&["GET /aaa"])),
            case("RFC 9110 15.5.15", "a path over the limit", path(1025), Refused(414, "request_line_too_long")),
            case("RFC 9110 15.5.15", "a path far over the limit", path(15_000), Refused(414, "request_line_too_long")),
            case("RFC 6585 5", "as many fields as may be", many(18), passes(&["x-17: \r\n"])),
            case("RFC 6585 5", "too many fields", many(21), Refused(431, "headers_too_large")),
            case("RFC 6585 5", "far too many fields", many(1500), Bare(431)),
            case("RFC 6585 5", "fields at the limit", wide(8000), passes(&["x-a: aaa"])),
            case("RFC 6585 5", "fields over the limit", wide(8300), Refused(431, "headers_too_large")),
            case("RFC 9113 6.5.2", "fields over what SETTINGS say", wide(16_200), Refused(431, "headers_too_large")),
            case("RFC 9113 10.5.1", "fields that were small on the wire", bomb(5), Refused(431, "headers_too_large")),
            case("RFC 9113 10.5.1", "many of them", bomb(5000), Ends(code::ENHANCE_YOUR_CALM)),
        ],
    );
}
