//! `status`: how the daemon is, in one screen.

use shared::control::report::{State, Status};

use super::table::pairs;
use super::text::{GREEN, RED, YELLOW, count, grouped, paint, plain, size};
use super::time::{moment, span};
use crate::screen::Look;

pub(super) fn status(status: &Status, look: &Look) -> String {
    let (word, colour) = match status.state {
        State::Starting => ("starting", YELLOW),
        State::Serving => ("serving", GREEN),
        State::Draining => ("draining", YELLOW),
    };
    let head = format!(
        "proxyd {} is {}: pid {}, up {}\n",
        plain(&status.version),
        paint(word, colour, look.colour),
        status.pid,
        span(status.uptime)
    );
    let mut config = plain(&status.config);
    if status.drift {
        let drift = "the files on disk differ from what is in force; `proxyctl reload` takes them";
        config.push_str(&format!(" ({})", paint(drift, YELLOW, look.colour)));
    }
    let applied = format!("{}, by {}", moment(&status.applied, look), plain(&status.applied_by));
    let last_reload = status.last_reload.as_ref().map_or_else(String::new, |last| {
        let colour = if last.outcome == "done" { GREEN } else { RED };
        let message = if last.message.is_empty() { String::new() } else { format!(": {}", plain(&last.message)) };
        let outcome = paint(&plain(&last.outcome), colour, look.colour);
        let (door, actor) = (plain(&last.door), plain(&last.actor));
        format!("{outcome}, {}, through {door} by {actor}{message}", moment(&last.time, look))
    });
    head + &pairs(&[
        ("generation", format!("{} since {applied}", status.generation)),
        ("config", config),
        ("last reload", last_reload),
        (
            "serves",
            format!(
                "{}, {}, {}",
                count(status.routes, "route", "routes"),
                count(status.upstreams, "upstream", "upstreams"),
                count(u64::from(status.workers), "worker", "workers")
            ),
        ),
        ("listens", status.listeners.iter().map(|listener| plain(listener)).collect::<Vec<_>>().join(", ")),
        ("admin", status.admin.as_deref().map_or_else(|| "off".to_owned(), plain)),
        ("socket", plain(&status.socket)),
        (
            "traffic",
            format!(
                "{}, {} in flight, {} open",
                count(status.requests, "request", "requests"),
                grouped(status.in_flight),
                count(status.connections, "connection", "connections")
            ),
        ),
        ("audit", audit(status, look)),
        ("log level", plain(&status.log_level)),
    ])
}

fn audit(status: &Status, look: &Look) -> String {
    let audit = &status.audit;
    let rows = format!(
        "row {}, {} in {} at {}",
        grouped(audit.seq),
        size(audit.size_bytes),
        count(audit.segments, "segment", "segments"),
        plain(&audit.path)
    );
    let queued =
        if audit.queued > 0 { format!("; {} wait to be written", grouped(audit.queued)) } else { String::new() };
    let shed = if audit.shed > 0 { format!("; {} shed", grouped(audit.shed)) } else { String::new() };
    let trouble = if audit.writable {
        String::new()
    } else {
        let why = audit.trouble.as_deref().map_or_else(String::new, |why| format!(": {}", plain(why)));
        format!("; {}", paint(&format!("cannot be written{why}"), RED, look.colour))
    };
    format!("{rows}{queued}{shed}{trouble}")
}
