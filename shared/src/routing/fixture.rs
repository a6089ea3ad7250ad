//! Test only: checked configs without a text to load.

use std::sync::Arc;
use std::time::Duration;

use regex_automata::meta::Regex;

use crate::config::policy::Policies;
use crate::config::{
    AccessLog, Action, Admin, Audit, Balance, Config, EncodedSlash, Endpoint, ForwardHost, HostPattern, Keep, Level,
    Limits, Log, LogFormat, Origin, PathPattern, Pattern, Pool, Redact, RequestAudit, Respond, Route, RouteTimeouts,
    Server, ServerTimeouts, SocketPlace, Upstream, UpstreamProtocol, UpstreamTimeouts, WhenFull,
};

use super::Lookup;

/// Header lines: lower-case name, value.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers(pub(super) Vec<(String, String)>);

impl Lookup for Headers {
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(line, value)| line == name && each(value.as_bytes()))
    }
}

pub(super) fn pattern(text: &str) -> Pattern {
    Pattern { text: text.into(), regex: Regex::new(text).unwrap() }
}

/// `/a` is a prefix, `= /a` exact, `~ a` a pattern.
pub(super) fn path(text: &str) -> PathPattern {
    match text.split_at_checked(2) {
        Some(("= ", path)) => PathPattern::Exact(path.into()),
        Some(("~ ", regex)) => PathPattern::Regex(pattern(regex)),
        Some(_) | None => PathPattern::Prefix(text.into()),
    }
}

/// `*.example.org` is a wildcard.
pub(super) fn host(text: &str) -> HostPattern {
    match text.strip_prefix('*') {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(text.into()),
    }
}

/// A route of this name and path that answers 200.
pub(super) fn route(name: &str, match_path: &str) -> Route {
    Route {
        name: name.into(),
        at: Origin::default_value(),
        hosts: Vec::new(),
        path: path(match_path),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        priority: 0,
        is_implied: false,
        encoded_slash: EncodedSlash::Refuse,
        forward_host: ForwardHost::Keep,
        action: Action::Respond(Respond { status: 200, headers: Vec::new(), body: "".into() }),
        rewrite: None,
        timeouts: RouteTimeouts::default(),
        retry: None,
        policies: Policies::default().into(),
    }
}

pub(super) fn upstream(name: &str, addresses: &[&str]) -> Upstream {
    let second = Duration::from_secs(1);
    let endpoint = |address: &&str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        Endpoint {
            host: host.into(),
            port: port.parse().unwrap(),
            weight: 1,
            backup: false,
            srv: false,
            address: (*address).into(),
        }
    };
    Upstream {
        name: name.into(),
        endpoints: addresses.iter().map(endpoint).collect(),
        balance: Balance::RoundRobin,
        sticky: None,
        probe: None,
        eject: None,
        breaker: None,
        retry: None,
        in_flight: None,
        slow_start: None,
        panic_below: None,
        resolve: None,
        timeouts: UpstreamTimeouts {
            connect: second,
            tls: second,
            write: second,
            response_headers: second,
            idle: second,
            total: None,
            tunnel: None,
        },
        pool: Pool { idle: 1, idle_for: second, connections: 1, queue: 1, streams: 1, stream_window: 65_536 },
        protocol: UpstreamProtocol::Http1,
        tls: None,
        proxy_protocol: None,
        at: Origin::default_value(),
    }
}

pub(super) fn config(routes: Vec<Route>) -> Config {
    let second = Duration::from_secs(1);
    Config {
        server: Server {
            listen: Vec::new(),
            workers: None,
            trusted_proxies: Vec::new(),
            state_dir: "data".into(),
            health_path: None,
            merge_slashes: false,
            limits: Limits {
                connections: 1,
                request_line: 8192,
                headers: 32768,
                header_count: 100,
                connections_per_address: None,
                requests_per_connection: None,
                streams: 1,
                stream_window: 65_536,
            },
            timeouts: ServerTimeouts {
                request_headers: second,
                request_body: second,
                keep_alive: second,
                drain: second,
                handshake: second,
                write: second,
            },
        },
        admin: Admin { listen: None, socket: SocketPlace::Auto, socket_mode: 0o600, auth: None, hosts: Vec::new() },
        log: Log {
            level: Level::Info,
            format: LogFormat::Json,
            access: AccessLog::Off,
            slow_request: None,
            redact: Redact::default(),
        },
        audit: Audit {
            requests: RequestAudit::All,
            path: "audit".into(),
            flush: second,
            when_full: WhenFull::Wait,
            keep: Keep { days: None, size_bytes: None },
        },
        upstreams: Vec::new(),
        routes,
        policies: Policies::default(),
        identity: crate::config::Identity::default(),
        redis: None,
        bans: None,
    }
}

pub(super) fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}
