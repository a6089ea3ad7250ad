//! The HTTP door against callers that keep the rules, and against some that do not.

use std::fmt::Write as _;

use serde_json::Value;
use shared::config::{AdminAuth, AdminToken, Role, Secret};
use shared::control::{Access, Command, ErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::control::stand_in::{StandIn, config};

struct Opened {
    address: SocketAddr,
    executor: Arc<StandIn>,
    stop: CancellationToken,
    listening: watch::Sender<Option<Arc<TcpListener>>>,
}

/// What came back.
#[derive(Debug)]
struct Heard {
    status: u16,
    head: String,
    body: String,
}

impl Opened {
    async fn new(auth: Option<AdminAuth>, bounds: Bounds) -> Self {
        let mut config = config();
        config.admin.auth = auth;
        let executor = Arc::new(StandIn { config: Arc::new(config), ..StandIn::default() });
        let listener = bind("127.0.0.1:0".parse().unwrap(), &mut Inherited::default()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (listening, receiver) = watch::channel(Some(listener));
        let stop = CancellationToken::new();
        tokio::spawn(serve(receiver, Arc::clone(&executor), bounds, stop.clone(), TaskTracker::new()));
        Self { address, executor, stop, listening }
    }

    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Heard {
        let mut text = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            let _ = write!(text, "host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(text, "content-length: {}\r\n", body.len());
        }
        let _ = write!(text, "\r\n{body}");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(text.as_bytes()).await;
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
        let _ = read.expect("an answer in time");
        Heard::parse(&bytes)
    }
}

impl Heard {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

async fn check(method: &str, target: &str, headers: &[(&str, &str)], body: &str, expected: (u16, &str)) {
    let opened = Opened::new(None, Bounds { config: 1000, ..Bounds::default() }).await;
    let heard = opened.ask(method, target, headers, body).await;
    let json = heard.json();
    let said = json["error"]["code"].as_str().or(json["command"].as_str()).or(json["status"].as_str());
    assert_eq!((heard.status, said.unwrap_or_default()), expected, "{method} {target}: {heard:?}");
}

#[tokio::test]
async fn commands_are_asked_for_by_path() {
    check("GET", "/admin/status", &[], "", (200, "status")).await;
    check("POST", "/admin/reload", &[], "", (200, "reload")).await;
    check("POST", "/admin/reload", &[], r#"{"dry_run":true}"#, (200, "reload")).await;
    check("POST", "/admin/validate?name=x", &[], "routes: []", (200, "validate")).await;
    check("POST", "/admin/reload", &[], "{", (400, "malformed_request")).await;
    check("POST", "/admin/reload", &[], r#"{"fast":true}"#, (400, "invalid_arguments")).await;
    check("POST", "/admin/reload", &[], r#"{"config":"/etc/passwd"}"#, (403, "not_permitted")).await;
    check("POST", "/admin/shutdown", &[], "", (403, "not_permitted")).await;
    check("GET", "/admin/status?x=1", &[], "", (400, "invalid_arguments")).await;
    check("GET", "/admin/nothing", &[], "", (404, "not_found")).await;
    check("GET", "/", &[], "", (404, "not_found")).await;
    check("PUT", "/admin/status", &[], "", (405, "invalid_arguments")).await;
    check("POST", "/admin/validate", &[], &"x".repeat(1001), (413, "request_too_large")).await;
    check("GET", "/admin/limits", &[], "", (404, "not_found")).await;
    check("GET", "/admin/audit/stream", &[("last-event-id", "x")], "", (400, "invalid_arguments")).await;
}

#[tokio::test]
async fn guards_stand_before_everything_but_health() {
    let evil = ("host", "evil.example.com");
    check("GET", "/admin/status", &[evil], "", (403, "not_permitted")).await;
    check("GET", "/metrics", &[evil], "", (403, "not_permitted")).await;
    check("GET", "/admin/status", &[("host", "proxy.example.com")], "", (200, "status")).await;
    check("POST", "/admin/reload", &[("origin", "http://evil.example.com")], "", (403, "not_permitted")).await;
    check("GET", "/health/ready", &[evil], "", (200, "ok")).await;
    check("GET", "/health", &[], "", (200, "ok")).await;
    check("GET", "/health/", &[], "", (200, "ok")).await;
    check("POST", "/health", &[], "", (405, "invalid_arguments")).await;
    check("GET", "/healthy", &[], "", (404, "not_found")).await;
}

#[tokio::test]
async fn pages_have_their_kinds() {
    let opened = Opened::new(None, Bounds::default()).await;
    let metrics = opened.ask("GET", "/metrics", &[], "").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
    let document = opened.ask("GET", "/admin/openapi.json", &[], "").await;
    assert_eq!(document.json()["openapi"], "3.1.0");
    let wrong = opened.ask("PUT", "/admin/limits/10.0.0.1", &[], "").await;
    assert!(wrong.status == 405 && wrong.head.contains("allow: delete"), "{wrong:?}");
}

#[tokio::test]
async fn streams_are_lines_with_an_end() {
    let opened = Opened::new(None, Bounds::default()).await;
    let heard = opened.ask("GET", "/admin/routes", &[("te", "trailers")], "").await;
    assert!(heard.head.contains("application/x-ndjson"), "{}", heard.head);
    assert_eq!(heard.body.matches("\"number\"").count(), StandIn::ROUTES);
    assert!(heard.body.contains("{\"end\":{}}"), "{}", heard.body);
}

#[tokio::test]
async fn events_go_on_until_the_caller_leaves() {
    let opened = Opened::new(None, Bounds::default()).await;
    let mut stream = TcpStream::connect(opened.address).await.unwrap();
    let text = format!("GET /admin/audit/stream HTTP/1.1\r\nhost: {}\r\nlast-event-id: 7\r\n\r\n", opened.address);
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut heard = String::new();
    while heard.matches("\nid: 7\n").count() < 3 {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut chunk)).await.unwrap().unwrap();
        assert_ne!(read, 0);
        heard.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    assert!(heard.contains("text/event-stream"), "{heard}");
    opened.stop.cancel();
    let mut rest = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut rest)).await;
    assert!(ended.is_ok(), "a daemon that stops ends its streams");
    let asked = opened.executor.asked.lock().unwrap()[0].0.clone();
    let Command::Audit(query) = asked else { panic!("{asked:?}") };
    assert!(query.follow && query.after == Some(7));
}

#[tokio::test]
async fn credentials_decide_what_a_caller_may() {
    let token = |name: &str, role| AdminToken { name: name.into(), token: Secret::new(format!("{name}-token")), role };
    let tokens = vec![token("ci", Role::Reader), token("users", Role::Registrar), token("op", Role::Operator)];
    let auth = AdminAuth { basic: Vec::new(), tokens };
    let opened = Opened::new(Some(auth), Bounds::default()).await;
    let silent = opened.ask("GET", "/admin/status", &[], "").await;
    assert!(silent.status == 401 && silent.head.contains("www-authenticate: basic"), "{silent:?}");
    assert_eq!(opened.ask("GET", "/health/live", &[], "").await.status, 200);
    assert_eq!(opened.ask("GET", "/metrics", &[], "").await.status, 401);
    let (reader, operator) = (("authorization", "Bearer ci-token"), ("authorization", "Bearer op-token"));
    assert_eq!(opened.ask("GET", "/metrics", &[reader], "").await.status, 200);
    assert_eq!(opened.ask("GET", "/admin/status", &[reader], "").await.status, 200);
    assert_eq!(opened.ask("POST", "/admin/shutdown", &[reader], "").await.status, 403);
    let (registrar, endpoints) = (("authorization", "Bearer users-token"), "/admin/upstreams/u/endpoints");
    let registration = r#"{"endpoint":"h:1","ttl":"30s"}"#;
    assert_eq!(opened.ask("POST", endpoints, &[registrar], registration).await.status, 200);
    assert_eq!(opened.ask("POST", endpoints, &[reader], registration).await.status, 403);
    let one = format!("{endpoints}/h%3A1");
    assert_eq!(opened.ask("DELETE", &one, &[registrar], "").await.status, 200);
    assert_eq!(opened.ask("PUT", &one, &[registrar], r#"{"state":"down"}"#).await.status, 403);
    assert_eq!(opened.ask("PUT", &one, &[operator], r#"{"state":"down"}"#).await.status, 200);
    assert_eq!(opened.ask("POST", "/admin/shutdown", &[registrar], "").await.status, 403);
    assert_eq!(opened.ask("POST", "/admin/shutdown", &[operator], "").await.status, 200);
    let (_, access, actor) = opened.executor.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!((access, actor.as_str()), (Some(Access::Role(Role::Operator)), "token op at 127.0.0.1"));
    for _ in 0..10 {
        assert_eq!(opened.ask("GET", "/admin/status", &[("authorization", "Bearer guess")], "").await.status, 401);
    }
    let limited = opened.ask("GET", "/admin/status", &[operator], "").await;
    assert!(limited.status == 429 && limited.head.contains("retry-after: "), "{limited:?}");
    let turned_away = opened.executor.turned_away.lock().unwrap();
    assert_eq!(turned_away.len(), 12);
    assert!(turned_away.iter().all(|(_, code)| *code == ErrorCode::Unauthenticated));
}

#[tokio::test]
async fn rude_callers_are_bounded() {
    let bounds = Bounds { connections: 1, head: Duration::from_millis(200), ..Bounds::default() };
    let opened = Opened::new(None, bounds).await;
    let mut slow = TcpStream::connect(opened.address).await.unwrap();
    slow.write_all(b"GET /admin/status HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), slow.read_to_end(&mut rest)).await.expect("let go");
    let garbage = TcpStream::connect(opened.address).await.unwrap();
    drop(garbage);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while opened.ask("GET", "/admin/status", &[], "").await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "the place is free again");
    }
}

#[tokio::test]
async fn a_listener_is_replaced_and_closed() {
    let opened = Opened::new(None, Bounds::default()).await;
    let other = bind("127.0.0.1:0".parse().unwrap(), &mut Inherited::default()).await.unwrap();
    let moved = Opened { address: other.local_addr().unwrap(), ..opened };
    moved.listening.send(Some(other)).unwrap();
    assert_eq!(moved.ask("GET", "/admin/status", &[], "").await.status, 200);
    moved.listening.send(None).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(moved.address).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "closed");
        tokio::task::yield_now().await;
    }
    moved.stop.cancel();
}
