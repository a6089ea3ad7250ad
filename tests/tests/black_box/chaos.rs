//! Endpoints that fail in every way, under load, with reloads and drains: clients see failures only where nothing safe was left
//! to try, and the record says why. Seconds here; `tests/chaos/run` is the same for minutes, with more of everything.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Conn, Proxyd, Request, Upstream, Wire, eventually};

const ENDPOINTS: usize = 5;
const MOST_FAULTY: usize = 3;
const CLIENTS: usize = 6;
const LASTS: Duration = Duration::from_secs(8);
const ATTEMPTS: usize = 3;
/// What stalls is silent for longer than anybody waits.
const STALL: Duration = Duration::from_secs(3);

/// What an endpoint does with the next request, once all of it came.
const WELL: u8 = 0;
const STALLED: u8 = 1;
const RESET: u8 = 2;
const BREAKS_OFF: u8 = 3;
const SLOW: u8 = 4;
const GARBAGE: u8 = 5;
const BUSY: u8 = 6;
const BROKEN: u8 = 7;
const KINDS: u8 = 8;

/// Numbers from a seed (`SplitMix64`).
struct Draw(AtomicU64);

impl Draw {
    fn below(&self, bound: usize) -> usize {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// An endpoint, and what came to it when.
struct Endpoint {
    upstream: Upstream,
    mood: Arc<AtomicU8>,
    came: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Endpoint {
    fn start() -> Self {
        let (mood, came) = (Arc::new(AtomicU8::new(WELL)), Arc::<Mutex<Vec<_>>>::default());
        let (own, notes) = (Arc::clone(&mood), Arc::clone(&came));
        let upstream = Upstream::scripted(move |conn| while serves(conn, &own, &notes) {});
        Self { upstream, mood, came }
    }

    /// Does so from now on.
    fn turn(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

/// Serves one request, as the endpoint does just now; whether another may follow.
fn serves(conn: &mut Conn, mood: &AtomicU8, came: &Mutex<Vec<(Instant, String)>>) -> bool {
    let Some(request) = conn.request() else { return false };
    if request.target != "/health" {
        let id = request.headers.get("x-request-id").unwrap_or_default().to_owned();
        came.lock().unwrap().push((Instant::now(), id));
    }
    match mood.load(Ordering::SeqCst) {
        STALLED => {
            conn.until_closed(STALL);
            return false;
        }
        RESET => {
            conn.wire.reset_on_close();
            return false;
        }
        BREAKS_OFF if request.method == "GET" && request.target != "/health" => {
            conn.send("HTTP/1.1 200 Said\r\nContent-Length: 100\r\n\r\nhalf");
            conn.wire.reset_on_close();
            return false;
        }
        GARBAGE => {
            conn.send("220 this is no HTTP\r\n\r\n");
            return false;
        }
        BUSY => return conn.answer(503, &[("Retry-After", "1")], b"busy"),
        BROKEN => return conn.answer(500, &[], b"broken"),
        SLOW => std::thread::sleep(Duration::from_millis(350)),
        _ => {}
    }
    conn.answer(200, &[], &request.body)
}

fn config(endpoints: &[Endpoint], turn: usize) -> String {
    let list: Vec<String> = endpoints.iter().map(|one| format!("'{}'", one.upstream.url())).collect();
    let balance = ["round_robin", "least_busy", "two_choices", "random"][turn % 4];
    format!(
        "server: {{workers: 2}}\n\
         upstreams:\n  app:\n    endpoints: [{}]\n    balance: {balance}\n\
         \x20   probe: {{path: /health, interval: 300ms, down_interval: 150ms, timeout: 250ms, unhealthy_after: 2}}\n\
         \x20   eject: {{consecutive_errors: 3, for: 500ms, max_for: 2s, max_percent: 40%}}\n\
         \x20   breaker: {{error_rate: 50%, window: 2s, min_requests: {}, open_for: 500ms, trials: 2}}\n\
         \x20   retry: {{attempts: {ATTEMPTS}, on: [connect, reset, timeout, protocol, 502-504], backoff: 5ms, budget: 30%, body: 16KiB}}\n\
         \x20   timeouts: {{connect: 300ms, response_headers: {}ms, idle: 1s, total: 4s}}\n\
         routes: [{{path: /, upstream: app}}]\n",
        list.join(", "),
        10 + turn % 3,
        400 + turn % 3 * 100,
    )
}

/// A request, and what its client saw.
#[derive(Clone, Debug)]
struct Asked {
    id: String,
    is_safe: bool,
    began: Instant,
    /// None: no answer.
    status: Option<u16>,
    is_whole: bool,
    /// Whether it is the endpoint's own answer.
    is_served: bool,
}

/// A client: one request after another until told to stop.
fn client(address: SocketAddr, number: usize, draw: &Draw, stop: &AtomicBool) -> Vec<Asked> {
    let mut all = Vec::new();
    let mut wire: Option<Wire> = None;
    while !stop.load(Ordering::SeqCst) {
        let mut open = wire.take().unwrap_or_else(|| Wire::connect(address));
        let (method, is_chunked, has_key) = [
            ("GET", false, false),
            ("GET", false, false),
            ("POST", false, false),
            ("POST", false, true),
            ("POST", true, true),
            ("PUT", false, false),
        ][draw.below(6)];
        let id = format!("chaos-{number}-{}", all.len());
        let body = if method == "GET" { String::new() } else { id.repeat(1 + draw.below(200)) };
        let key = if has_key { format!("Idempotency-Key: \"{id}\"\r\n") } else { String::new() };
        let framed = match (method, is_chunked) {
            ("GET", _) => "\r\n".to_owned(),
            (_, true) => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
            (_, false) => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        };
        let began = Instant::now();
        let sent = open.try_send(format!(
            "{method} /{number} HTTP/1.1\r\nHost: chaos.test\r\nX-Request-ID: {id}\r\n{key}{framed}"
        ));
        let answer = if sent { open.try_response(method) } else { None };
        let is_whole = answer.as_ref().is_some_and(|answer| answer.whole);
        if let Some(answer) = answer.as_ref().filter(|answer| answer.whole && answer.status == 200) {
            assert_eq!(answer.text(), body, "{id}: what was sent is what arrived");
        }
        if is_whole && answer.as_ref().is_some_and(|answer| !answer.headers.has("connection", "close")) {
            wire = Some(open);
        }
        let is_served = answer.as_ref().is_some_and(|answer| answer.header("content-type").is_none());
        let status = answer.map(|answer| answer.status);
        all.push(Asked { id, is_safe: method != "POST" || has_key, began, status, is_whole, is_served });
        std::thread::sleep(Duration::from_millis(12));
    }
    all
}

fn clients(address: SocketAddr, draw: &Arc<Draw>, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Vec<Asked>>> {
    let start = |number| {
        let (draw, stop) = (Arc::clone(draw), Arc::clone(stop));
        std::thread::spawn(move || client(address, number, &draw, &stop))
    };
    (0..CLIENTS).map(start).collect()
}

fn set(proxyd: &Proxyd, endpoint: &Endpoint, state: &str) {
    let args = json!({ "upstream": "app", "endpoint": endpoint.upstream.address().to_string(), "state": state });
    proxyd.ask("upstreams_set", &args);
}

/// The states of all endpoints.
fn states(proxyd: &Proxyd) -> Vec<String> {
    let lines = proxyd.stream("upstreams", &json!({}));
    let endpoints = lines[0]["endpoints"].as_array().unwrap().clone();
    endpoints.iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}

/// Why a failure had to be, by its row; or what is wrong.
fn why(asked: &Asked, row: &Value) -> Result<String, String> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let (tries, outcome) = (text("tries"), text("outcome"));
    if !asked.is_whole {
        let is_cut = ["upstream_reset", "upstream_truncated", "upstream_idle_timeout"].contains(&outcome.as_str());
        return if asked.status == Some(200) && is_cut { Ok(outcome) } else { Err("no answer had begun".to_owned()) };
    }
    if row["status"] != json!(asked.status) || asked.is_served != (outcome == "served") {
        return Err("another answer is recorded".to_owned());
    }
    if asked.status == Some(500) && asked.is_served {
        return Ok("500 passed on".to_owned());
    }
    let denied = tries.rsplit("; not retried: ").next().filter(|denied| *denied != tries).unwrap_or_default();
    let times = tries.matches("127.0.0.1:").count();
    match denied {
        "unsafe" if asked.is_safe => Err("it was safe".to_owned()),
        "attempts used up" if times < ATTEMPTS => Err("there were attempts left".to_owned()),
        "unsafe" | "attempts used up" | "budget used up" | "no endpoint" | "asked to wait longer" => {
            Ok(denied.to_owned())
        }
        "" if ["upstream_unavailable", "upstream_circuit_open"].contains(&outcome.as_str()) => Ok(outcome),
        _ => Err("no reason is recorded".to_owned()),
    }
}

#[test]
fn clients_see_only_failures_that_had_to_be() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(5);
    let (faults, draw) = (Draw(AtomicU64::new(seed)), Arc::new(Draw(AtomicU64::new(seed + 1))));
    let endpoints: Vec<Endpoint> = (0..ENDPOINTS).map(|_| Endpoint::start()).collect();
    let proxyd = Proxyd::start(&config(&endpoints, 0));
    let stop = Arc::new(AtomicBool::new(false));
    let load = clients(proxyd.address(), &draw, &stop);

    let mut drained: Vec<(usize, Instant, Instant)> = Vec::new();
    let mut draining: Option<(usize, Instant)> = None;
    let began = Instant::now();
    let mut turn = 0;
    while began.elapsed() < LASTS {
        turn += 1;
        let next = Instant::now() + Duration::from_millis(150);
        let faulty: Vec<usize> =
            (0..ENDPOINTS).filter(|place| endpoints[*place].mood.load(Ordering::SeqCst) != WELL).collect();
        let ill = || u8::try_from(1 + faults.below(usize::from(KINDS) - 1)).unwrap();
        // In the middle all are faulty, for a moment.
        if turn == 25 {
            for one in &endpoints {
                one.turn(ill());
            }
        } else if faulty.len() < MOST_FAULTY && faults.below(2) == 0 {
            endpoints[faults.below(ENDPOINTS)].turn(ill());
        } else if turn != 26 {
            let recover = if faulty.len() > MOST_FAULTY { faulty.len() } else { 1 };
            for place in faulty.iter().take(recover) {
                endpoints[*place].turn(WELL);
            }
        }
        if turn % 4 == 0 {
            proxyd.reload_with(&config(&endpoints, turn / 4));
        } else if turn % 9 == 0 {
            proxyd.write_config("routes: [{path: nonsense}]");
            assert!(proxyd.try_ask("reload", &json!({})).is_err());
        }
        if turn % 7 == 0 {
            if let Some((place, since)) = draining.take() {
                drained.push((place, since, Instant::now()));
                set(&proxyd, &endpoints[place], "ready");
            } else {
                let place = faults.below(ENDPOINTS);
                set(&proxyd, &endpoints[place], "drain");
                draining = Some((place, Instant::now()));
            }
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    if let Some((place, since)) = draining {
        drained.push((place, since, Instant::now()));
        set(&proxyd, &endpoints[place], "ready");
    }
    for one in &endpoints {
        one.turn(WELL);
    }
    eventually("all are ready again", || states(&proxyd).iter().all(|state| state == "ready").then_some(()));
    let recovered = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::SeqCst);
    let all: HashMap<String, Asked> = load
        .into_iter()
        .flat_map(|client| client.join().expect("a client does not panic"))
        .map(|asked| (asked.id.clone(), asked))
        .collect();

    let mut rows: HashMap<String, Vec<Value>> = HashMap::new();
    for row in proxyd.audit(&json!({ "path": "/*", "last": 10_000 }), all.len()) {
        rows.entry(row["request_id"].as_str().unwrap_or_default().to_owned()).or_default().push(row);
    }
    let mut reasons: HashMap<String, usize> = HashMap::new();
    for asked in all.values() {
        let [row] = &rows.get(&asked.id).map_or(&[][..], Vec::as_slice) else {
            panic!("{asked:?} is not recorded once: {:?}", rows.get(&asked.id));
        };
        if asked.is_whole && asked.status.is_some_and(|status| status < 500) {
            continue;
        }
        assert!(asked.began < recovered, "nothing fails once all are ready: {asked:?} {row}");
        match why(asked, row) {
            Ok(reason) => *reasons.entry(reason).or_default() += 1,
            Err(problem) => panic!("{problem}: {asked:?} {row}"),
        }
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (place, endpoint) in endpoints.iter().enumerate() {
        let came = endpoint.came.lock().unwrap().clone();
        for (at, id) in &came {
            let asked = &all[id];
            *seen.entry(all.get_key_value(id).unwrap().0).or_default() += 1;
            let within = drained.iter().find(|(one, since, until)| *one == place && *since < asked.began && at < until);
            assert!(within.is_none(), "endpoint {place} was drained: {asked:?} {:?}", rows[id]);
        }
    }
    for (id, times) in &seen {
        assert!(all[*id].is_safe || *times == 1, "{id} is not safe to repeat, and came {times} times: {:?}", rows[*id]);
    }
    let saved = rows.values().flatten().filter(|row| {
        row["tries"].as_str().is_some_and(|tries| !tries.is_empty()) && row["status"].as_u64() < Some(500)
    });
    let saved = saved.count();
    println!("seed {seed}: {} requests, {saved} saved, failed: {reasons:?}; {} drains", all.len(), drained.len());
    assert!(all.len() > 300 && saved > 10 && drained.len() > 1, "seed {seed}: {} requests, {saved} saved", all.len());
    assert_eq!(proxyd.ctl(&["audit", "verify"]).code, Some(0));
}

#[test]
fn what_came_by_chunks_is_told_by_its_length_when_it_is_sent_again() {
    let bad = Upstream::scripted(|conn| {
        conn.request();
        conn.wire.reset_on_close();
    });
    let good = Upstream::echo();
    let text = format!(
        "upstreams: {{app: {{endpoints: ['{}', {{url: '{}', backup: true}}], retry: {{on: [reset]}}, eject: {{consecutive_errors: 1, max_percent: 50%}}}}}}\n\
         routes: [{{path: /, upstream: app}}]\n",
        bad.url(),
        good.url()
    );
    for body in ["smuggled", ""] {
        let proxyd = Proxyd::start(&text);
        let mut wire = Wire::connect(proxyd.address());
        let chunk = if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
        wire.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \"1\"\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        ));
        let answer = wire.response("POST");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = answer.json();
        assert_eq!(seen["body"], body, "{seen}");
        let length = seen["headers"].as_array().unwrap().iter().find(|line| line[0] == "content-length").cloned();
        assert_eq!(length, Some(json!(["content-length", body.len().to_string()])), "{seen}");
        // And the connection goes on.
        assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
    }
}

#[test]
fn what_is_drained_after_a_reload_is_not_tried_by_what_began_before_it() {
    let stalled = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/stall" {
                conn.until_closed(STALL);
                return;
            }
            conn.answer(200, &[], b"stalls");
        }
    });
    let other = Upstream::saying("other");
    let config = |backoff: u32| {
        format!(
            "upstreams: {{app: {{endpoints: ['{}', '{}'], balance: {{hash: {{by: {{header: x-user}}}}}},\n\
             \x20 retry: {{on: [timeout], backoff: {backoff}ms}}, timeouts: {{response_headers: 1s}}}}}}\n\
             routes: [{{path: /, upstream: app}}]\n",
            stalled.url(),
            other.url()
        )
    };
    let proxyd = Proxyd::start(&config(1));
    let user = (0..1000).map(|user| user.to_string());
    let user = user
        .into_iter()
        .find(|user| Request::get("/").header("X-User", user).send(proxyd.address()).text() == "stalls");
    let user = user.expect("somebody is brought to the first endpoint");
    let before = other.requests();
    let mut stream = TcpStream::connect(proxyd.address()).unwrap();
    let asked = stalled.requests();
    stream.write_all(&Request::get("/stall").header("X-User", &user).bytes()).unwrap();
    eventually("it has arrived", || (stalled.requests() > asked).then_some(()));
    proxyd.reload_with(&config(2));
    proxyd
        .ask("upstreams_set", &json!({ "upstream": "app", "endpoint": other.address().to_string(), "state": "drain" }));
    let answer = Wire::over(stream).response("GET");
    assert_eq!((answer.status, other.requests()), (504, before), "{}", answer.text());
}

#[test]
fn where_the_others_let_nobody_through_the_same_is_tried_again() {
    let has_failed = AtomicBool::new(false);
    let is_stalled = Arc::new(AtomicBool::new(false));
    let stalls = Arc::clone(&is_stalled);
    let well = Upstream::scripted(move |conn| {
        // Each request has a connection of its own: one that had been idle would be replaced within the attempt.
        let Some(request) = conn.request() else { return };
        if request.target == "/fickle" && !has_failed.swap(true, Ordering::SeqCst) {
            conn.wire.reset_on_close();
        } else {
            conn.answer(200, &[("Connection", "close")], b"well");
        }
    });
    let ill = Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            if stalls.load(Ordering::SeqCst) {
                conn.until_closed(Duration::from_secs(10));
                return;
            }
            conn.answer(500, &[], b"ill");
        }
    });
    let proxyd = Proxyd::start(&format!(
        "server: {{workers: 1}}\n\
         upstreams: {{app: {{endpoints: ['{}', '{}'], breaker: {{min_requests: 10, open_for: 200ms, trials: 1}},\n\
         \x20 retry: {{on: [reset]}}, timeouts: {{response_headers: 9s}}}}}}\n\
         routes: [{{path: /, upstream: app}}]\n",
        well.url(),
        ill.url()
    ));
    let is_ill = |state: &str| states(&proxyd).last().is_some_and(|told| told == state);
    eventually("its breaker opens", || {
        proxyd.get("/");
        (is_ill("open") || is_ill("half_open")).then_some(())
    });
    is_stalled.store(true, Ordering::SeqCst);
    let before = ill.requests();
    let mut trials = Vec::new();
    eventually("a trial is under way", || {
        let mut stream = TcpStream::connect(proxyd.address()).unwrap();
        stream.write_all(&Request::get("/").bytes()).unwrap();
        trials.push(stream);
        (ill.requests() > before).then_some(())
    });
    let answer = proxyd.get("/fickle");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let row = proxyd.audit(&json!({ "path": "/fickle" }), 1).remove(0);
    assert_eq!((&row["attempts"], &row["tries"]), (&json!(2), &json!(format!("{} reset", well.address()))), "{row}");
}

