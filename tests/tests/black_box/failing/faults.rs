//! Delays and errors on purpose: for those who ask for them, and for nobody else.

use std::time::{Duration, Instant};

use tests::{Proxyd, Request, Upstream};

use super::row;

fn yaml(target: &str, fault: &str) -> String {
    format!(
        "routes:\n  - {{name: own, path: /own, respond: {{status: 200, body: own}}}}\n  \
         - {{name: off, path: /off, target: '{target}', fault: off}}\n  - {{name: all, path: /, target: '{target}'}}\nfault: {{{fault}}}\n"
    )
}

#[test]
fn errors_are_those_that_are_asked_for() {
    let upstream = Upstream::saying("good");
    let proxyd = Proxyd::start(&yaml(&upstream.url(), "headers: {x-fault: '1'}, abort: {status: 429}"));
    let ask = |path: &str| Request::get(path).header("X-Fault", "1").send(proxyd.address());
    let answer = ask("/asked");
    assert_eq!((answer.status, answer.error_code().as_str()), (429, "fault_injected"));
    assert_eq!(upstream.requests(), 0);
    let row = row(&proxyd, "/asked");
    assert_eq!((row["outcome"].as_str(), row["status"].as_u64()), (Some("fault_injected"), Some(429)));
    assert!(proxyd.metric("proxyd_faults_injected_total", &["kind=\"abort\""]) > 0.5);
    assert_eq!(proxyd.get("/").text(), "good");
    assert_eq!(Request::get("/").header("X-Fault", "2").send(proxyd.address()).text(), "good");
    // Not where nothing is forwarded, and not where it is switched off.
    assert_eq!((ask("/own").text(), ask("/off").text()), ("own".to_owned(), "good".to_owned()));
    // The client's connection serves on.
    let mut wire = tests::Wire::connect(proxyd.address());
    let post = Request::post("/post", "with a body").header("X-Fault", "1");
    assert_eq!(post.send_on(&mut wire).status, 429);
    assert_eq!(Request::get("/").send_on(&mut wire).text(), "good");
}

#[test]
fn delays_come_first_and_hold_up_nobody_else() {
    let upstream = Upstream::saying("good");
    let fault = "headers: {x-fault: '1'}, delay: {time: 300ms}, abort: {status: 503}";
    let proxyd = Proxyd::start(&yaml(&upstream.url(), fault));
    let began = Instant::now();
    let mut late = tests::Wire::connect(proxyd.address());
    late.send(Request::get("/").header("X-Fault", "1").bytes());
    assert_eq!(proxyd.get("/").text(), "good");
    let answer = late.response("GET");
    assert_eq!((answer.status, answer.error_code().as_str()), (503, "fault_injected"));
    assert!(began.elapsed() >= Duration::from_millis(300));
    proxyd.reload_with(&yaml(&upstream.url(), "delay: {time: 200ms}"));
    let began = Instant::now();
    assert_eq!(proxyd.get("/").text(), "good");
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(proxyd.metric("proxyd_faults_injected_total", &["kind=\"delay\""]) > 1.5);
}

#[test]
fn a_share_of_them_is_a_share() {
    let upstream = Upstream::saying("good");
    let proxyd = Proxyd::start(&yaml(&upstream.url(), "abort: {status: 500, percent: 50%}"));
    let mut wire = tests::Wire::connect(proxyd.address());
    let failed = (0..200).filter(|_| Request::get("/").send_on(&mut wire).status == 500).count();
    // Six standard deviations.
    assert!((58..=142).contains(&failed), "{failed}");
    assert_eq!(upstream.requests(), 200 - failed);
}

#[test]
fn faults_are_no_fault_of_the_endpoint() {
    let upstream = Upstream::saying("good");
    let yaml = format!(
        "upstreams: {{users: {{endpoints: ['{}'], breaker: {{min_requests: 1, open_for: 1h}}, retry: {{}}}}}}\n\
         routes: [{{name: all, path: /, upstream: users, fault: {{headers: {{x-fault: '1'}}, abort: {{status: 503}}}}, \
         fallback: {{respond: {{status: 418}}}}}}]\n",
        upstream.url()
    );
    let proxyd = Proxyd::start(&yaml);
    for _ in 0..3 {
        Request::get("/").header("X-Fault", "1").send(proxyd.address());
    }
    assert_eq!(proxyd.get("/").text(), "good");
    assert_eq!(super::endpoint(&proxyd, 0)["state"], "ready");
}

#[test]
fn what_is_aborted_is_nowhere_else_and_who_leaves_is_gone() {
    let (upstream, shadow) = (Upstream::saying("good"), Upstream::saying("shadow"));
    let yaml = format!(
        "upstreams: {{shadow: {{endpoints: ['{}']}}}}\nroutes: [{{name: all, path: /, target: '{}', mirror: {{upstream: shadow}}, \
         fault: {{headers: {{x-fault: '1'}}, abort: {{status: 500}}}}}}, {{name: late, path: /late, target: '{}', \
         fault: {{delay: {{time: 10m}}}}}}]\n",
        shadow.url(),
        upstream.url(),
        upstream.url()
    );
    let proxyd = Proxyd::start(&yaml);
    assert_eq!(Request::get("/").header("X-Fault", "1").send(proxyd.address()).status, 500);
    assert_eq!(proxyd.get("/").text(), "good");
    tests::eventually("a copy", || (shadow.requests() == 1).then_some(()));
    let mut leaves = tests::Wire::connect(proxyd.address());
    leaves.send(Request::get("/late").bytes());
    tests::eventually("it is late", || {
        (proxyd.metric("proxyd_faults_injected_total", &["kind=\"delay\""]) > 0.5).then_some(())
    });
    drop(leaves);
    assert_eq!(row(&proxyd, "/late")["outcome"], "client_closed");
    assert_eq!((upstream.requests(), shadow.requests()), (1, 1));
}
