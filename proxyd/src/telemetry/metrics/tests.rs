//! The page: the golden one, and that any page is well-formed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::telemetry::process::Process;

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn gauges() -> Gauges {
    Gauges {
        version: "0.1.0".to_owned(),
        generation: 7,
        uptime: Duration::from_millis(12_500),
        ready: true,
        reloads: vec![("done".to_owned(), 6), ("config_invalid".to_owned(), 1)],
        last_reload: Some(LastReload { succeeded: false, unix_us: 1_795_389_275_123_456 }),
        audit: Audit { writable: true, queued: 3, written: 100, shed: 0, commits: 5, commit_us: 7_250 },
        limiters: vec![Limiter {
            scope: "top level".to_owned(),
            rule: "default".to_owned(),
            keys: 9,
            max_keys: 100,
            evictions: 1,
        }],
        verifiers: vec![
            Verifier {
                provider: "jwt.main".to_owned(),
                hits: 90,
                misses: 10,
                keys: 2,
                fetches: Some(KeyFetches { done: 7, failed: 1, fresh_s: Some(1_795_389_000) }),
            },
            Verifier { provider: "jwt.partner".to_owned(), hits: 3, misses: 4, keys: 1, fetches: None },
        ],
        bans: BanGauge { active: 6, missed: 2 },
        mails: None,
        store: Some(StoreGauge { breaker: "closed" }),
        certificates: vec![Certificate {
            listener: "127.0.0.1:8443".to_owned(),
            path: "site.pem".to_owned(),
            not_after: 1_900_000_000,
        }],
        upstreams: vec![UpstreamGauge { name: "users".to_owned(), used: 1, panics: true, waiting: 2 }],
        endpoints: vec![EndpointGauge {
            upstream: "users".to_owned(),
            address: "127.0.0.1:8001".to_owned(),
            state: "ejected",
            ejections: 3,
            trips: 1,
            probes_passed: 10,
            probes_failed: 2,
        }],
        access_log_dropped: 4,
        process: Process { cpu_us: 1_500_000, resident_bytes: 4096, threads: 5, open_fds: 20, max_fds: 1024 },
    }
}

/// Two workers that have met every kind of cell.
fn busy() -> Arc<Metrics> {
    let metrics = Metrics::new(2);
    for index in 0..2 {
        let worker = metrics.worker(index);
        worker.connection_opened();
        worker.connection_opened();
        worker.connection_closed();
        worker.connection_refused("limit");
        worker.connection_error("parse");
        worker.protocol("http1");
        worker.protocol("http2");
        worker.tls_handshake("1.3");
        worker.http2_reset_received("CANCEL");
        worker.http2_reset_sent("PROTOCOL_ERROR");
        worker.http2_goaway_sent("NO_ERROR");
        for status in [200, 200, 404, 0, 999] {
            worker.request_started();
            worker.request_finished(status);
        }
        worker.request_started();
        worker.rejected("route_not_found");
        worker.slow_request();
        worker.retry_denied("unsafe");
        worker.fallback("respond");
        worker.mirrored("sent");
        worker.fault("delay");
        worker.tunnel_opened();
        worker.tunnel_opened();
        worker.tunnel_closed("tunnel_revoked");
        let route = worker.route(&name("users"));
        route.finished(200, 400, 10, 1_000);
        route.finished(200, 2_500, 0, 500);
        route.finished(404, 90_000_000, 0, 5);
        worker.route(&name("a \"quoted\\\" route")).finished(0, 1, 0, 0);
        let endpoint = worker.endpoint(&name("users"), &name("127.0.0.1:8001"));
        endpoint.connection_opened(700);
        endpoint.request_started();
        endpoint.responded(1_200);
        endpoint.answered(200);
        endpoint.answered(503);
        endpoint.retried();
        endpoint.idle_began();
        endpoint.failed("reset", 5_000 + index as i64);
        endpoint.failed("connect", 4_000);
        worker.store().asked("ok", 700);
        worker.store().unasked("open");
        let limit = worker.limit(&name("top level"), &name("default"));
        limit.allowed();
        limit.refused();
        limit.shadow_refused();
    }
    metrics.certificates_reloaded(true);
    metrics
}

#[test]
fn the_page_is_as_written_down() {
    let page = busy().page(&gauges());
    assert_eq!(page, include_str!("page.golden.txt"), "the page is now:\n{page}");
}

#[test]
fn pages_are_well_formed() {
    check_page(&busy().page(&gauges()));
    check_page(&Metrics::new(3).page(&Gauges::default()));
}

#[test]
fn the_reference_page_lists_every_family() {
    let page = busy().page(&gauges());
    let families = check_page(&page);
    let rows: Vec<String> = families
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |", family.name, family.kind, labels.join(", "), family.help)
        })
        .collect();
    let reference = include_str!("../../../../docs/reference/metrics.md");
    let written: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, rows, "docs/reference/metrics.md should have\n{}", rows.join("\n"));
}

