//! `reload` and `rollback`: what became of it, and what changed.

use std::fmt::Write as _;

use shared::control::report::{Changes, Delta, Reloaded};

use super::text::{GREEN, RED, YELLOW, count, paint, plain};
use crate::screen::Look;

pub(super) fn reloaded(told: &Reloaded, look: &Look) -> String {
    let number = told.generation;
    let took = format!("{} ms", told.took_ms);
    let mut out = match (told.dry_run, told.applied) {
        (true, _) if is_empty(&told.changes) => {
            format!("dry run: nothing would change (generation {number}, {took})\n")
        }
        (true, _) => format!("dry run: generation {number} would be made; nothing was changed ({took})\n"),
        (false, true) => format!("{} ({took})\n", paint(&format!("generation {number} serves"), GREEN, look.colour)),
        (false, false) => format!("nothing changed: generation {number} still serves ({took})\n"),
    };
    out.push_str(&changes(&told.changes, look));
    if told.overrode_drift {
        out.push_str("the generation before it was not what the files said (a rollback was in force)\n");
    }
    if !told.warnings.is_empty() {
        let _ = writeln!(out, "{}", count(told.warnings.len() as u64, "warning", "warnings"));
        for warning in &told.warnings {
            let _ = writeln!(out, "  {}", plain(&warning.message));
        }
    }
    if !told.audited && told.applied {
        out.push_str("the audit store cannot be written; the record of this is kept aside until it can\n");
    }
    out
}

/// So many names of a kind fit into a cell.
const NAMED: usize = 3;

/// The same in one cell of a table, without what only lived on.
pub(super) fn brief(changes: &Changes) -> String {
    let of_delta = |what: &'static str, delta: &Delta| {
        [("+", &delta.added), ("~", &delta.changed), ("-", &delta.removed)]
            .map(|(mark, names)| (what, mark, names.clone()))
    };
    let deltas = [("routes", &changes.routes), ("upstreams", &changes.upstreams), ("listeners", &changes.listeners)];
    let all = deltas.into_iter().flat_map(|(what, delta)| of_delta(what, delta));
    let all = all.chain([("sections", "~", changes.sections.clone())]).filter(|(.., names)| !names.is_empty());
    let told = all.map(|(what, mark, names)| {
        let more = names.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{what} {mark} {}{more}", names.into_iter().take(NAMED).collect::<Vec<_>>().join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

fn is_empty(changes: &Changes) -> bool {
    let delta = |delta: &Delta| delta.added.is_empty() && delta.changed.is_empty() && delta.removed.is_empty();
    delta(&changes.routes) && delta(&changes.upstreams) && delta(&changes.listeners) && changes.sections.is_empty()
}

fn changes(changes: &Changes, look: &Look) -> String {
    let mut out = String::new();
    let named = [("routes", &changes.routes), ("upstreams", &changes.upstreams), ("listeners", &changes.listeners)];
    for (what, delta) in named {
        let parts = [("+", &delta.added, GREEN), ("~", &delta.changed, YELLOW), ("-", &delta.removed, RED)];
        for (mark, names, colour) in parts.into_iter().filter(|(_, names, _)| !names.is_empty()) {
            let names = names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "  {what:<9} {}", paint(&format!("{mark} {names}"), colour, look.colour));
        }
    }
    for (what, names) in [("sections", &changes.sections), ("kept", &changes.kept)] {
        if !names.is_empty() {
            let mark = if what == "kept" { "=" } else { "~" };
            let names = names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "  {what:<9} {mark} {names}");
        }
    }
    out
}
