//! Runs a table: each case on a connection of its own, all through one daemon; every case that fails is told, with its clause.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::{PATIENCE, Proxyd, Wire};

use super::case::{Case, Check, Expects, Then};
use super::witness::{Message, PROBE, Witness};

/// What a client saw.
#[derive(Debug)]
pub(super) struct Told {
    /// In their order, interim ones too.
    pub(super) answers: Vec<Message>,
    pub(super) then: Then,
}

/// A table over HTTP/1.1, everything forwarded.
#[track_caller]
pub(super) fn run(cases: &[Case]) {
    run_with("", "", cases);
}

/// The same with these lines of config and these routes before the one that takes the rest; `{}` stands for the upstream.
#[track_caller]
pub(super) fn run_with(config: &str, routes: &str, cases: &[Case]) {
    run_as(config, routes, cases, client);
}

/// The same with another client: it plays a case against this address and tells what it saw.
#[track_caller]
pub(super) fn run_as(config: &str, routes: &str, cases: &[Case], client: fn(&Proxyd, &Case) -> Told) {
    let witness = Witness::new();
    let url = witness.upstream.url();
    // One worker has one pool: a connection that can serve again does.
    let proxyd = Proxyd::start(&format!(
        "server:\n  workers: 1\n{config}routes:\n{}  - {{name: rest, path: /, target: '{url}'}}\n",
        routes.replace("{}", &url)
    ));
    let mut wrong = Vec::new();
    for case in cases {
        witness.answers(&case.answer);
        let mut complaints = Vec::new();
        match catch_unwind(AssertUnwindSafe(|| client(&proxyd, case))) {
            Ok(told) => {
                judge(case, &told, &witness, &mut complaints);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
                complaints.push(text.to_owned());
            }
        }
        if case.owed.is_some() {
            complaints =
                if complaints.is_empty() { vec!["it holds, and is owed no more".to_owned()] } else { Vec::new() };
            witness.seen();
        }
        if complaints.is_empty() {
            continue;
        }
        let text = complaints.join("\n    ");
        wrong.push(format!("{}: {}\n    sent: {}\n    {text}", case.clause, case.name, shown(&case.sends)));
        // What is left of this case is not the next one's.
        witness.seen();
    }
    // Only now is it certain that nothing more arrives.
    drop(proxyd);
    witness.settle();
    wrong.extend(witness.seen().iter().map(|late| format!("came upstream unasked: {}", shown(&late.raw))));
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A client of HTTP/1.1: sends it all, reads the answers that are expected, looks what the connection does then.
fn client(proxyd: &Proxyd, case: &Case) -> Told {
    let mut wire = Wire::connect(proxyd.address());
    wire.keep();
    wire.send(&case.sends);
    let expects = &case.expects;
    if case.ends {
        wire.finish_sending();
    } else if expects.then == Then::Closes {
        // What an attacker would have served behind it.
        wire.try_send("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let to_head = case.sends.starts_with(b"HEAD ");
    let mut answers = Vec::new();
    for _ in &expects.answers {
        let Some(answer) = read_answer(&mut wire, to_head) else { break };
        answers.push(answer);
    }
    let cut = answers.last().is_some_and(|last| !last.whole);
    let then = if cut {
        Then::Cut
    } else if expects.then == Then::Serves && wire.try_send(format!("GET {PROBE} HTTP/1.1\r\nHost: h\r\n\r\n")) {
        match wire.try_response("GET") {
            Some(response) if response.status == 200 && response.text() == "again" => Then::Serves,
            Some(response) => panic!("another request got {}: {}", response.status, response.text()),
            None => Then::Closes,
        }
    } else {
        let rest = wire.some();
        assert!(rest.is_empty(), "behind the last answer came {}", shown(&rest));
        Then::Closes
    };
    Told { answers, then }
}

/// The next answer, an interim one too.
fn read_answer(wire: &mut Wire, to_head: bool) -> Option<Message> {
    let head = wire.head()?;
    let head_bytes = wire.used();
    let mut response = tests::Response::parse(&head);
    let body = if (100..200).contains(&response.status) && response.status != 101 {
        tests::wire::Body { whole: true, ..tests::wire::Body::default() }
    } else {
        wire.body_of(if to_head { "HEAD" } else { "GET" }, &response)
    };
    response.whole = body.whole;
    let raw = [head_bytes.clone(), wire.used()].concat();
    Some(Message { head: head_bytes, raw, body: body.bytes, whole: response.whole, connection: 0 })
}

/// Compares what was seen on both sides with what the case expects.
fn judge(case: &Case, told: &Told, witness: &Witness, complaints: &mut Vec<String>) {
    let expects = &case.expects;
    if case.ends {
        witness.settle();
    }
    let mut seen = witness.seen();
    if case.ends {
        // How far it had come when the client broke off is chance; that it is whole to nobody is not.
        seen.retain(|message| message.whole);
    }
    let probe = seen.iter().position(|message| message.head.starts_with(format!("GET {PROBE} ").as_bytes()));
    let probe = probe.map(|at| seen.remove(at));
    each("request", &seen, &expects.requests, complaints);
    each("answer", &told.answers, &expects.answers, complaints);
    if told.then != expects.then {
        complaints.push(format!("the client's connection {:?}, not {:?}", told.then, expects.then));
    }
    let (Some(reuses), Some(last)) = (expects.reuses, seen.last()) else { return };
    let reused = probe.is_some_and(|probe| probe.connection == last.connection);
    if reused != reuses {
        let again = if reused { "serves again" } else { "does not serve again" };
        complaints.push(format!("the upstream's connection {again}"));
    }
    if !reuses {
        let before = witness.upstream.connections();
        let ended = tests::wait::attempted(PATIENCE, || (witness.upstream.closed() >= before).then_some(()));
        if ended.is_none() {
            complaints.push("the upstream's connection is left open".to_owned());
        }
    }
}

fn each(what: &str, found: &[Message], expected: &[Vec<Check>], complaints: &mut Vec<String>) {
    if found.len() != expected.len() {
        let all: Vec<String> = found.iter().map(|message| shown(&message.raw)).collect();
        complaints.push(format!("{} {what}s, not {}: {}", found.len(), expected.len(), all.join(" | ")));
    }
    for (message, checks) in found.iter().zip(expected) {
        for check in checks.iter().filter(|check| !holds(message, check)) {
            complaints.push(format!("no {what} as expected ({check}): {}", shown(&message.raw)));
        }
    }
}

fn holds(message: &Message, check: &Check) -> bool {
    let lines = || message.head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let named = |name: &str| {
        let fields = lines().skip(1).filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((name.to_ascii_lowercase(), value[1..].trim_ascii().to_vec()))
        });
        fields.filter(|(known, _)| known == name.as_bytes()).map(|(_, value)| value).collect::<Vec<_>>()
    };
    let find = |bytes: &[u8]| message.raw.windows(bytes.len()).any(|window| window == bytes);
    match check {
        Check::Line(wanted) => lines().any(|line| line == wanted.as_bytes()),
        Check::Only(wanted) => {
            let (name, value) = wanted.split_once(": ").expect("a check names a name and a value");
            named(name) == [value.as_bytes().to_vec()]
        }
        Check::Without(name) => named(name).is_empty(),
        Check::Body(wanted) => message.whole && message.body == wanted.as_bytes(),
        Check::Holds(bytes) => find(bytes),
        Check::Lacks(bytes) => !find(bytes),
        Check::Status(status) => message.head.starts_with(format!("HTTP/1.1 {status} ").as_bytes()),
        Check::Code(code) => {
            let envelope = serde_json::from_slice::<serde_json::Value>(&message.body).unwrap_or_default();
            envelope["error"]["code"] == *code
        }
    }
}

/// Bytes for a person, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    let some = &bytes[..bytes.len().min(600)];
    let more = if some.len() < bytes.len() { "…" } else { "" };
    format!("\"{}{more}\"", some.escape_ascii())
}

