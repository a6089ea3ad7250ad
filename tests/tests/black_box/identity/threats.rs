//! Requests that look like an attack, or not as they must: let alone, told, refused (docs/reference/threats.md).

use serde_json::json;
use tests::http2::post_fields;
use tests::{Http2, Proxyd, Request, Response, Upstream, Wire};

const ATTACK: &str = "/block/?q=x%27+union+select+zebra,2--";

/// Routes that block, watch, and do neither.
fn started(upstream: &Upstream) -> Proxyd {
    let url = upstream.url();
    Proxyd::start(&format!(
        "threats: block\nroutes:\n  \
         - {{path: /off/, target: '{url}', threats: off}}\n  \
         - {{path: /shadow/, target: '{url}', threats: {{mode: shadow, methods: [GET, POST], json: {{max_size: 1KiB, max_depth: 4}}}}}}\n  \
         - {{path: /shape/, target: '{url}', threats: {{methods: [GET, POST], content_types: [application/json, application/problem+json, image/*], json: {{max_size: 1KiB, max_depth: 4}}}}}}\n  \
         - {{path: /scores/, target: '{url}', threats: {{score: 8, rules: {{traversal: off, null_byte: 8}}}}}}\n  \
         - {{path: /block/, target: '{url}'}}\n"
    ))
}

/// Refused with this, and with nothing of the request's in the answer.
#[track_caller]
fn check_refused(response: &Response, status: u16, code: &str) {
    let text = response.text();
    assert_eq!((response.status, response.error_code().as_str()), (status, code), "{text}");
    for said in ["zebra", "union", "sqlmap"] {
        assert!(!text.contains(said) && !response.headers.0.iter().any(|(_, value)| value.contains(said)), "{text}");
    }
}

#[track_caller]
fn send(proxyd: &Proxyd, request: Request) -> Response {
    request.header("Accept", "application/json").send(proxyd.address())
}

#[test]
fn what_looks_like_an_attack_is_refused_and_its_rule_named() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let get = |target: &str| send(&proxyd, Request::get(target));
    check_refused(&get(ATTACK), 403, "threat_sql_injection");
    check_refused(&get("/block/?q=..%252f..%252fzebra"), 403, "threat_traversal");
    check_refused(&get("/nowhere?q=<script>zebra</script>"), 403, "threat_cross_site_scripting");
    check_refused(&get("/block/a%00zebra"), 403, "threat_null_byte");
    let agent = Request::get("/block/").header("User-Agent", "sqlmap/1.7 zebra");
    check_refused(&send(&proxyd, agent), 403, "threat_scanner_agent");
    let cookie = Request::get("/block/").header("Cookie", "a=1; b=${jndi:ldap://zebra/}");
    check_refused(&send(&proxyd, cookie), 403, "threat_template_injection");
    assert_eq!(upstream.requests(), 0);
    // Several: the first of those that count most is named, all are on record.
    check_refused(&get("/block/?a=../../zebra&b=%00"), 403, "threat_traversal");
    let rows = proxyd.audit(&json!({"outcome": "threat_traversal"}), 2);
    let told = |words: &str| rows.iter().any(|row| row["tries"] == words);
    assert!(told("threat: traversal, null_byte"), "{rows:#?}");
    assert_eq!(proxyd.metric("proxyd_threats_total", &["rule=\"traversal\"", "mode=\"block\""]) as u64, 2);
    assert_eq!(proxyd.metric("proxyd_threats_total", &["mode=\"shadow\""]) as u64, 0);
}

#[test]
fn ordinary_requests_and_other_routes_are_untouched() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    for target in
        ["/block/?q=O%27Brien+%26+sons", "/block/search?q=select+a+plan+from+the+list", "/off/?q=%27+or+1=1--"]
    {
        let answer = send(&proxyd, Request::get(target)).json();
        assert_eq!(answer["target"], target);
    }
    let credentials = Request::get("/block/").header("Authorization", "Bearer ' or 1=1--");
    assert_eq!(send(&proxyd, credentials).status, 200);
    let delete = Request::new("DELETE", "/block/");
    assert_eq!(send(&proxyd, delete).status, 200);
    assert_eq!(proxyd.metric("proxyd_threats_total", &[]) as u64, 0);
}

