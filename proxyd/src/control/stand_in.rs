//! For the tests of the doors: answers like the daemon, and remembers what it was asked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shared::config::{
    AccessLog, Admin, Audit, Config, Keep, Level, Limits, Log, LogFormat, Policies, Redact, RequestAudit, Server,
    ServerTimeouts, SocketPlace, WhenFull,
};
use shared::control::{Access, Command, ControlError, ErrorCode};

use super::{Caller, Executor, Reply};

/// A config with nothing in it but what a door looks at.
pub(super) fn config() -> Config {
    Config {
        server: Server {
            listen: Vec::new(),
            workers: None,
            trusted_proxies: Vec::new(),
            state_dir: PathBuf::new(),
            health_path: None,
            merge_slashes: false,
            limits: Limits {
                connections: 1,
                request_line: 1,
                headers: 1,
                header_count: 1,
                connections_per_address: None,
                requests_per_connection: None,
                streams: 1,
                stream_window: 1,
            },
            timeouts: ServerTimeouts {
                request_headers: Duration::ZERO,
                request_body: Duration::ZERO,
                keep_alive: Duration::ZERO,
                drain: Duration::ZERO,
                handshake: Duration::ZERO,
                write: Duration::ZERO,
            },
        },
        admin: Admin {
            listen: None,
            socket: SocketPlace::Auto,
            socket_mode: 0o600,
            auth: None,
            hosts: vec!["proxy.example.com".to_owned()],
        },
        log: Log {
            level: Level::Info,
            format: LogFormat::Json,
            access: AccessLog::Off,
            slow_request: None,
            redact: Redact::default(),
        },
        audit: Audit {
            requests: RequestAudit::All,
            path: PathBuf::new(),
            flush: Duration::ZERO,
            when_full: WhenFull::Wait,
            keep: Keep { days: None, size_bytes: None },
        },
        upstreams: Vec::new(),
        routes: Vec::new(),
        policies: Policies::default(),
        identity: shared::config::Identity::default(),
        redis: None,
        bans: None,
    }
}

/// Knows no daemon.
pub(super) struct StandIn {
    pub(super) config: Arc<Config>,
    pub(super) asked: Mutex<Vec<(Command, Option<Access>, String)>>,
    pub(super) turned_away: Mutex<Vec<(String, ErrorCode)>>,
}

impl StandIn {
    /// How many rows `routes` answers.
    pub(super) const ROUTES: usize = 100;
}

impl Default for StandIn {
    fn default() -> Self {
        Self { config: Arc::new(config()), asked: Mutex::default(), turned_away: Mutex::default() }
    }
}

impl Executor for StandIn {
    async fn run(&self, command: Command, caller: &Caller) -> Result<Reply, ControlError> {
        self.asked.lock().unwrap().push((command.clone(), caller.access, caller.actor.clone()));
        if !caller.access.is_some_and(|access| access.allows(&command)) {
            return Err(ControlError::new(ErrorCode::NotPermitted, "no"));
        }
        let name = command.name();
        match command {
            Command::Routes(_) => Ok(Reply::stream(false, move |sink| async move {
                for number in 0..Self::ROUTES {
                    if !sink.event(&json!({ "command": name, "number": number })).await {
                        return;
                    }
                }
                sink.end(&json!({})).await;
            })),
            Command::Audit(query) if query.follow => Ok(Reply::stream(true, move |sink| async move {
                let row = json!({ "kind": "action", "seq": 7, "padding": "x".repeat(1000) });
                while sink.event(&row).await {
                    tokio::time::sleep(Duration::from_micros(10)).await;
                }
            })),
            Command::Limits(_) => Ok(Reply::stream(false, |sink| async move {
                sink.fail(ControlError::new(ErrorCode::NotFound, "no such rule")).await;
            })),
            Command::Status(_)
            | Command::Explain(_)
            | Command::Reload(_)
            | Command::Validate(_)
            | Command::Config(_)
            | Command::History(_)
            | Command::Rollback(_)
            | Command::Audit(_)
            | Command::AuditHead(_)
            | Command::AuditVerify(_)
            | Command::Upstreams(_)
            | Command::UpstreamsSet(_)
            | Command::UpstreamsRegister(_)
            | Command::UpstreamsDeregister(_)
            | Command::Keys(_)
            | Command::Tokens(_)
            | Command::Users(_)
            | Command::Bans(_)
            | Command::KeysCreate(_)
            | Command::KeysRevoke(_)
            | Command::KeysRotate(_)
            | Command::TokensRevoke(_)
            | Command::UsersAdd(_)
            | Command::UsersSet(_)
            | Command::UsersPassword(_)
            | Command::UsersRemove(_)
            | Command::BansAdd(_)
            | Command::BansLift(_)
            | Command::LimitsTop(_)
            | Command::LimitsReset(_)
            | Command::LogLevel(_)
            | Command::Upgrade(_)
            | Command::Shutdown(_) => Ok(Reply::One(json!({ "command": name }))),
        }
    }

    async fn turned_away(&self, _caller: &Caller, asked: &str, error: &ControlError) {
        self.turned_away.lock().unwrap().push((asked.to_owned(), error.code));
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    fn health(&self, rest: &str) -> Option<(u16, String)> {
        matches!(rest, "" | "/" | "/live" | "/ready").then(|| (200, "{\"status\":\"ok\"}\n".to_owned()))
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}