#[test]
fn what_does_not_hold_is_told() {
    use super::case::{case, get, passes, refused};
    let good = || passes(&[Check::Line("GET / HTTP/1.1"), Check::Only("host: h")]);
    let cases = [
        case("clause 1", "passes and is to be refused", get("/", ""), refused(400, "x")),
        case("clause 2", "passes otherwise", get("/", "X: y"), passes(&[Check::Without("x")])),
        case("clause 3", "is refused and is to pass", get("/", "X : y"), good()),
        case("clause 4", "holds", get("/", ""), good()),
        case("clause 5", "is owed", get("/", "X: y"), passes(&[Check::Without("x")])).owed("it goes on"),
        case("clause 6", "holds and is owed", get("/", ""), good()).owed("nothing"),
        case("clause 7", "ends and does not", get("/", ""), good().closes()),
        case("clause 8", "serves again", get("/", ""), good().spent()),
        case("clause 9", "holds again", get("/", ""), Expects { reuses: Some(true), ..good() }),
    ];
    let told = catch_unwind(|| run(&cases)).expect_err("most do not hold");
    let told = told.downcast_ref::<String>().expect("a table tells in words");
    for (number, holds) in
        [(1, false), (2, false), (3, false), (4, true), (5, true), (6, false), (7, false), (8, false), (9, true)]
    {
        assert_eq!(!told.contains(&format!("clause {number}: ")), holds, "{number}: {told}");
    }
}
