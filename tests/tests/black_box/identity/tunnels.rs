//! Tunnels that are open when what they were opened with is taken back: they end, and no other does.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::token::{SECRET, hs256, in_seconds};
use tests::{Http2, PATIENCE, Proxyd, Redis, Upstream, Wire, eventually};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocket;
use tungstenite::{Message, client};

use super::super::websocket::{repeater, repeats};
use super::super::websocket_http2::{CLOSE, masked, plain};

type Socket = WebSocket<TcpStream>;

/// A second until it is looked, and what a busy machine takes.
const SOON: Duration = Duration::from_secs(5);

/// Keys at `/key`, tokens at `/jwt`, accounts at `/account`, both at `/both`, nobody in particular at `/open`.
fn config(upstream: &Upstream, more: &str) -> String {
    let route = |path: &str, auth: &str| format!("  - {{path: {path}, target: '{}', auth: {auth}}}\n", upstream.url());
    let routes = [
        route("/key", "api_key"),
        route("/jwt", "jwt.main"),
        route("/short", "{any_of: jwt.main, tunnels: until_expired}"),
        route("/account", "accounts"),
        route("/both", "{all_of: [jwt.main, api_key]}"),
        route("/open", "off"),
    ];
    format!(
        "server: {{trusted_proxies: [127.0.0.1]}}\n{more}routes:\n  - {{path: /auth/, serve: accounts}}\n{}\
         identity:\n  api_key: on\n  jwt: {{main: {{keys: {{secret: '{SECRET}'}}, leeway: 0s}}}}\n  accounts: {{prefix: /auth}}\n",
        routes.concat()
    )
}

