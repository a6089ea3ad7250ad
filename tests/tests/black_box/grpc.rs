//! gRPC: its calls pass as they are, and what we refuse is said as gRPC says it (gRPC over HTTP/2, Trailers-Only).

use serde_json::json;
use tests::http2::{Message, get};
use tests::{Http2, Proxyd, Upstream, eventually};

/// A call: five bytes of length before its message.
fn call(client: &mut Http2, stream: u32, path: &str, more: &[(&str, &str)]) -> Message {
    let fields =
        [&[(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", path), ("te", "trailers")], more]
            .concat();
    client.head(stream, &fields, false);
    client.data(stream, b"\0\0\0\0\x02hi", true);
    client.whole(stream)
}

/// A path, what a call brings along, and the status and code that it is refused with.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[test]
fn what_is_refused_is_said_as_grpc_says_it() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            // Of what is too large, no more than the head may have come.
            if matches!(request.target.as_str(), "/slow" | "/small") {
                conn.wire.rest();
                return;
            }
            conn.answer(200, &[], b"ok");
        }
    });
    let nobody = tests::upstream::nobody();
    let target = upstream.url();
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{name: limited, exact: /limited, target: '{target}', rate_limit: {{requests_per_minute: 1}}}}\n  \
         - {{name: denied, exact: /denied, target: '{target}', access: {{deny: 127.0.0.1}}}}\n  \
         - {{name: gone, exact: /gone, target: 'http://{nobody}'}}\n  \
         - {{name: small, exact: /small, target: '{target}', body_limit: 1B}}\n  \
         - {{name: get, exact: /get, methods: GET, target: '{target}'}}\n  \
         - {{name: slow, exact: /slow, target: '{target}'}}\n"
    ));
    let mut client = Http2::connect(proxyd.address());
    call(&mut client, 1, "/limited", &[GRPC]);
    let cases: [Refused; 11] = [
        ("/unknown", &[GRPC], "12", "route_not_found"),
        ("/unknown", &[("content-type", "application/grpc+proto")], "12", "route_not_found"),
        ("/unknown", &[("content-type", "application/grpc;charset=utf-8")], "12", "route_not_found"),
        ("/get", &[GRPC], "12", "method_not_allowed"),
        ("/limited", &[GRPC], "8", "rate_limited"),
        ("/denied", &[GRPC], "7", "access_denied"),
        ("/gone", &[GRPC], "14", "upstream_connect"),
        ("/small", &[GRPC], "8", "body_too_large"),
        ("/slow", &[GRPC, ("grpc-timeout", "100m")], "4", "total_timeout"),
        ("/slow", &[GRPC, ("grpc-timeout", "200000u")], "4", "total_timeout"),
        ("/a%2Fb", &[GRPC], "3", "path_encoded_slash"),
    ];
    let mut wrong = Vec::new();
    for (number, (path, fields, status, code)) in cases.into_iter().enumerate() {
        let answer = call(&mut client, 2 * number as u32 + 3, path, fields);
        let message = answer.header("grpc-message").unwrap_or_default();
        let is_so = answer.status() == 200
            && answer.ended
            && answer.body.is_empty()
            && answer.trailers().is_none()
            && answer.header("grpc-status") == Some(status)
            && answer.header("content-type") == Some("application/grpc")
            && message.starts_with(code);
        if !is_so {
            wrong.push(format!("{path} {fields:?}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Others are told as ever: gRPC-Web's clients read a status of HTTP.
    for kind in ["application/grpc-web", "application/grpcx", "application/json"] {
        let mut client = Http2::connect(proxyd.address());
        assert_eq!(call(&mut client, 1, "/unknown", &[("content-type", kind)]).status(), 404, "{kind}");
    }
    // The record and the counters know what it was.
    let rows = proxyd.audit(&json!({"outcome": "route_not_found"}), 6);
    assert!(rows.iter().all(|row| row["outcome"] == "route_not_found"));
    assert!(proxyd.metric("proxyd_rejections_total", &["code=\"upstream_connect\""]) >= 1.0);
}

#[test]
fn a_time_that_is_none_is_not_kept() {
    // A positive number of at most eight digits and a unit.
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(100));
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    for (number, time) in ["100", "m", "1x", "-1S", "1.5S", "123456789S", "", "10S", "1H"].into_iter().enumerate() {
        let answer = call(&mut client, 2 * number as u32 + 1, "/", &[GRPC, ("grpc-timeout", time)]);
        assert_eq!(answer.text(), "ok", "{time:?}: {answer:?}");
    }
}

#[test]
fn calls_pass_as_they_are() {
    // To an upstream of HTTP/2: messages of both sides as they come, and the status behind them.
    let upstream = Upstream::scripted(|conn| {
        let Some(mut server) = Http2::server(conn.wire.stream().try_clone().unwrap(), &[]) else { return };
        server.until(|all| all.messages.get(&1).is_some_and(|call| call.body.len() == 7));
        server.head(1, &[(":status", "200"), GRPC], false);
        server.data(1, b"\0\0\0\0\x03one", false);
        server.until(|all| all.message(1).ended);
        let call = server.message(1);
        let status = if get(&call.blocks[0], "te") == Some("trailers") && call.body.len() == 14 { "0" } else { "2" };
        server.data(1, b"\0\0\0\0\x03two", false);
        server.send(tests::http2::headers(1, &[("grpc-status", status), ("grpc-message", "fine")], true));
        server.rest();
    });
    let proxyd = Proxyd::start(&format!(
        "upstreams:\n  up: {{endpoints: ['http://{}'], protocol: http2}}\nroutes:\n  - {{name: all, path: /, upstream: up}}\n",
        upstream.address()
    ));
    let mut client = Http2::connect(proxyd.address());
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/s/M"), ("te", "trailers"), GRPC];
    client.head(1, &fields, false);
    client.data(1, b"\0\0\0\0\x02hi", false);
    assert!(client.until(|all| all.message(1).body == b"\0\0\0\0\x03one"), "an answer before the call ends");
    client.data(1, b"\0\0\0\0\x02ho", true);
    let answer = client.whole(1);
    assert_eq!(answer.body, b"\0\0\0\0\x03one\0\0\0\0\x03two");
    let trailers = answer.trailers().expect("trailer fields");
    assert_eq!((get(trailers, "grpc-status"), get(trailers, "grpc-message")), (Some("0"), Some("fine")));
    eventually("it is recorded as served", || {
        proxyd.audit(&json!({"path": "/s/M"}), 1).first().filter(|row| row["outcome"] == "served").map(|_| ())
    });
}
