//! The socket door: lines in, lines out, and callers that are rude.

use std::path::Path;

use serde_json::{Value, json};
use shared::config::SocketPlace;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::control::stand_in::StandIn;
use crate::inherited::Inherited;

/// A caller of a door behind which [`StandIn`] answers.
struct Talk {
    write: OwnedWriteHalf,
    read: BufReader<OwnedReadHalf>,
}

struct Desk {
    folder: tempfile::TempDir,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Desk {
    fn open(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = SocketPlace::Path(folder.path().join("s"));
        let socket = Arc::new(bind(&place, 0o600, &mut Inherited::default()).unwrap());
        let stop = CancellationToken::new();
        let serving = serve(socket, Arc::new(StandIn::default()), bounds, stop.clone(), TaskTracker::new());
        let served = tokio::spawn(serving);
        Self { folder, stop, served }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("s")
    }

    async fn talk(&self) -> Talk {
        Talk::to(&self.path()).await
    }
}

impl Talk {
    async fn to(path: &Path) -> Self {
        let (read, write) = UnixStream::connect(path).await.unwrap().into_split();
        Self { write, read: BufReader::new(read) }
    }

    async fn say(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line; null at the end.
    async fn hear(&mut self) -> Value {
        let mut text = String::new();
        let deadline = Duration::from_secs(10);
        tokio::time::timeout(deadline, self.read.read_line(&mut text)).await.expect("an answer in time").unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

async fn check(text: &str, expected: &str) {
    let desk = Desk::open(Bounds::default());
    let mut talk = desk.talk().await;
    talk.say(&format!("{text}\n")).await;
    let answer = talk.hear().await;
    let code = answer["error"]["code"].as_str().or(answer["ok"]["command"].as_str());
    assert_eq!(code, Some(expected), "{text}: {answer}");
    // Whatever was said before, the connection goes on.
    talk.say("{\"v\":1,\"id\":\"next\",\"command\":\"status\"}\n").await;
    assert_eq!(talk.hear().await["id"], "next");
}

#[tokio::test]
async fn lines_are_answered_and_the_connection_stays() {
    check(r#"{"v":1,"id":1,"command":"status"}"#, "status").await;
    check("\n\n{\"v\":1,\"id\":1,\"command\":\"status\"}", "status").await;
    check("nonsense", "malformed_request").await;
    check("\u{0}\u{1}", "malformed_request").await;
    check(r#"{"v":9,"id":1,"command":"status"}"#, "unsupported_version").await;
    check(r#"{"v":1,"id":1,"command":"fly"}"#, "unknown_command").await;
    check(r#"{"v":1,"id":1,"command":"status","args":{"x":1}}"#, "invalid_arguments").await;
    check(r#"{"v":1,"id":1,"command":"log_level","args":{"level":"loud"}}"#, "invalid_arguments").await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_answered_then_the_connection_closed() {
    let desk = Desk::open(Bounds::default());
    let mut talk = desk.talk().await;
    let (mut read, mut write) = (talk.read, talk.write);
    let flood = tokio::spawn(async move {
        let _ = write.write_all(&vec![b'x'; 2 * 1024 * 1024]).await;
        write
    });
    let mut text = String::new();
    read.read_line(&mut text).await.unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["error"]["code"], "request_too_large");
    assert_eq!(answer["id"], Value::Null);
    let mut rest = Vec::new();
    let _ = read.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    drop(flood.await);
    talk = desk.talk().await;
    talk.say("{\"v\":1,\"id\":2,\"command\":\"status\"}\n").await;
    assert_eq!(talk.hear().await["id"], 2);
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let desk = Desk::open(Bounds { in_flight: 3, ..Bounds::default() });
    let mut talk = desk.talk().await;
    let many: Vec<String> = (0..200).map(|id| format!("{{\"v\":1,\"id\":{id},\"command\":\"status\"}}\n")).collect();
    talk.say(&many.concat()).await;
    let mut heard = Vec::new();
    for _ in 0..200 {
        heard.push(talk.hear().await["id"].as_i64().unwrap());
    }
    heard.sort_unstable();
    assert_eq!(heard, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_last_request_needs_no_newline_and_half_closing_is_honoured() {
    let desk = Desk::open(Bounds::default());
    let mut talk = desk.talk().await;
    talk.say(r#"{"v":1,"id":1,"command":"routes"}"#).await;
    talk.write.shutdown().await.unwrap();
    for _ in 0..StandIn::ROUTES {
        assert_eq!(talk.hear().await["event"]["command"], "routes");
    }
    assert_eq!(talk.hear().await["end"], json!({}));
    assert_eq!(talk.hear().await, Value::Null);
}

#[tokio::test]
async fn a_caller_who_reads_nothing_makes_nobody_wait_and_is_let_go() {
    let desk = Desk::open(Bounds { patience: Duration::from_millis(200), ..Bounds::default() });
    let mut rude = desk.talk().await;
    rude.say("{\"v\":1,\"id\":1,\"command\":\"audit\",\"args\":{\"follow\":true}}\n").await;
    let mut polite = desk.talk().await;
    for id in 0..20 {
        polite.say(&format!("{{\"v\":1,\"id\":{id},\"command\":\"status\"}}\n")).await;
        assert_eq!(polite.hear().await["id"], id);
    }
    // What was on its way may still be read; then comes the end, although the stream has none.
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let _ = rude.read.read_to_end(&mut rest).await;
    })
    .await
    .expect("the connection is closed");
}

#[tokio::test]
async fn streams_without_end_are_bounded_and_end_with_their_caller() {
    let desk = Desk::open(Bounds { endless: 1, ..Bounds::default() });
    let mut talk = desk.talk().await;
    talk.say("{\"v\":1,\"id\":1,\"command\":\"audit\",\"args\":{\"follow\":true}}\n").await;
    assert_eq!(talk.hear().await["id"], 1);
    talk.say("{\"v\":1,\"id\":2,\"command\":\"audit\",\"args\":{\"follow\":true}}\n").await;
    loop {
        let answer = talk.hear().await;
        if answer["id"] == 2 {
            assert_eq!(answer["error"]["code"], "busy");
            break;
        }
    }
    talk.write.shutdown().await.unwrap();
    while talk.hear().await != Value::Null {}
}

#[tokio::test]
async fn too_many_connections_are_told_so_and_stopping_removes_the_file() {
    let desk = Desk::open(Bounds { operators: 1, ..Bounds::default() });
    let mut first = desk.talk().await;
    first.say("{\"v\":1,\"id\":1,\"command\":\"status\"}\n").await;
    assert_eq!(first.hear().await["id"], 1);
    assert_eq!(desk.talk().await.hear().await["error"]["code"], "busy");
    desk.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), desk.served).await.unwrap().unwrap();
    assert!(!desk.folder.path().join("s").exists());
}

#[tokio::test]
async fn who_may_what_follows_from_the_peer() {
    let me = nix::unistd::geteuid().as_raw();
    let (near, _far) = UnixStream::pair().unwrap();
    let peer = near.peer_cred().unwrap();
    let owner = identify(peer, me, peer.gid()).await;
    assert_eq!(owner.access, Some(Access::Role(Role::Operator)));
    assert!(owner.actor.contains(&format!("uid {me}")), "{}", owner.actor);
    if me != 0 {
        assert_eq!(identify(peer, me + 1, peer.gid()).await.access, Some(Access::Role(Role::Reader)));
        assert_eq!(identify(peer, me + 1, peer.gid() + 1).await.access, None);
    }
}