/// Opens a WebSocket with these headers.
pub(super) fn open(proxyd: &Proxyd, path: &str, headers: &[(&'static str, &str)]) -> Socket {
    let stream = TcpStream::connect(proxyd.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{}{path}", proxyd.address()).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let mut socket = client(request, stream).expect("an upgrade").0;
    repeats(&mut socket, "opened");
    socket
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Waits for its end: what a client is told.
#[track_caller]
pub(super) fn ends(socket: &mut Socket, since: Instant) {
    let told = socket.read().expect("a goodbye");
    let Message::Close(Some(frame)) = told else { panic!("no goodbye: {told:?}") };
    assert_eq!(u16::from(frame.code), 1008, "RFC 6455 section 7.4.1");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    while socket.read().is_ok() {}
}

#[track_caller]
fn outcome(proxyd: &Proxyd, path: &str, expected: &str) {
    let rows = proxyd.audit(&json!({"path": path, "kind": "requests"}), 1);
    assert_eq!(rows[0]["outcome"], expected, "{}", rows[0]);
}

fn key(proxyd: &Proxyd, name: &str) -> String {
    made(&proxyd.ask("keys_create", &json!({"name": name})))
}

fn made(answer: &Value) -> String {
    answer["key"].as_str().unwrap_or_else(|| panic!("no key: {answer}")).to_owned()
}

#[test]
fn a_key_that_is_revoked_ends_its_tunnels_and_no_others() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let (one, two) = (key(&proxyd, "one"), key(&proxyd, "two"));
    let mut first = open(&proxyd, "/key/1", &[("x-api-key", &one)]);
    let mut second = open(&proxyd, "/key/2", &[("x-api-key", &two)]);
    let token = bearer(&hs256("alice", &json!({})));
    let mut both = open(&proxyd, "/both", &[("authorization", &token), ("x-api-key", &one)]);
    // A reload in between changes nothing.
    proxyd.reload_with(&config(&upstream, "log: {level: debug}\n"));
    repeats(&mut first, "still");
    let since = Instant::now();
    proxyd.ask("keys_revoke", &json!({"key": "one"}));
    ends(&mut first, since);
    ends(&mut both, since);
    repeats(&mut second, "goes on");
    outcome(&proxyd, "/key/1", "tunnel_revoked");
    outcome(&proxyd, "/both", "tunnel_revoked");
    assert!(proxyd.metric("proxyd_tunnels_closed_total", &["outcome=\"tunnel_revoked\""]) > 1.5);
    eventually("the upstream's sides end too", || (upstream.closed() == 2).then_some(()));

    // The text before a rotation ends when it no more opens, and the new one goes on.
    let three = made(&proxyd.ask("keys_rotate", &json!({"key": "two", "overlap": "1h"})));
    let mut third = open(&proxyd, "/key/3", &[("x-api-key", &three)]);
    let mut earlier = open(&proxyd, "/key/4", &[("x-api-key", &two)]);
    repeats(&mut second, "goes on");
    let since = Instant::now();
    let four = made(&proxyd.ask("keys_rotate", &json!({"key": "two", "overlap": "1s"})));
    ends(&mut second, since);
    ends(&mut earlier, since);
    let mut fourth = open(&proxyd, "/key/5", &[("x-api-key", &four)]);
    ends(&mut third, Instant::now());
    repeats(&mut fourth, "goes on");
}

#[test]
fn a_token_that_is_revoked_ends_its_tunnels() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let token = |jti: &str| bearer(&hs256("alice", &json!({"jti": jti})));
    let mut first = open(&proxyd, "/jwt/1", &[("authorization", &token("one"))]);
    let mut second = open(&proxyd, "/jwt/2", &[("authorization", &token("two"))]);
    // Of HTTP/2, too.
    let mut stream = Http2::connect(proxyd.address());
    stream.until(|all| all.settings.is_some());
    let one = token("one");
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/jwt/h2"),
        ("sec-websocket-version", "13"),
        ("authorization", &one),
    ];
    stream.head(1, &fields, false);
    stream.until(|all| all.message(1).head().is_some());
    assert_eq!(stream.message(1).status(), 200);
    let since = Instant::now();
    proxyd.ask("tokens_revoke", &json!({"jti": "one", "provider": "jwt.main"}));
    ends(&mut first, since);
    stream.until(|all| all.message(1).body.len() >= 4);
    assert_eq!(stream.message(1).body[..4], plain(CLOSE, &1008_u16.to_be_bytes()), "{stream:?}");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    stream.data(1, masked(CLOSE, &1008_u16.to_be_bytes()), true);
    assert!(stream.until(|all| all.message(1).is_over()));
    repeats(&mut second, "goes on");
    outcome(&proxyd, "/jwt/1", "tunnel_revoked");
    outcome(&proxyd, "/jwt/h2", "tunnel_revoked");
}

#[test]
fn a_tunnel_may_outlive_its_token_unless_the_policy_says_otherwise() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let exp = in_seconds(5);
    let token = bearer(&hs256("alice", &json!({"exp": exp})));
    let mut stays = open(&proxyd, "/jwt", &[("authorization", &token)]);
    let mut short = open(&proxyd, "/short", &[("authorization", &token)]);
    let told = short.read().expect("a goodbye");
    assert!(in_seconds(0) >= exp, "not before");
    assert!(matches!(&told, Message::Close(Some(frame)) if u16::from(frame.code) == 1008), "{told:?}");
    while short.read().is_ok() {}
    outcome(&proxyd, "/short", "tunnel_expired");
    repeats(&mut stays, "goes on");
}

#[test]
fn an_account_that_is_disabled_and_an_address_that_is_banned_end_theirs() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let token = |name: &str| {
        let password = "correct horse battery";
        proxyd.ask("users_add", &json!({"name": name, "password": password}));
        let login = tests::Request::post("/auth/login", json!({"name": name, "password": password}).to_string());
        let answer = login.header("Content-Type", "application/json").send(proxyd.address());
        bearer(answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())))
    };
    let (ann, bob) = (token("ann"), token("bob"));
    let mut anns = open(&proxyd, "/account/1", &[("authorization", &ann)]);
    let mut bobs = open(&proxyd, "/account/2", &[("authorization", &bob)]);
    let since = Instant::now();
    proxyd.ask("users_set", &json!({"name": "ann", "disabled": true}));
    ends(&mut anns, since);
    outcome(&proxyd, "/account/1", "tunnel_revoked");
    repeats(&mut bobs, "goes on");
    let mut banned = open(&proxyd, "/open/1", &[("x-forwarded-for", "203.0.113.7")]);
    let mut other = open(&proxyd, "/open/2", &[("x-forwarded-for", "203.0.113.8")]);
    let since = Instant::now();
    proxyd.ask("bans_add", &json!({"network": "203.0.113.7", "for": "1h", "reason": "probes"}));
    ends(&mut banned, since);
    outcome(&proxyd, "/open/1", "tunnel_banned");
    repeats(&mut other, "goes on");
    let since = Instant::now();
    proxyd.ask("users_password", &json!({"name": "bob", "password": "staple of another kind"}));
    ends(&mut bobs, since);
}

