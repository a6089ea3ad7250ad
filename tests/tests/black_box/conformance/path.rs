//! One path for all who read it (RFC 3986 section 6.2.2): what is matched is what is sent on.

use super::case::Check::{Line, Status};
use super::case::{Case, Expects, case, declined, get, passes};
use super::run::{run, run_with};

fn path(name: &'static str, target: &str, expects: Expects) -> Case {
    case("RFC 3986 6.2.2", name, get(target, ""), expects)
}

#[test]
fn one_form() {
    let malformed = || declined(400, "path_malformed");
    let slash = || declined(400, "path_encoded_slash");
    run(&[
        path("dots", "/a/./b/../c", passes(&[Line("GET /a/c HTTP/1.1")])),
        path("dots at the end", "/a/b/..", passes(&[Line("GET /a/ HTTP/1.1")])),
        path("above the root", "/../../etc/passwd", passes(&[Line("GET /etc/passwd HTTP/1.1")])),
        path("escaped dots", "/a/%2e%2e/b", passes(&[Line("GET /b HTTP/1.1")])),
        path("escaped in capitals", "/a/%2E%2E/b", passes(&[Line("GET /b HTTP/1.1")])),
        path("half escaped dots", "/a/.%2e/b", passes(&[Line("GET /b HTTP/1.1")])),
        path("an escaped dot", "/a/%2e/b", passes(&[Line("GET /a/b HTTP/1.1")])),
        path("three dots are a name", "/a/.../b", passes(&[Line("GET /a/.../b HTTP/1.1")])),
        path("double encoding stays", "/a/%252e%252e/b", passes(&[Line("GET /a/%252e%252e/b HTTP/1.1")])),
        path("a double encoded slash stays", "/a%252fb", passes(&[Line("GET /a%252fb HTTP/1.1")])),
        path("unreserved bytes are decoded", "/%61%2D%7e", passes(&[Line("GET /a-~ HTTP/1.1")])),
        path("other escapes are in capitals", "/%c3%a9%3b", passes(&[Line("GET /%C3%A9%3B HTTP/1.1")])),
        path("bytes that are no text stay", "/%ff%C0%AE", passes(&[Line("GET /%FF%C0%AE HTTP/1.1")])),
        path("slashes are kept", "//a///b//", passes(&[Line("GET //a///b// HTTP/1.1")])),
        path("dots behind two slashes", "/a//../b", passes(&[Line("GET /a/b HTTP/1.1")])),
        path("parameters are part of a name", "/a;x=y/b;z", passes(&[Line("GET /a;x=y/b;z HTTP/1.1")])),
        path("three dots with a parameter are a name", "/a/...;/b", passes(&[Line("GET /a/...;/b HTTP/1.1")])),
        path("a colon", "/a:b/@c", passes(&[Line("GET /a:b/@c HTTP/1.1")])),
        path("an escaped question mark", "/a%3Fb", passes(&[Line("GET /a%3Fb HTTP/1.1")])),
        path("an escaped fragment", "/a%23b", passes(&[Line("GET /a%23b HTTP/1.1")])),
        path("an escaped blank", "/a%20b", passes(&[Line("GET /a%20b HTTP/1.1")])),
        path("the query is nobody's path", "/a?/../%2e%2e/%2f", passes(&[Line("GET /a?/../%2e%2e/%2f HTTP/1.1")])),
        path("a backslash", "/a\\b", malformed()),
        path("a backslash for a slash", "/..\\..\\a", malformed()),
        path("an escaped backslash", "/a%5cb", slash()),
        path("an escaped slash", "/a%2fb", slash()),
        path("an escaped slash between dots", "/..%2f..%2fa", slash()),
        path("an escaped slash that dots take away", "/a%2fb/../c", slash()),
        case("RFC 3986 3.3", "dots with a parameter", get("/a/..;/b", ""), malformed()),
        case("RFC 3986 3.3", "escaped dots with a parameter", get("/a/%2e%2e;x=y/b", ""), malformed()),
        case("RFC 3986 3.3", "dots with an escaped parameter", get("/a/..%3bx/b", ""), malformed()),
        case("RFC 3986 3.3", "a dot with a parameter at the end", get("/a/.;", ""), malformed()),
        path("NUL", "/a%00", malformed()),
        path("CR LF", "/a%0d%0ax:y", malformed()),
        path("a control byte", "/a%1f", malformed()),
        path("DEL", "/a%7f", malformed()),
        path("half an escape", "/a%2", malformed()),
        path("a percent sign", "/a%", malformed()),
        path("an escape that is none", "/%zz", malformed()),
        path("an escape of another kind", "/%u002e%u002e/", malformed()),
    ]);
}

/// Nobody reaches what another route answers for by another spelling of its path.
#[test]
fn a_route_is_not_passed_by() {
    let closed = || Expects { reuses: None, ..declined(403, "") }.told(&[&[Status(403)]]);
    run_with(
        "",
        "  - {name: closed, path: /closed, respond: {status: 403}}\n",
        &[
            path("as it is", "/closed", closed()),
            path("escaped", "/%63losed", closed()),
            path("behind dots", "/open/../closed", closed()),
            path("behind escaped dots", "/open/%2e%2e/closed", closed()),
            path("with a dot", "/./closed", closed()),
            path("with an escaped dot at its end", "/closed/%2e", closed()),
            path("with a query", "/closed?x", closed()),
            path("in an absolute target", "http://h/closed", closed()),
            path("with an escaped slash", "/open%2f..%2fclosed", declined(400, "path_encoded_slash")),
            path("with a backslash", "/open\\..\\closed", declined(400, "path_malformed")),
            // Names are what they are: letters have case, and an empty segment is one.
            path("in capitals it is another", "/CLOSED", passes(&[Line("GET /CLOSED HTTP/1.1")])),
            path("behind an empty segment it is another", "//closed", passes(&[Line("GET //closed HTTP/1.1")])),
            path("with a parameter it is another", "/closed;x", passes(&[Line("GET /closed;x HTTP/1.1")])),
        ],
    );
}

#[test]
fn slashes_that_are_wished() {
    let routes = "  - {name: keep, path: /keep, target: '{}', encoded_slash: keep}\n  \
                  - {name: decode, path: /decode, target: '{}', encoded_slash: decode}\n";
    run_with(
        "  merge_slashes: true\n",
        routes,
        &[
            path("merged", "/a//b///c", passes(&[Line("GET /a/b/c HTTP/1.1")])),
            path("merged before dots", "/a//../b", passes(&[Line("GET /b HTTP/1.1")])),
            path("kept", "/keep/a%2fb", passes(&[Line("GET /keep/a%2Fb HTTP/1.1")])),
            path("kept between dots", "/keep/..%2f..", passes(&[Line("GET /keep/..%2F.. HTTP/1.1")])),
            path("decoded", "/decode/a%2Fb", passes(&[Line("GET /decode/a/b HTTP/1.1")])),
            path("decoded and merged", "/decode/a%2F%2Fb", passes(&[Line("GET /decode/a/b HTTP/1.1")])),
            path("decoded into another route", "/decode/..%2fkeep/x", declined(400, "path_encoded_slash")),
            path("decoded twice", "/decode/a%252fb", passes(&[Line("GET /decode/a%252fb HTTP/1.1")])),
            path("decoded with a backslash between dots", "/decode/a%5c..%5cb", declined(400, "path_malformed")),
            path("refused elsewhere", "/a%2fb", declined(400, "path_encoded_slash")),
        ],
    );
}