#[test]
fn totals_and_endpoints_are_summed() {
    let metrics = busy();
    assert_eq!(metrics.totals(), Totals { connections: 2, in_flight: 2, requests: 10 });
    let expected = EndpointTotals {
        in_flight: 2,
        requests: 2,
        failures: 4,
        connections: 2,
        idle: 2,
        retries: 2,
        last_failure: Some((5_001, "reset")),
    };
    assert_eq!(metrics.endpoint_totals("users", "127.0.0.1:8001"), expected);
    assert_eq!(metrics.endpoint_totals("users", "127.0.0.1:8002"), EndpointTotals::default());
}

#[test]
fn counts_are_kept_by_name_and_forgotten_when_told() {
    let metrics = Metrics::new(1);
    let worker = metrics.worker(0);
    worker.route(&name("kept")).finished(200, 1, 0, 0);
    worker.route(&name("gone")).finished(200, 1, 0, 0);
    let held = worker.route(&name("gone"));
    let _ = worker.endpoint(&name("u"), &name("e"));
    worker.limit(&name("s"), &name("r")).allowed();
    worker.limit(&name("s"), &name("old")).allowed();
    worker.retain_routes(|route| route == "kept");
    worker.retain_endpoints(|_, _| false);
    worker.retain_limits(|scope, rule| (scope, rule) == ("s", "r"));
    held.finished(200, 1, 0, 0);
    worker.route(&name("kept")).finished(200, 1, 0, 0);
    let page = metrics.page(&Gauges::default());
    assert!(page.contains("proxyd_requests_total{route=\"kept\",status=\"2xx\"} 2\n"), "{page}");
    assert!(!page.contains("gone") && !page.contains("upstream=") && !page.contains("old"), "{page}");
    assert!(page.contains("proxyd_rate_limit_total{scope=\"s\",rule=\"r\",outcome=\"allowed\"} 1\n"), "{page}");
}

#[test]
fn a_page_is_written_while_workers_count() {
    let metrics = Metrics::new(2);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|index| {
            let (metrics, done) = (Arc::clone(&metrics), Arc::clone(&done));
            std::thread::spawn(move || {
                let worker = metrics.worker(index);
                let mut made = 0;
                while !done.load(Relaxed) {
                    worker.route(&name(&format!("r{}", made % 50))).finished(200, made, 1, 1);
                    worker.request_started();
                    worker.request_finished(200);
                    made += 1;
                }
                made
            })
        })
        .collect();
    let mut before = 0;
    for _ in 0..20 {
        check_page(&metrics.page(&Gauges::default()));
        let now = metrics.totals().requests;
        assert!(now >= before);
        before = now;
    }
    done.store(true, Relaxed);
    let made: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(metrics.totals().requests, made);
}

struct Family {
    name: String,
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The samples read so far, by name and labels.
type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Reads a page as a scraper would, strictly: each family once with HELP, TYPE and then its samples; names and labels
/// legal; values numbers; no sample twice; histograms cumulative, with `+Inf` equal to `_count`.
fn check_page(page: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut samples = Samples::new();
    let mut lines = page.lines();
    assert!(page.ends_with('\n'));
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(families.iter().all(|family| family.name != name), "{name} twice");
            families.push(Family {
                name: name.to_owned(),
                kind: kind.to_owned(),
                help: help.to_owned(),
                labels: BTreeSet::new(),
            });
            continue;
        }
        let family = families.last_mut().unwrap();
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(&family.name).unwrap_or_else(|| panic!("{line} in {}", family.name));
        let suffixes: &[&str] = match family.kind.as_str() {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        family.labels.extend(labels.iter().map(|(label, _)| label.clone()).filter(|label| label != "le"));
        if suffix == "_bucket" {
            check_bucket(&samples, &name, &labels, value);
        }
        if suffix == "_count" && family.kind == "histogram" {
            let mut all = labels.clone();
            all.push(("le".to_owned(), "+Inf".to_owned()));
            assert_eq!(samples.get(&(name.replace("_count", "_bucket"), all)), Some(&value), "{line}");
        }
        assert!(samples.insert((name, labels), value).is_none(), "{line} twice");
    }
    families
}

fn check_bucket(samples: &Samples, name: &str, labels: &[(String, String)], value: f64) {
    let bound = |labels: &[(String, String)]| -> f64 {
        let (label, bound) = labels.last().unwrap();
        assert_eq!(label, "le");
        if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }
    };
    let same =
        samples.iter().filter(|((other, all), _)| other == name && all[..all.len() - 1] == labels[..labels.len() - 1]);
    for ((_, all), &before) in same {
        assert!(bound(all) < bound(labels) && before <= value, "{name} {labels:?}");
    }
}

/// One sample line: name, labels, value.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(legal(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(legal(label), "{line}");
            let (mut value, mut letters) = (String::new(), after.char_indices());
            let end = loop {
                match letters.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next().unwrap().1 {
                        'n' => '\n',
                        plain @ ('\\' | '"') => plain,
                        other => panic!("\\{other} in {line}"),
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[end + 1..];
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').unwrap();
        }
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap();
    (name.to_owned(), labels, value)
}

fn legal(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