#[test]
fn a_login_that_ends_ends_the_tunnels_of_all_its_tokens() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let password = "correct horse battery";
    proxyd.ask("users_add", &json!({"name": "ann", "password": password}));
    let post = |endpoint: &str, body: Value| {
        let request = tests::Request::post(&format!("/auth/{endpoint}"), body.to_string());
        let answer = request.header("Content-Type", "application/json").send(proxyd.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let log_in = || post("login", json!({"name": "ann", "password": password}));
    let token = |answer: &Value| bearer(answer["access_token"].as_str().unwrap());
    let (first, other) = (log_in(), log_in());
    let second = post("refresh", json!({"refresh_token": first["refresh_token"]}));
    let mut before = open(&proxyd, "/account/1", &[("authorization", &token(&first))]);
    let mut after = open(&proxyd, "/account/2", &[("authorization", &token(&second))]);
    let mut stays = open(&proxyd, "/account/3", &[("authorization", &token(&other))]);
    let since = Instant::now();
    post("logout", json!({"refresh_token": second["refresh_token"]}));
    ends(&mut before, since);
    ends(&mut after, since);
    repeats(&mut stays, "goes on");
}

#[test]
fn neither_a_frame_without_end_nor_another_protocol_goes_on() {
    let upstream = Upstream::scripted(|conn| {
        let Some(request) = conn.request_head() else { return };
        if let Some(key) = request.headers.get("sec-websocket-key") {
            let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
            conn.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ));
        } else {
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
        }
        conn.wire.rest();
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let one = key(&proxyd, "one");
    let begin = |lines: &str| {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(format!("GET /key HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nX-Api-Key: {one}\r\n{lines}\r\n"));
        let head = wire.head().expect("an answer");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        wire
    };
    let lines = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (mut endless, mut raw) = (begin(lines), begin("Upgrade: raw\r\n"));
    // A frame of 4 GiB has begun: there is no place for a goodbye to the upstream.
    endless.send([0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5]);
    raw.send("anything");
    let since = Instant::now();
    proxyd.ask("keys_revoke", &json!({"key": "one"}));
    assert_eq!(endless.exactly(4), plain(CLOSE, &1008_u16.to_be_bytes()));
    assert!(raw.closes_within(SOON) && endless.closes_within(SOON), "{:?}", since.elapsed());
    eventually("the upstream's sides end too", || (upstream.closed() == 2).then_some(()));
}

#[test]
fn what_another_proxy_revokes_ends_tunnels_here() {
    let redis = Redis::start();
    let upstream = repeater();
    let shared = format!("redis: {{url: '{}', timeout: 2s, connect_timeout: 2s}}\n", redis.url());
    let yaml = config(&upstream, &shared) + "  revocations: redis\n";
    let (here, there) = (Proxyd::start(&yaml), Proxyd::start(&yaml));
    let token = bearer(&hs256("alice", &json!({"jti": "one"})));
    let mut socket = open(&here, "/jwt", &[("authorization", &token)]);
    let since = Instant::now();
    there.ask("tokens_revoke", &json!({"jti": "one"}));
    let told = socket.read().expect("a goodbye");
    assert!(matches!(&told, Message::Close(Some(frame)) if u16::from(frame.code) == 1008), "{told:?}");
    assert!(since.elapsed() < SOON * 2, "{:?}", since.elapsed());
}
