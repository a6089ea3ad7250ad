//! Field blocks of a client (RFC 7541): what is coded well is read, what is coded badly ends the connection.

use tests::http2::{block, code, flag, frame, get_fields, kind};

use super::http2_case::Expects::Ends;
use super::http2_case::{case, passes, run};

/// A request that is this field block behind those of a plain GET.
fn behind(rest: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, 1, [block(&get_fields("/")), rest.to_vec()].concat())
}

/// A request that is this field block.
fn alone(bytes: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, 1, bytes)
}

#[test]
fn coding() {
    let broken = || Ends(code::COMPRESSION_ERROR);
    // Of the static table: GET, /, http.
    let indexed = b"\x82\x84\x86\x41\x0aproxy.test";
    run(&[
        case(
            "RFC 7541 6.1",
            "fields of the static table",
            alone(indexed),
            passes(&["GET / HTTP/1.1\r\nhost: proxy.test\r\n"]),
        ),
        case(
            "RFC 7541 C.4.1",
            "Huffman coding",
            alone(b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
            passes(&["host: www.example.com\r\n"]),
        ),
        case(
            "RFC 7541 6.2.1",
            "a kept field, used again",
            behind(b"\x40\x03x-a\x01b\xbe"),
            passes(&["x-a: b\r\nx-a: b\r\n"]),
        ),
        case("RFC 7541 6.2.2", "a field not kept", behind(b"\x00\x03x-a\x01b"), passes(&["x-a: b\r\n"])),
        case(
            "RFC 7541 6.3",
            "a smaller table first",
            alone(&[b"\x20\x3f\xe1\x1f", &indexed[..]].concat()),
            passes(&["GET / "]),
        ),
        case("RFC 7541 6.3", "a table larger than allowed", alone(&[b"\x3f\xe2\x1f", &indexed[..]].concat()), broken())
            .says(code::PROTOCOL_ERROR),
        case("RFC 7541 4.2", "another table size within the block", behind(b"\x20"), broken())
            .says(code::PROTOCOL_ERROR),
        case("RFC 7541 6.1", "index 0", behind(b"\x80"), broken()).says(code::PROTOCOL_ERROR),
        case("RFC 7541 2.3.3", "an index behind both tables", behind(b"\xfe"), broken()).says(code::PROTOCOL_ERROR),
        case("RFC 7541 2.3.3", "a name behind both tables", behind(b"\x7e\x01b"), broken()).says(code::PROTOCOL_ERROR),
        case(
            "RFC 7541 5.1",
            "a number without end",
            behind(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
            broken(),
        )
        .says(code::PROTOCOL_ERROR),
        case("RFC 7541 5.2", "a text longer than its block", behind(b"\x00\x03x-a\x7fb"), broken())
            .says(code::PROTOCOL_ERROR),
        case("RFC 7541 5.2", "a name without a value", behind(b"\x00\x03x-a"), broken()).says(code::PROTOCOL_ERROR),
        case("RFC 7541 5.2", "Huffman's end of string", behind(b"\x00\x03x-a\x84\xff\xff\xff\xff"), broken())
            .says(code::PROTOCOL_ERROR),
        case("RFC 7541 5.2", "padding of a whole byte", behind(b"\x00\x03x-a\x82\x1f\xff"), broken())
            .says(code::PROTOCOL_ERROR),
        case("RFC 7541 5.2", "padding of zeros", behind(b"\x00\x03x-a\x81\x18"), broken()).says(code::PROTOCOL_ERROR),
    ]);
}
