//! A case of HTTP/2: what a client sends on a connection of its own, and what must be seen of it; and the runner of a table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tests::http2::{PREFACE, code, settings};
use tests::{Http2, PATIENCE, Proxyd, Upstream, eventually};

/// One line of a table.
pub(super) struct Case {
    /// The clause that decides, such as `RFC 9113 6.5`; or `house`, where that leaves it to us.
    clause: &'static str,
    name: &'static str,
    /// Behind the preface and empty SETTINGS. What is asked is asked on stream 1.
    sends: Vec<u8>,
    /// Whether that goes out without preface and SETTINGS.
    bare: bool,
    expects: Expects,
    /// What is seen instead today: the case is owed, and the table fails once it holds, so that this goes away.
    owed: Option<&'static str>,
    /// With which code the connection ends instead of the one that the clause names. Fails as soon as that is told.
    says: Option<u32>,
    /// Whether GOAWAY may be overtaken: bytes that were left unread make the end of the connection a reset.
    overtaken: bool,
}

/// What must be seen. But for [`Expects::Ends`] the connection serves another request.
pub(super) enum Expects {
    /// One request reaches the upstream, whose head and body hold these and whose bytes do not hold those, and is answered.
    Passes { holds: Vec<String>, lacks: Vec<String> },
    /// Answered by us with this status and code.
    Refused(u16, &'static str),
    /// The request is malformed: answered with 400, or its stream or the connection ends with `PROTOCOL_ERROR`.
    Malformed,
    /// Answered with this status and no more, by the crate `h2`.
    Bare(u16),
    /// Stream 1 is reset with this code.
    Reset(u32),
    /// The stream is reset or the connection ends, with this code either way.
    Error(u32),
    /// GOAWAY with this code, and the end of the connection.
    Ends(u32),
    /// Nothing comes of it.
    Ignored,
}

pub(super) fn case(clause: &'static str, name: &'static str, sends: impl Into<Vec<u8>>, expects: Expects) -> Case {
    Case { clause, name, sends: sends.into(), bare: false, expects, owed: None, says: None, overtaken: false }
}

impl Case {
    /// Without preface and SETTINGS before it.
    pub(super) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// So much is sent that some of it is left unread.
    pub(super) fn overtaken(self) -> Self {
        Self { overtaken: true, ..self }
    }

    /// The crate `h2` ends the connection with this code instead.
    pub(super) fn says(self, code: u32) -> Self {
        Self { says: Some(code), ..self }
    }

