//! The policies that stand in for an upstream or play with it: `fallback`, `mirror` and `fault`.

use std::sync::Arc;
use std::time::Duration;

use super::{good, told};
use crate::config::policy::{FallbackTo, FaultAbort, FaultDelay, Policies};
use crate::config::{Cause, Percent, Scope, ValueMatch};

const UPSTREAMS: &str =
    "upstreams: {a: {endpoints: ['http://a']}, b: {endpoints: ['http://b']}, c: {endpoints: ['http://c']}}\n";

/// The policies of the route `r`, and the warnings.
#[track_caller]
fn route(keys: &str) -> (Arc<Policies>, usize) {
    let checked = good(&format!(
        "{UPSTREAMS}routes: [{{name: r, {keys}}}, {{path: /rest, split: [{{upstream: a, weight: 1}}, {{upstream: b, weight: 1}}, {{upstream: c, weight: 1}}]}}]\n"
    ));
    (Arc::clone(&checked.config.routes[0].policies), checked.warnings.len())
}

#[test]
fn every_form_of_a_fallback() {
    let (policies, warnings) = route("upstream: a, fallback: {respond: {status: 503, body: \"Back soon.\\n\"}}");
    let fallback = policies.fallback.value.as_ref().unwrap();
    assert_eq!(warnings, 0);
    assert_eq!(fallback.on.to_string(), "connect, refused_stream, reset, timeout, protocol, unavailable, 502-504");
    let FallbackTo::Respond(respond) = &fallback.to else { panic!("an answer") };
    assert_eq!((respond.status, &*respond.body), (503, "Back soon.\n"));
    assert_eq!(&*respond.headers[0].1, "text/plain; charset=utf-8");
    let (policies, _) = route("upstream: a, fallback: {on: [unavailable, 500-599], upstream: b}");
    let fallback = policies.fallback.value.as_ref().unwrap();
    assert_eq!(fallback.to, FallbackTo::Upstream(1));
    assert!(fallback.on.holds(Cause::Unavailable) && fallback.on.holds(Cause::Status(599)));
    assert!(!fallback.on.holds(Cause::Connect));
}

#[test]
fn every_form_of_a_mirror() {
    let (policies, _) = route("upstream: a, mirror: {upstream: c}");
    let mirror = policies.mirror.value.as_ref().unwrap();
    assert_eq!(
        (mirror.upstream, mirror.percent, mirror.body, mirror.in_flight),
        (2, Percent::ALL, Some(64 << 10), 100)
    );
    let (policies, _) = route("upstream: a, mirror: {upstream: c, percent: 0.5%, body: off, in_flight: 1}");
    let mirror = policies.mirror.value.as_ref().unwrap();
    assert_eq!((mirror.percent, mirror.body, mirror.in_flight), (Percent::of(50), None, 1));
}

#[test]
fn every_form_of_a_fault() {
    let (policies, _) =
        route("upstream: a, fault: {headers: {X-Fault: 1, x-a: {present: false}}, delay: {time: 100ms, percent: 10%}}");
    let fault = policies.fault.value.as_ref().unwrap();
    assert_eq!((&*fault.headers[0].name, &fault.headers[0].value), ("x-fault", &ValueMatch::Exact("1".into())));
    assert_eq!(fault.headers[1].value, ValueMatch::Present(false));
    let delay = FaultDelay { time: Duration::from_millis(100), percent: Percent::of(1000) };
    assert_eq!((fault.delay, fault.abort), (Some(delay), None));
    let (policies, _) = route("upstream: a, fault: {abort: {status: 503}}");
    let fault = policies.fault.value.as_ref().unwrap();
    assert_eq!((fault.delay, fault.abort), (None, Some(FaultAbort { status: 503, percent: Percent::ALL })));
}

#[test]
fn they_are_inherited_replaced_and_removed() {
    let config = good(&format!(
        "{UPSTREAMS}fallback: {{upstream: b}}
mirror: {{upstream: c}}
fault: {{abort: {{status: 503, percent: 1%}}}}
routes:
- {{path: /a, upstream: a}}
- {{path: /b, upstream: a, fallback: off, mirror: {{upstream: b}}, fault: off}}
- {{path: /c, upstream: b}}
- {{path: /d, respond: {{}}, fallback: off, retry: off}}
"
    ));
    // Names at the top level count as used, and what is inherited is no mistake of the route.
    assert_eq!(config.warnings, []);
    let [a, b, ..] = config.config.routes.as_slice() else { panic!("four routes") };
    assert_eq!((&a.policies.fallback.scope, a.policies.mirror.value.as_ref().unwrap().upstream), (&Scope::TopLevel, 2));
    assert!(a.policies.fault.value.is_some() && b.policies.fault.value.is_none());
    assert!(b.policies.fallback.value.is_none());
    assert_eq!(b.policies.mirror.value.as_ref().unwrap().upstream, 1);
}

#[test]
fn bad_stand_ins() {
    let text =
        |keys: &&str| format!("{UPSTREAMS}mirror: {{upstream: b}}\nfallback: {{upstream: c}}\nroutes: [{{{keys}}}]");
    let texts: Vec<String> = [
        "upstream: a, fallback: {}",
        "upstream: a, fallback: {upstream: b, respond: {}}",
        "upstream: a, fallback: {upstream: a}",
        "split: [{upstream: a, weight: 1}, {upstream: a, weight: 2}], fallback: {upstream: a}",
        "upstream: a, fallback: {upstream: bb}",
        "upstream: a, fallback: {upstream: 'http://b'}",
        "upstream: a, fallback: {on: [], respond: {}}",
        "upstream: a, fallback: {on: unavailble, respond: {}}",
        "upstream: a, fallback: {on: 404-399, respond: {status: 204, body: x}}",
        "upstream: a, fallback: {respond: {status: 100}}",
        "upstream: a, mirror: {}",
        "upstream: a, mirror: {upstream: a}",
        "upstream: a, mirror: {upstream: d, percent: 0%, in_flight: 0, body: 17MiB}",
        "upstream: a, mirror: b",
        "upstream: a, fault: {}",
        "upstream: a, fault: {headers: {a: b}}",
        "upstream: a, fault: {delay: {percent: 10%}, abort: {status: 200}}",
        "upstream: a, fault: {delay: 1s, abort: {percent: 0%}}",
        "upstream: a, fault: {headers: {'a b': c}, abort: {status: 503}}",
        "respond: {}, retry: {}, fallback: {upstream: a}, mirror: {upstream: a}, fault: {abort: {status: 503}}",
    ]
    .iter()
    .map(text)
    .collect();
    insta::assert_snapshot!(told(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn bad_stand_ins_at_the_top_level() {
    insta::assert_snapshot!(told(&[
        "fallback: {upstream: users}\nupstreams: {user: {endpoints: ['http://a']}}",
        "mirror: {upstream: users}",
        "fault: on",
        "fallback: {on: 503}",
    ]));
}
