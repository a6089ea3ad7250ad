//! Where a request's body ends (RFC 9112 section 6): what two readers could measure differently is no request.

use super::case::Check::{Body, Line, Only, Without};
use super::case::{Expects, case, message, passes, post, refused};
use super::run::run;

fn malformed() -> Expects {
    refused(400, "request_malformed")
}

#[test]
fn lengths() {
    run(&[
        case(
            "RFC 9112 6.2",
            "a length",
            post("Content-Length: 3", "abc"),
            passes(&[Line("Content-Length: 3"), Body("abc")]),
        ),
        case("RFC 9112 6.2", "none of nothing", post("Content-Length: 0", ""), passes(&[Body("")])),
        case(
            "RFC 9110 8.6",
            "a body that looks like a request",
            post("Content-Length: 33", "GET /smuggled HTTP/1.1\r\nHost: h\r\n"),
            passes(&[Body("GET /smuggled HTTP/1.1\r\nHost: h\r\n")]),
        ),
        case("RFC 9110 8.6", "blanks around it", post("content-LENGTH:\t3 \t", "abc"), passes(&[Body("abc")])),
        case(
            "RFC 9112 6.3",
            "neither length nor coding",
            post("", ""),
            passes(&[Without("transfer-encoding"), Body("")]),
        ),
        case(
            "RFC 9112 6.3",
            "of HTTP/1.0",
            "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            passes(&[Body("abc")]).closes(),
        ),
        case("RFC 9112 6.3", "two unequal", post("Content-Length: 3\r\nContent-Length: 4", "abcd"), malformed()),
        case(
            "RFC 9112 6.3",
            "two unequal, the first none",
            post("Content-Length: 0\r\nContent-Length: 40", ""),
            malformed(),
        ),
        case("RFC 9112 6.3", "two equal", post("Content-Length: 3\r\nContent-Length: 3", "abc"), malformed()),
        case("RFC 9112 6.3", "two in two cases", post("Content-Length: 3\r\ncontent-length: 3", "abc"), malformed()),
        case("RFC 9112 6.3", "a list of equal ones", post("Content-Length: 3, 3", "abc"), malformed()),
        case("RFC 9112 6.3", "a list of unequal ones", post("Content-Length: 3, 4", "abcd"), malformed()),
        case("RFC 9112 6.3", "a list with an empty member", post("Content-Length: 3,", "abc"), malformed()),
        case("RFC 9110 8.6", "empty", post("Content-Length: ", ""), malformed()),
        case("RFC 9110 8.6", "a plus", post("Content-Length: +3", "abc"), malformed()),
        case("RFC 9110 8.6", "a minus", post("Content-Length: -1", ""), malformed()),
        case("RFC 9110 8.6", "minus nothing", post("Content-Length: -0", ""), malformed()),
        case("RFC 9110 8.6", "hexadecimal", post("Content-Length: 0x3", "abc"), malformed()),
        case("RFC 9110 8.6", "hexadecimal digits", post("Content-Length: a", "abc"), malformed()),
        case("RFC 9110 8.6", "a zero in front", post("Content-Length: 010", "12345678"), malformed()),
        case("RFC 9110 8.6", "zeros", post("Content-Length: 00", ""), malformed()),
        case("RFC 9110 8.6", "a point", post("Content-Length: 3.0", "abc"), malformed()),
        case("RFC 9110 8.6", "an exponent", post("Content-Length: 3e0", "abc"), malformed()),
        case("RFC 9110 8.6", "a separator", post("Content-Length: 1_0", "1234567890"), malformed()),
        case("RFC 9110 8.6", "a blank in it", post("Content-Length: 1 0", "1234567890"), malformed()),
        case("RFC 9110 8.6", "quotes", post("Content-Length: \"3\"", "abc"), malformed()),
        case("RFC 9110 8.6", "a word", post("Content-Length: three", "abc"), malformed()),
        case("RFC 9110 8.6", "other digits", post("Content-Length: \u{663}", "abc"), malformed()),
        case("RFC 9110 8.6", "a parameter", post("Content-Length: 3;a=b", "abc"), malformed()),
        case("RFC 9110 8.6", "2^64 and 3", post("Content-Length: 18446744073709551619", "abc"), malformed()),
        case("RFC 9110 8.6", "2^64", post("Content-Length: 18446744073709551616", ""), malformed()),
        case("RFC 9110 8.6", "thirty digits", post(&format!("Content-Length: {}", "9".repeat(30)), ""), malformed()),
        case("RFC 9110 8.6", "of GET, malformed", message("GET", "/", "Content-Length: x", ""), malformed()),
        case(
            "RFC 9110 15.5.14",
            "the largest that is a number",
            post("Content-Length: 9999999999999999999", ""),
            refused(413, "body_too_large"),
        ),
    ]);
}