#[test]
fn a_body_that_was_not_sent_whole_goes_on_to_the_next() {
    let hasty = Upstream::scripted(|conn| {
        conn.request_head();
        conn.answer(503, &[("Connection", "close")], b"busy");
        conn.until_closed(STALL);
    });
    let good = Upstream::echo();
    let retried = "retry: {on: [503]}, eject: {consecutive_errors: 1, max_percent: 50%}";
    let ways = [
        format!(
            "upstreams: {{app: {{endpoints: ['{}', {{url: '{}', backup: true}}], {retried}}}}}\nroutes: [{{path: /, upstream: app}}]\n",
            hasty.url(),
            good.url()
        ),
        // Elsewhere it goes whole, or not at all.
        format!(
            "upstreams: {{app: {{endpoints: ['{}'], retry: off}}, other: {{endpoints: ['{}']}}}}\n\
             routes: [{{path: /, upstream: app, fallback: {{upstream: other, on: [503]}}}}]\n",
            hasty.url(),
            good.url()
        ),
    ];
    let framings =
        ["Content-Length: 6\r\n\r\nabc|def", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n|3\r\ndef\r\n0\r\n\r\n"];
    for (way, may_fail) in ways.iter().zip([false, true]) {
        for framing in framings {
            let proxyd = Proxyd::start(way);
            let mut wire = Wire::connect(proxyd.address());
            let (begin, end) = framing.split_once('|').unwrap();
            let (came, tried) = (hasty.requests(), good.requests());
            wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: \"1\"\r\n{begin}"));
            eventually("it was answered", || (hasty.requests() > came).then_some(()));
            if !may_fail {
                eventually("it was tried again", || (good.requests() > tried).then_some(()));
            }
            wire.send(end);
            let answer = wire.response("POST");
            if may_fail && answer.status == 503 {
                continue;
            }
            assert_eq!((answer.status, &answer.json()["body"]), (200, &json!("abcdef")), "{}", answer.text());
        }
    }
}
