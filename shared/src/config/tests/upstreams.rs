//! Upstreams that fail: what good texts mean, and how bad ones are told.

use std::time::Duration;

use super::{Known, good, told};
use crate::config::{
    Balance, Cause, Config, HashBy, Initial, Input, Percent, ProbeKind, ProbeMethod, References, Upstream, load,
};

/// One upstream with these keys, by its block form.
#[track_caller]
fn upstream(keys: &str) -> Upstream {
    good(&format!("upstreams:\n  u:\n    {}\nroutes: [{{upstream: u}}]\n", keys.replace('\n', "\n    ")))
        .config
        .upstreams[0]
        .as_ref()
        .clone()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_defaults() {
    let config =
        good("upstreams: {u: {endpoints: ['http://a']}}\nroutes: [{upstream: u}, {path: /t, target: 'http://a'}]");
    for upstream in &config.config.upstreams {
        assert_eq!(upstream.balance, Balance::RoundRobin);
        assert_eq!((&upstream.sticky, &upstream.probe, &upstream.eject), (&None, &None, &None));
        assert_eq!((&upstream.breaker, &upstream.retry, &upstream.in_flight), (&None, &None, &None));
        assert_eq!((upstream.slow_start, upstream.panic_below), (None, Some(Percent::of(100))));
        assert_eq!(upstream.resolve, None);
        let timeouts = &upstream.timeouts;
        assert_eq!((timeouts.connect, timeouts.tls, timeouts.write), (SECOND, 5 * SECOND, 30 * SECOND));
        let endpoint = &upstream.endpoints[0];
        assert_eq!((endpoint.weight, endpoint.backup, endpoint.srv), (1, false, false));
    }
}

#[test]
fn every_section_has_defaults() {
    let found = upstream(
        "endpoints: [http://a, http://b]\nsticky: {}\nprobe: {}\neject: {}\nbreaker: {}\nretry: {}\nin_flight: {total: 5}\nresolve: {}",
    );
    let sticky = found.sticky.unwrap();
    assert_eq!((&*sticky.cookie, sticky.max_age, &sticky.secret), ("proxyd_node", None, &None));
    let probe = found.probe.unwrap();
    assert_eq!((probe.interval, probe.down_interval, probe.timeout), (5 * SECOND, SECOND, SECOND));
    assert_eq!((probe.jitter, probe.healthy_after, probe.unhealthy_after), (Percent::of(2000), 2, 3));
    assert_eq!((probe.initial, probe.port), (Initial::Healthy, None));
    let ProbeKind::Http(http) = &probe.kind else { panic!("by HTTP") };
    assert_eq!((http.method, &*http.path, &http.host, &http.body), (ProbeMethod::Get, "/", &None, &None));
    assert_eq!((http.headers.len(), http.expect.to_string()), (0, "200-399".to_owned()));
    let eject = found.eject.unwrap();
    assert_eq!((eject.consecutive_errors, eject.error_rate, eject.latency), (Some(5), None, None));
    assert_eq!((eject.min_requests, eject.window, eject.statuses.to_string()), (20, 10 * SECOND, "500-599".to_owned()));
    assert_eq!((eject.lasts, eject.max_for, eject.max_percent), (30 * SECOND, 300 * SECOND, Percent::of(5000)));
    let breaker = found.breaker.unwrap();
    assert_eq!(
        (breaker.error_rate, breaker.slow, breaker.slow_rate),
        (Some(Percent::of(5000)), None, Percent::of(5000))
    );
    assert_eq!((breaker.window, breaker.min_requests, breaker.open_for), (10 * SECOND, 20, 5 * SECOND));
    assert_eq!((breaker.trials, breaker.statuses.to_string()), (3, "500-599".to_owned()));
    let retry = found.retry.unwrap();
    assert_eq!(
        (retry.attempts, retry.on.to_string()),
        (2, "connect, refused_stream, reset, timeout, 502-504".to_owned())
    );
    assert_eq!((retry.backoff, retry.max_backoff), (Duration::from_millis(25), SECOND));
    assert_eq!((retry.budget, retry.body), (Some(Percent::of(2000)), Some(64 << 10)));
    let in_flight = found.in_flight.unwrap();
    assert_eq!((in_flight.total, in_flight.endpoint, in_flight.queue, in_flight.wait), (Some(5), None, 100, SECOND));
    let resolve = found.resolve.unwrap();
    assert_eq!((resolve.every, resolve.servers.len(), resolve.timeout), (30 * SECOND, 0, 2 * SECOND));
}

#[test]
fn every_form_of_an_endpoint() {
    let found = upstream(
        "endpoints: [http://a, {url: 'http://[::1]:81', weight: 2, backup: true}, http+srv://_http._tcp.Users.internal]\nresolve: {servers: [127.0.0.1, '[::1]:54', '::1']}",
    );
    let told: Vec<_> =
        found.endpoints.iter().map(|one| (&*one.address, one.port, one.weight, one.backup, one.srv)).collect();
    assert_eq!(
        told,
        [
            ("a:80", 80, 1, false, false),
            ("[::1]:81", 81, 2, true, false),
            ("_http._tcp.users.internal", 0, 1, false, true)
        ]
    );
    let servers: Vec<String> = found.resolve.unwrap().servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.1:53", "[::1]:54", "[::1]:53"]);
    let secure = upstream("endpoints: [https+srv://users.internal, https://a]\nresolve: {}");
    assert!(secure.tls.is_some() && secure.endpoints[0].srv);
}

#[test]
fn every_form_of_balancing() {
    let balance = |text: &str| upstream(&format!("endpoints: [http://a]\nbalance: {text}")).balance;
    for (text, expected) in [
        ("round_robin", Balance::RoundRobin),
        ("least_busy", Balance::LeastBusy),
        ("two_choices", Balance::TwoChoices),
        ("random", Balance::Random),
        ("{hash: {by: ip}}", Balance::Hash(HashBy::Ip)),
        ("{hash: {by: path}}", Balance::Hash(HashBy::Path)),
        ("{hash: {by: {header: X-User}}}", Balance::Hash(HashBy::Header("x-user".into()))),
        ("{hash: {by: {cookie: Session}}}", Balance::Hash(HashBy::Cookie("Session".into()))),
    ] {
        let found = balance(text);
        assert_eq!(found, expected);
        assert!(text.contains(found.word()));
    }
}

#[test]
fn every_form_of_a_probe() {
    let probe = |keys: &str| (*upstream(&format!("endpoints: [http://a]\nprobe: {keys}")).probe.unwrap()).clone();
    let found = probe(
        "{path: '/health?deep=1', method: HEAD, host: 'Users.internal:81', headers: {X-Probe: 1}, port: 8081, expect: [204, 200-299], initial: unknown}",
    );
    assert_eq!((found.port, found.initial), (Some(8081), Initial::Unknown));
    let ProbeKind::Http(http) = found.kind else { panic!("by HTTP") };
    assert_eq!(
        (http.method, &*http.path, http.host.as_deref()),
        (ProbeMethod::Head, "/health?deep=1", Some("users.internal:81"))
    );
    assert_eq!(
        (&http.headers[..], http.expect.to_string()),
        (&[("x-probe".into(), "1".into())][..], "200-299".to_owned())
    );
    assert_eq!(probe("{kind: tcp}").kind, ProbeKind::Tcp);
    let ProbeKind::Http(http) = probe("{body: 'all is well', expect: 200}").kind else { panic!("by HTTP") };
    assert_eq!((http.body.as_deref(), http.expect.to_string()), (Some("all is well"), "200".to_owned()));
}

#[test]
fn everything_can_be_switched_off() {
    let found = upstream(
        "endpoints: [http://a]\nsticky: off\nprobe: off\neject: 'off'\nbreaker: off\nretry: off\nin_flight: off\nslow_start: off\npanic_below: off\nresolve: off",
    );
    assert_eq!((&found.sticky, &found.probe, &found.eject, &found.breaker), (&None, &None, &None, &None));
    assert_eq!((&found.retry, &found.in_flight, &found.resolve), (&None, &None, &None));
    assert_eq!((found.slow_start, found.panic_below), (None, None));
    let retry =
        upstream("endpoints: [http://a]\nretry: {budget: off, body: off, backoff: 0s, on: 500-599}").retry.unwrap();
    assert_eq!((retry.budget, retry.body, retry.backoff), (None, None, Duration::ZERO));
    assert!(retry.on.holds(Cause::Status(500)) && !retry.on.holds(Cause::Connect));
    let eject =
        upstream("endpoints: [http://a, http://b]\neject: {consecutive_errors: off, latency: 1s}").eject.unwrap();
    assert_eq!((eject.consecutive_errors, eject.latency), (None, Some(SECOND)));
    let breaker =
        upstream("endpoints: [http://a]\nbreaker: {error_rate: off, slow: 1s, slow_rate: 10%}").breaker.unwrap();
    assert_eq!((breaker.error_rate, breaker.slow, breaker.slow_rate), (None, Some(SECOND), Percent::of(1000)));
}

#[test]
fn a_route_has_its_own_retry_and_timeouts() {
    let config = good(
        "upstreams: {u: {endpoints: ['http://a'], retry: {attempts: 3}}}
routes:
- {path: /a, upstream: u}
- {path: /b, upstream: u, retry: {attempts: 5}, timeouts: {tls: 1s, write: 2s}}
- {path: /c, upstream: u, retry: off}
",
    )
    .config
    .clone();
    let attempts =
        |index: usize| config.routes[index].retry.as_ref().map(|retry| retry.as_ref().map(|retry| retry.attempts));
    assert_eq!([attempts(0), attempts(1), attempts(2)], [None, Some(Some(5)), Some(None)]);
    // Whole: what it does not say is the default, not the upstream's.
    assert_eq!(config.routes[1].retry.as_ref().unwrap().as_ref().unwrap().backoff, Duration::from_millis(25));
    let timeouts = &config.routes[1].timeouts;
    assert_eq!((timeouts.tls, timeouts.write, timeouts.connect), (Some(SECOND), Some(2 * SECOND), None));
}

fn with_secret(text: &str) -> std::sync::Arc<Config> {
    let known = Known::of(&[("STICKY", "0123456789abcdef0123456789abcdef")]);
    load(&Input::text("config.yaml", text), &References::Resolve(&known))
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
        .config
}

#[test]
fn the_secret_of_a_cookie_is_not_shown() {
    let text = "upstreams: {u: {endpoints: ['http://a'], sticky: {cookie: Node, max_age: 30d, secret: '${env:STICKY}'}}}\nroutes: [{upstream: u}]";
    let config = with_secret(text);
    let sticky = config.upstreams[0].sticky.as_ref().unwrap();
    assert_eq!((&*sticky.cookie, sticky.max_age), ("Node", Some(Duration::from_hours(720))));
    assert_eq!(sticky.secret.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert!(!format!("{config:?}").contains("0123456789"));
    let clear = good(&text.replace("${env:STICKY}", "0123456789abcdef0123456789abcdef"));
    let shown = &clear.effective().tree["upstreams"]["u"]["sticky"];
    assert_eq!((&shown["cookie"], &shown["secret"]), (&"Node".into(), &"present, masked, 32 bytes".into()));
    let told = super::super::Problems(clear.warnings).render(false);
    assert!(told.contains("clear_secret") && !told.contains("0123456789"), "{told}");
}

/// Every problem of an upstream with each of these keys.
fn told_of(keys: &[&str]) -> String {
    let text =
        |keys: &&str| format!("upstreams: {{u: {{endpoints: ['http://a'], {keys}}}}}\nroutes: [{{upstream: u}}]");
    let texts: Vec<String> = keys.iter().map(text).collect();
    told(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn bad_endpoints() {
    let shown = told(&[
        "upstreams: {u: {endpoints: ['http+srv://a:80', 'http+srv://127.0.0.1', 'ftp+srv://a'], resolve: {}}}",
        "upstreams: {u: {endpoints: ['http+srv://a']}}",
        "upstreams: {u: {endpoints: ['http+srv://a'], resolve: off}}",
        "upstreams: {u: {endpoints: [{url: 'http+srv://a', weight: 2, backup: true}], resolve: {}}}",
        "upstreams: {u: {endpoints: [{url: 'http://a', backup: true}, {url: 'http://b', backup: true}]}}",
        "upstreams: {u: {endpoints: [{url: 'http://a', backup: yes, weight: 0}]}}",
        "upstreams: {u: {endpoints: ['http://127.0.0.1:1', 'http://[::1]'], resolve: {}}}\nroutes: [{upstream: u}]",
        "routes: [{target: 'http+srv://a'}]",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn bad_balancing() {
    insta::assert_snapshot!(told_of(&[
        "balance: hash",
        "balance: round-robin",
        "balance: [random]",
        "balance: {}",
        "balance: {hash: ip}",
        "balance: {hash: {}}",
        "balance: {hash: {by: adress}}",
        "balance: {hash: {by: {}}}",
        "balance: {hash: {by: {header: a, cookie: b}}}",
        "balance: {hash: {by: {cookie: 'a b'}}}",
        "balance: {hash: {by: ip}}, sticky: {}",
        "sticky: on",
        "sticky: {cookie: 'a=b', max_age: 0s, secret: short}",
        "slow_start: 0s, panic_below: 0%",
        "panic_below: 20",
        "panic_below: 120%",
        "panic_below: a fifth",
        "panic_below: 1.234%",
    ]));
}

#[test]
fn bad_probes() {
    insta::assert_snapshot!(told_of(&[
        "probe: on",
        "probe: /health",
        "probe: {kind: tcp, path: /health, expect: 200, body: ok}",
        "probe: {kind: udp}",
        "probe: {path: health}",
        "probe: {path: '/%zz'}",
        "probe: {path: '/a?b c'}",
        "probe: {method: POST}",
        "probe: {host: 'http://a'}",
        "probe: {headers: {Host: a, 'x y': b, content-length: 1}}",
        "probe: {headers: {authorization: Bearer abc}}",
        "probe: {timeout: 10s}",
        "probe: {interval: 500ms}",
        "probe: {interval: 5, jitter: 101%, healthy_after: 0, port: 0}",
        "probe: {expect: 2xx}",
        "probe: {expect: []}",
        "probe: {expect: [399-200, 99, 100-600]}",
        "probe: {method: HEAD, body: ok}",
        "probe: {body: ''}",
        "probe: {initial: down}",
    ]));
}

#[test]
fn bad_ejections_and_breakers() {
    insta::assert_snapshot!(told_of(&[
        "eject: on",
        "eject: {consecutive_errors: off}",
        "eject: {consecutive_errors: 0, error_rate: 0%, max_percent: 0%}",
        "eject: {for: 10m}",
        "eject: {for: 10s, max_for: 5s}",
        "eject: {min_requests: 0, window: 1ms}",
        "eject: {}",
        "breaker: {error_rate: off}",
        "breaker: {error_rate: off, slow_rate: 10%}",
        "breaker: {slow_rate: 10%}",
        "breaker: {error_rate: 150%, slow: 0s, trials: 0, open_for: 5}",
        "breaker: {statuses: [5xx]}",
        "in_flight: {}",
        "in_flight: {total: off, endpoint: off}",
        "in_flight: {total: 0, queue: -1, wait: 0s}",
        "in_flight: 100",
    ]));
}

#[test]
fn bad_retries_and_look_ups() {
    insta::assert_snapshot!(told_of(&[
        "retry: 3",
        "retry: {attempts: 0}",
        "retry: {attempts: 11}",
        "retry: {attempts: 1}",
        "retry: {on: []}",
        "retry: {on: [unavailable]}",
        "retry: {on: [conect, 5xx, 200, 599-500]}",
        "retry: {on: always}",
        "retry: {backoff: 2s}",
        "retry: {backoff: 1s, max_backoff: 500ms}",
        "retry: {budget: 0%, body: 0B}",
        "retry: {body: 64}",
        "resolve: {every: 0s, servers: []}",
        "resolve: {servers: [dns.internal, '127.0.0.1:0', 53]}",
        "resolve: {servers: [127.0.0.1, '127.0.0.1:53']}",
    ]));
}