#[test]
fn a_shadow_only_tells() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let target = ATTACK.replace("block", "shadow");
    assert_eq!(send(&proxyd, Request::get(&target)).json()["target"], json!(target));
    assert_eq!(send(&proxyd, Request::new("PUT", "/shadow/put")).status, 200);
    let deep = Request::post("/shadow/deep", "[[[[[1]]]]]").header("Content-Type", "application/json");
    assert_eq!(send(&proxyd, deep).json()["body"], "[[[[[1]]]]]");
    // What could not be judged, or is too large already, is not judged further: one misfit is told.
    let json = |path: &str, body: &str| Request::post(path, body).header("Content-Type", "application/json");
    assert_eq!(send(&proxyd, json("/shadow/gzip", "[[[[[1]").header("Content-Encoding", "gzip")).status, 200);
    assert_eq!(send(&proxyd, json("/shadow/large", &"[".repeat(1025))).status, 200);
    for (path, rule) in [
        ("/shadow/", "sql_injection"),
        ("/shadow/put", "method"),
        ("/shadow/deep", "json_depth"),
        ("/shadow/gzip", "content_type"),
        ("/shadow/large", "json_size"),
    ] {
        let rows = proxyd.audit(&json!({"path": path}), 1);
        assert_eq!(
            (&rows[0]["outcome"], &rows[0]["tries"]),
            (&json!("served"), &json!(format!("threat: {rule} (shadow)")))
        );
        let labels = [&*format!("rule=\"{rule}\""), "mode=\"shadow\""];
        assert_eq!(proxyd.metric("proxyd_threats_total", &labels) as u64, 1, "{rule}");
    }
}

#[test]
fn scores_are_the_config_s() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    assert_eq!(send(&proxyd, Request::get("/scores/?a=../../x")).status, 200);
    assert_eq!(send(&proxyd, Request::get("/scores/?a=%27+or+1=1--")).status, 200, "5 of 8");
    check_refused(&send(&proxyd, Request::get("/scores/?a=%00")), 403, "threat_null_byte");
    check_refused(&send(&proxyd, Request::get("/scores/?a=%27+or+1=1--&b=<script>")), 403, "threat_sql_injection");
}

#[test]
fn requests_must_look_as_the_config_says() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let post = |kind: &str, body: &str| {
        let request = Request::post("/shape/", body);
        send(&proxyd, if kind.is_empty() { request } else { request.header("Content-Type", kind) })
    };
    let put = send(&proxyd, Request::new("PUT", "/shape/"));
    check_refused(&put, 405, "threat_method");
    assert_eq!(put.header("allow"), Some("GET, POST, HEAD"));
    check_refused(&post("", "zebra"), 415, "threat_content_type");
    check_refused(&post("text/plain", "zebra"), 415, "threat_content_type");
    check_refused(&post("application/json", &"1".repeat(1025)), 413, "threat_json_size");
    let gzip = Request::post("/shape/", "x").header("Content-Type", "application/json");
    check_refused(&send(&proxyd, gzip.header("Content-Encoding", "gzip")), 415, "threat_content_type");
    check_refused(&post("application/json; charset=utf-16", "1"), 415, "threat_content_type");
    assert_eq!(upstream.requests(), 0);
    check_refused(&post("application/json", "[\0[\0"), 415, "threat_content_type");
    let body = r#"{"a":[{"b":["]]]]"]}]}"#;
    assert_eq!(post("application/json; charset=utf-8", body).json()["body"], body);
    assert_eq!(post("image/png", &"[".repeat(2000)).json()["body_bytes"], 2000);
    assert_eq!(send(&proxyd, Request::get("/shape/")).status, 200);
    assert_eq!(send(&proxyd, Request::new("HEAD", "/shape/")).status, 200);
    assert_eq!(send(&proxyd, Request::post("/shape/", "")).status, 200, "no body has no type");
}

