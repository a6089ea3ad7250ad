//! `status`: how the daemon is, in one screen.

use shared::control::report::{State, Status};

use super::table::pairs;
use super::text::{GREEN, RED, YELLOW, count, grouped, paint, plain, size};
use super::time::{moment, span};
use crate::screen::Look;

/// A certificate that ends within so many days is told in colour.
const SOON_DAYS: i64 = 14;

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
    let drift = if status.drift {
        paint("the files on disk differ from what is in force; `proxyctl reload` takes them", YELLOW, look.colour)
    } else {
        String::new()
    };
    let applied = format!("{}, by {}", moment(&status.applied, look), plain(&status.applied_by));
    let last = status.last_reload.as_ref();
    let last_reload = last.map_or_else(String::new, |last| {
        let colour = if last.outcome == "done" { GREEN } else { RED };
        let outcome = paint(&plain(&last.outcome), colour, look.colour);
        format!("{outcome}, {}, by {} ({})", moment(&last.time, look), plain(&last.actor), plain(&last.door))
    });
    let last_message = last.map_or_else(String::new, |last| plain(&last.message));
    head + &pairs(&[
        ("generation", format!("{} since {applied}", status.generation)),
        ("config", plain(&status.config)),
        ("drift", drift),
        ("last reload", last_reload),
        ("", last_message),
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
        ("certificates", certificates(status, look)),
        ("asks", outside(status, look)),
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
        ("audit", audit(status)),
        ("audit trouble", trouble(status, look)),
        ("log level", plain(&status.log_level)),
    ])
}

/// When the first of them ends, and what is wrong with any.
fn certificates(status: &Status, look: &Look) -> String {
    let Some(first) = status.certificates.iter().min_by_key(|certificate| certificate.days_left) else {
        return String::new();
    };
    let ends = format!("{} ends {}", plain(&first.path), moment(&first.not_after, look));
    let ends = match first.days_left {
        i64::MIN..0 => paint(&format!("{ends}: it is over"), RED, look.colour),
        0..=SOON_DAYS => {
            paint(&format!("{ends}: in {}", count(first.days_left as u64, "day", "days")), YELLOW, look.colour)
        }
        _ => ends,
    };
    let mut said = vec![format!("{}, {ends}", status.certificates.len())];
    let mut problems: Vec<&str> = status.certificates.iter().filter_map(|found| found.problem.as_deref()).collect();
    problems.dedup();
    said.extend(
        problems
            .into_iter()
            .map(|problem| paint(&format!("changed files are not used: {}", plain(problem)), RED, look.colour)),
    );
    said.join("; ")
}

/// One after the other; those in trouble stand out.
fn outside(status: &Status, look: &Look) -> String {
    let told = status.outside.iter().map(|one| {
        let told = format!("{} at {}: {}", plain(&one.name), plain(&one.place), plain(&one.told));
        if one.is_well == Some(false) { paint(&told, RED, look.colour) } else { told }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn audit(status: &Status) -> String {
    let audit = &status.audit;
    let queued =
        if audit.queued > 0 { format!(", {} wait to be written", grouped(audit.queued)) } else { String::new() };
    format!(
        "row {}, {} in {} at {}{queued}",
        grouped(audit.seq),
        size(audit.size_bytes),
        count(audit.segments, "segment", "segments"),
        plain(&audit.path)
    )
}

fn trouble(status: &Status, look: &Look) -> String {
    let audit = &status.audit;
    let mut said = Vec::new();
    if !audit.writable {
        let why = audit.trouble.as_deref().unwrap_or("no reason given");
        said.push(format!("it cannot be written: {}", plain(why)));
    }
    if audit.shed > 0 {
        said.push(format!("{} shed for want of room", count(audit.shed, "row was", "rows were")));
    }
    if said.is_empty() { String::new() } else { paint(&said.join("; "), RED, look.colour) }
}