#[test]
fn codings() {
    let coded = |value: &str| post(&format!("Transfer-Encoding: {value}"), "3\r\nabc\r\n0\r\n\r\n");
    run(&[
        case(
            "RFC 9112 7.1",
            "chunked",
            coded("chunked"),
            passes(&[Only("transfer-encoding: chunked"), Without("content-length"), Body("abc")]),
        ),
        case("RFC 9112 7", "in capitals", coded("CHUNKED"), passes(&[Only("transfer-encoding: chunked"), Body("abc")])),
        case(
            "RFC 9112 5.1",
            "blanks around it",
            coded("\tchunked \t"),
            passes(&[Only("transfer-encoding: chunked"), Body("abc")]),
        ),
        case("RFC 9112 6.1", "of GET", message("GET", "/", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"), {
            passes(&[Only("transfer-encoding: chunked"), Body("abc")])
        }),
        case(
            "RFC 9112 6.1",
            "length, then coding",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            malformed(),
        ),
        case(
            "RFC 9112 6.1",
            "coding, then length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
            malformed(),
        ),
        case(
            "RFC 9112 6.1",
            "coding and a length of nothing",
            post("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n"),
            malformed(),
        ),
        case(
            "RFC 9112 6.1",
            "coding and an empty length",
            post("Transfer-Encoding: chunked\r\nContent-Length:", "0\r\n\r\n"),
            malformed(),
        ),
        case(
            "RFC 9112 6.1",
            "identity and a length",
            post("Transfer-Encoding: identity\r\nContent-Length: 3", "abc"),
            malformed(),
        ),
        case("RFC 9112 6.1", "chunked twice", coded("chunked, chunked"), malformed()),
        case("RFC 9112 6.1", "gzip first", coded("gzip, chunked"), malformed()),
        case("RFC 9112 6.3", "gzip last", coded("chunked, gzip"), malformed()),
        case("RFC 9112 6.3", "gzip alone", coded("gzip"), malformed()),
        case("RFC 9112 7", "identity", coded("identity"), malformed()),
        case("RFC 9112 7", "identity before it", coded("identity, chunked"), malformed()),
        case("RFC 9112 7", "a name that ends so", coded("xchunked"), malformed()),
        case("RFC 9112 7", "a name that begins so", coded("chunkedx"), malformed()),
        case("RFC 9112 7", "quotes", coded("\"chunked\""), malformed()),
        case("RFC 9112 7", "a parameter", coded("chunked;q=1"), malformed()),
        case("RFC 9112 7", "a semicolon", coded("chunked;"), malformed()),
        case("RFC 9110 5.6.1", "an empty member behind", coded("chunked,"), malformed()),
        case("RFC 9110 5.6.1", "an empty member before", coded(",chunked"), malformed()),
        case("RFC 9112 6.1", "empty", coded(""), malformed()),
        case("RFC 9112 7", "a letter that lowers to k", coded("chun\u{212a}ed"), malformed()),
        case("RFC 9112 6.1", "another in a line before", coded("gzip\r\nTransfer-Encoding: chunked"), malformed()),
        case("RFC 9112 6.1", "another in a line behind", coded("chunked\r\nTransfer-Encoding: identity"), malformed()),
        case("RFC 9112 6.1", "the same in two lines", coded("chunked\r\ntransfer-encoding: chunked"), malformed()),
        case("RFC 9112 6.1", "an empty line of it", coded("chunked\r\nTransfer-Encoding:"), malformed()),
        case(
            "RFC 9112 6.1",
            "in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            malformed(),
        ),
        case(
            "RFC 9112 6.1",
            "in HTTP/1.0 that would go on",
            "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            malformed(),
        ),
    ]);
}