#[test]
fn padding_hides_nothing_where_attacks_are_and_else_is_told() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "server: {{limits: {{headers: 128KiB, request_line: 64KiB}}}}\nthreats: block\nroutes:\n  - {{path: /, target: '{}'}}\n",
        upstream.url()
    ));
    let long = "y".repeat(40_000);
    let padded = |path: &str| Request::get(path).header("X-Long", &long);
    check_refused(
        &send(&proxyd, padded("/").header("Cookie", "a=${jndi:ldap://zebra/}")),
        403,
        "threat_template_injection",
    );
    check_refused(&send(&proxyd, padded("/").header("User-Agent", "sqlmap/1.7")), 403, "threat_scanner_agent");
    assert_eq!(send(&proxyd, padded("/header")).status, 200);
    assert_eq!(send(&proxyd, Request::get(&format!("/query?a={long}"))).status, 200);
    assert_eq!(send(&proxyd, Request::get("/short")).status, 200);
    for (path, tries) in
        [("/header", "threat: not all was looked at"), ("/query", "threat: not all was looked at"), ("/short", "")]
    {
        let rows = proxyd.audit(&json!({"path": path}), 1);
        assert_eq!(rows[0]["tries"], tries, "{path}");
    }
    assert_eq!(proxyd.metric("proxyd_threats_total", &["rule=\"unseen\"", "mode=\"shadow\""]) as u64, 4);
}

#[test]
fn json_that_nests_too_deep_is_refused_while_it_comes() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let whole = Request::post("/shape/whole", "[[[[[").header("Content-Type", "application/problem+json");
    check_refused(&send(&proxyd, whole), 413, "threat_json_depth");

    let head = "POST /shape/chunked HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut wire = Wire::connect(proxyd.address());
    wire.send(head);
    // Some of it has gone on when the rest is refused; each bracket in a piece of its own.
    for piece in ["{\"a\":\"[[[[[\",", "\"b\":[", "[", "["] {
        wire.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    wire.send("1\r\n[\r\n");
    let response = wire.response("POST");
    check_refused(&response, 413, "threat_json_depth");
    assert_eq!(response.header("connection"), Some("close"));
    let rows = proxyd.audit(&json!({"path": "/shape/chunked"}), 1);
    assert_eq!((&rows[0]["status"], &rows[0]["outcome"]), (&json!(413), &json!("threat_json_depth")));

    let mut wire = Wire::connect(proxyd.address());
    wire.send(head);
    for _ in 0..10 {
        if !wire.try_send(format!("100\r\n\"{}\"\r\n", "y".repeat(0xFE))) {
            break;
        }
    }
    check_refused(&wire.response("POST"), 413, "threat_json_size");

    // What keeps to the bounds arrives whole, and the connection goes on.
    let mut wire = Wire::connect(proxyd.address());
    for _ in 0..2 {
        wire.send(head);
        for piece in ["{\"a\":", "[[[1]", "]],\"b\":\"[[", "[[\"}"] {
            wire.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
        }
        wire.send("0\r\n\r\n");
        assert_eq!(wire.response("POST").json()["body"], "{\"a\":[[[1]]],\"b\":\"[[[[\"}");
    }
}

#[test]
fn a_stream_of_http2_is_looked_at_too() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let mut client = Http2::connect(proxyd.address());
    let fields = [&post_fields("/shape/")[..], &[("content-type", "application/json")]].concat();
    client.head(1, &fields, false);
    client.data(1, b"[[[", false);
    client.data(1, b"[[", false);
    let message = client.whole(1);
    assert!(message.status() == 413 && message.text().contains("threat_json_depth") && message.ended, "{message:?}");
    client.head(3, &fields, false);
    client.data(3, b"[[[[]]]]", true);
    assert_eq!(client.whole(3).status(), 200);
    assert_eq!(client.get(5, ATTACK).status(), 403);
}

#[test]
fn explain_says_what_would_be_found() {
    let upstream = Upstream::echo();
    let proxyd = started(&upstream);
    let check = |url: &str, expected: &str| {
        let told = proxyd.ask("explain", &json!({"method": "GET", "url": url}));
        let line = told["policies"].as_array().and_then(|lines| lines.iter().find(|line| line["policy"] == "threats"));
        assert_eq!(line.map(|line| &line["effect"]), Some(&json!(expected)), "{url}");
    };
    let refuses = "refuses with 403: threat_sql_injection, 5 of 5 (sql_injection 5)";
    check(&format!("http://h{ATTACK}"), refuses);
    check(&format!("http://h{}", ATTACK.replace("block", "shadow")), &format!("{refuses}; only watches"));
    check("http://h/block/?q=b", "finds nothing");
    check("http://h/off/?q=%00", "off");
}