    /// Known not to hold: instead this is seen.
    pub(super) fn owed(self, instead: &'static str) -> Self {
        Self { owed: Some(instead), ..self }
    }
}

/// Reaches the upstream with these lines in its head or body.
pub(super) fn passes(holds: &[&str]) -> Expects {
    passes_without(holds, &[])
}

/// The same, without those.
pub(super) fn passes_without(holds: &[&str], lacks: &[&str]) -> Expects {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Expects::Passes { holds: own(holds), lacks: own(lacks) }
}

/// The stream that asks whether the connection goes on.
const PROBE: u32 = 1001;

/// A table, everything forwarded.
#[track_caller]
pub(super) fn run(cases: &[Case]) {
    run_with("", cases);
}

/// The same with these lines in the section `server`.
#[track_caller]
pub(super) fn run_with(config: &str, cases: &[Case]) {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            // All that was seen goes back.
            let seen = format!("{}{}{:?}", request.head, String::from_utf8_lossy(&request.body), request.trailers.0);
            conn.answer(200, &[], if request.target == "/probe" { b"probed" } else { seen.as_bytes() });
        }
    });
    let target = upstream.address();
    let proxyd = Proxyd::start(&format!(
        "server:\n  workers: 1\n{config}routes:\n  - {{name: all, path: /, target: 'http://{target}'}}\n"
    ));
    let mut wrong = Vec::new();
    for case in cases {
        let before = upstream.heads().len();
        let complaint = catch_unwind(AssertUnwindSafe(|| play(&proxyd, case)));
        let mut complaint = complaint.unwrap_or_else(|panic| {
            Some(panic.downcast_ref::<String>().map_or("it panicked", String::as_str).to_owned())
        });
        let heads = upstream.heads();
        let came: Vec<&String> = heads[before..].iter().filter(|head| !head.starts_with("GET /probe ")).collect();
        let wanted = usize::from(matches!(case.expects, Expects::Passes { .. }));
        if complaint.is_none() && came.len() != wanted {
            complaint = Some(format!("{} requests came upstream, not {wanted}: {came:?}", came.len()));
        }
        if case.owed.is_some() {
            complaint = complaint.is_none().then(|| "it holds, and is owed no more".to_owned());
        }
        if let Some(complaint) = complaint {
            let sent = case.sends[..case.sends.len().min(300)].escape_ascii();
            wrong.push(format!("{}: {}\n    sent: {sent}\n    {complaint}", case.clause, case.name));
        }
    }
    // Only then is it certain that nothing more arrives.
    let served = upstream.requests();
    drop(proxyd);
    eventually("all upstream connections end", || (upstream.closed() == upstream.connections()).then_some(()));
    assert_eq!(upstream.requests(), served, "came upstream unasked: {:?}", &upstream.heads()[served..]);
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Plays a case; some text: what is wrong.
fn play(proxyd: &Proxyd, case: &Case) -> Option<String> {
    let mut client = Http2::over(std::net::TcpStream::connect(proxyd.address()).unwrap());
    if !case.bare {
        client.send([PREFACE, &settings(&[])].concat());
    }
    client.send(&case.sends);
    if !matches!(case.expects, Expects::Ends(_) | Expects::Error(_) | Expects::Ignored) {
        client.whole(1);
    }
    if matches!(case.expects, Expects::Error(_)) {
        client.until(|all| all.closed || all.message(1).reset.is_some());
    }
    if case.says.is_some() {
        client.until(|all| all.closed);
    } else if let Expects::Ends(_) = case.expects {
        client.read_for(if case.owed.is_some() { Duration::from_millis(300) } else { PATIENCE });
    }
    let message = client.message(1);
    let saw = || format!("saw {message:?}, GOAWAY {:?}, closed {}", client.goaways, client.closed);
    let is_so = match &case.expects {
        _ if case.overtaken && client.closed && client.goaways.is_empty() => message.blocks.is_empty(),
        Expects::Ends(_) | Expects::Error(_) if case.says.is_some() => {
            client.goaways.last().map(|last| last.1) == case.says
        }
        Expects::Passes { holds, lacks } => {
            let text = message.text();
            message.status() == 200
                && holds.iter().all(|part| text.contains(part.as_str()))
                && !lacks.iter().any(|part| text.contains(part.as_str()))
        }
        Expects::Refused(status, code) => {
            message.status() == *status && message.text().contains(&format!("\"code\":\"{code}\"")) && message.ended
        }
        Expects::Malformed => {
            message.status() == 400 && message.ended
                || message.reset == Some(code::PROTOCOL_ERROR)
                || client.closed && client.goaways.last().is_some_and(|last| last.1 == code::PROTOCOL_ERROR)
        }
        Expects::Bare(status) => message.status() == *status && message.ended && message.body.is_empty(),
        Expects::Reset(code) => message.reset == Some(*code),
        Expects::Error(code) => {
            message.reset == Some(*code) || client.goaways.last().is_some_and(|last| last.1 == *code)
        }
        Expects::Ends(code) => client.closed && client.goaways.last().is_some_and(|(_, told)| told == code),
        Expects::Ignored => message.blocks.is_empty() && message.reset.is_none(),
    };
    if !is_so {
        return Some(saw());
    }
    let may_end = matches!(case.expects, Expects::Error(_) | Expects::Malformed);
    if matches!(case.expects, Expects::Ends(_)) || client.closed && may_end {
        return None;
    }
    let probe = client.get(PROBE, "/probe");
    (probe.text() != "probed").then(|| format!("the connection does not go on: {client:?}"))
}
