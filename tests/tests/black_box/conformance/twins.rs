//! What we tell an upstream of the client, a client must not tell in our place; not under a name either that servers behind
//! take for the same (CGI's variables have no hyphens: RFC 3875 section 4.1.18).

use super::case::Check::{Lacks, Line, Only, Without};
use super::case::{case, get, passes, post};
use super::run::run;

#[test]
fn forged_origins() {
    run(&[
        case(
            "RFC 7239 4",
            "Forwarded",
            get("/", "Forwarded: for=6.6.6.6;proto=https"),
            passes(&[Without("forwarded")]),
        ),
        case("house", "X-Forwarded-For", get("/", "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-FOR: 7.7.7.7"), {
            passes(&[Only("x-forwarded-for: 127.0.0.1")])
        }),
        case(
            "house",
            "X-Forwarded-Proto",
            get("/", "X-Forwarded-Proto: https"),
            passes(&[Only("x-forwarded-proto: http")]),
        ),
        case("house", "X-Forwarded-Host", get("/", "X-Forwarded-Host: evil"), passes(&[Only("x-forwarded-host: h")])),
        case(
            "house",
            "the rest of the family",
            get("/", "X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /evil\r\nX-Forwarded-Server: evil"),
            passes(&[Without("x-forwarded-port"), Lacks(b"evil")]),
        ),
        case("house", "X-Real-IP", get("/", "X-Real-IP: 6.6.6.6"), passes(&[Without("x-real-ip")])),
        case("house", "a request's id that is none", get("/", "X-Request-ID: a b"), passes(&[Lacks(b"a b")])),
        case("house", "two ids", get("/", "X-Request-ID: one\r\nX-Request-ID: evil"), passes(&[Lacks(b"evil")])),
    ]);
}

#[test]
fn names_with_underscores() {
    run(&[
        case("RFC 3875 4.1.18", "X_Forwarded_For", get("/", "X_Forwarded_For: 6.6.6.6"), passes(&[Lacks(b"6.6.6.6")])),
        case("RFC 3875 4.1.18", "half a twin", get("/", "X-Forwarded_For: 6.6.6.6"), passes(&[Lacks(b"6.6.6.6")])),
        case("RFC 3875 4.1.18", "X_FORWARDED_PROTO", get("/", "X_FORWARDED_PROTO: https"), passes(&[Lacks(b"https")])),
        case(
            "RFC 3875 4.1.18",
            "the rest of the family",
            get("/", "x_forwarded_prefix: /evil"),
            passes(&[Lacks(b"evil")]),
        ),
        case("RFC 3875 4.1.18", "X_Real_IP", get("/", "X_Real_IP: 6.6.6.6"), passes(&[Lacks(b"6.6.6.6")])),
        case(
            "RFC 9440 2.4",
            "Client_Cert",
            get("/", "Client_Cert: :evil:\r\nClient_Cert_Chain: :evil:"),
            passes(&[Lacks(b"evil")]),
        ),
        case(
            "RFC 9440 2.4",
            "Client-Cert",
            get("/", "Client-Cert: :evil:\r\nClient-Cert-Chain: :evil:"),
            passes(&[Lacks(b"evil")]),
        ),
        case("RFC 3875 4.1.18", "X_Request_ID", get("/", "X_Request_ID: evil"), passes(&[Lacks(b"evil")])),
        case(
            "RFC 3875 4.1.18",
            "Content_Length frames nothing",
            post("Content_Length: 40", ""),
            passes(&[Without("content_length")]),
        ),
        case(
            "RFC 3875 4.1.18",
            "beside a length",
            post("Content_Length: 40\r\nContent-Length: 3", "abc"),
            passes(&[Without("content_length")]),
        ),
        case(
            "RFC 3875 4.1.18",
            "Transfer_Encoding frames nothing",
            post("Transfer_Encoding: chunked", ""),
            passes(&[Without("transfer_encoding")]),
        ),
        case(
            "RFC 3875 4.1.18",
            "Proxy_Authorization",
            get("/", "Proxy_Authorization: Basic evil"),
            passes(&[Lacks(b"evil")]),
        ),
        case(
            "RFC 3875 4.1.18",
            "a name of nobody goes on",
            get("/", "X_Own_Name: y"),
            passes(&[Line("X_Own_Name: y")]),
        ),
    ]);
}
