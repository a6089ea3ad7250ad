//! `audit`: rows as a table, as lines that are added to, and as CSV; and what `verify` found.

use std::fmt::Write as _;

use serde_json::Value;
use shared::audit::{ActionRow, GapRow, RequestRow, Row};
use shared::control::report::{AuditVerified, Changes};

use super::reload;
use super::table::table;
use super::text::{DIM, GREEN, RED, YELLOW, count, grouped, paint, plain};
use super::time::{iso, row_time, took, zone_name};
use crate::screen::Look;

/// A row in the columns that all kinds share.
struct Columns {
    seq: String,
    time: String,
    what: String,
    on: String,
    result: String,
    took: String,
    tries: String,
    through: String,
    who: String,
    colour: Option<&'static str>,
}

/// Rows as a table.
pub(super) fn rows(rows: &[Row], look: &Look) -> String {
    if rows.is_empty() {
        return "no rows\n".to_owned();
    }
    let zone = format!(" {}", zone_name(look));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let mut row = columns(row, look);
            // The heading says it once.
            if row.time.ends_with(&zone) {
                row.time.truncate(row.time.len() - zone.len());
            }
            vec![row.seq, row.time, row.what, row.on, row.result, row.took, row.tries, row.through, row.who]
        })
        .collect();
    let time = format!("TIME{zone}");
    table(&["SEQ", &time, "WHAT", "ON", "RESULT", "TOOK", "TRIES", "THROUGH", "WHO"], &cells, look)
}

/// One row as a line of its own, for rows that come one by one.
pub(crate) fn line(row: &Row, look: &Look) -> String {
    let row = columns(row, look);
    let text = format!(
        "{} {:<7} {:<14} {:>8}  {}  {}  {}  {}",
        row.time,
        plain(&row.what),
        plain(&row.result),
        row.took,
        plain(&row.on),
        plain(&row.through),
        plain(&row.who),
        plain(&row.tries)
    );
    let text = text.trim_end();
    match row.colour {
        Some(colour) => paint(text, colour, look.colour) + "\n",
        None => format!("{text}\n"),
    }
}

fn columns(row: &Row, look: &Look) -> Columns {
    match row {
        Row::Request(row) => request(row, look),
        Row::Action(row) => action(row, look),
        Row::Gap(row) => Columns {
            seq: row.seq.to_string(),
            time: row_time(row.gap.time_us, look),
            what: "gap".to_owned(),
            on: missing(row, look),
            result: row.gap.reason.clone(),
            took: String::new(),
            tries: String::new(),
            through: String::new(),
            who: String::new(),
            colour: Some(YELLOW),
        },
    }
}

fn request(row: &RequestRow, look: &Look) -> Columns {
    let query = if row.query.is_empty() { String::new() } else { format!("?{}", row.query) };
    let status = if row.status == 0 { String::new() } else { format!("{} ", row.status) };
    let who = match (row.principal.as_str(), row.credential.as_str()) {
        ("", "") => row.client.clone(),
        (principal, "") => format!("{} ({principal})", row.client),
        ("", credential) => format!("{} (by {credential})", row.client),
        (principal, credential) => format!("{} ({principal} by {credential})", row.client),
    };
    Columns {
        seq: row.seq.to_string(),
        time: row_time(row.time_us, look),
        what: row.method.clone(),
        on: format!("{}{}{query}", row.host, row.path),
        result: format!("{status}{}", row.outcome),
        took: took(row.duration_us),
        tries: row.tries.clone(),
        through: row.route.clone(),
        who,
        colour: match row.status {
            500.. => Some(RED),
            400..500 | 0 => Some(YELLOW),
            _ => None,
        },
    }
}

fn action(row: &ActionRow, look: &Look) -> Columns {
    let facts = &row.facts;
    let arguments = if facts.arguments == "{}" { "" } else { facts.arguments.as_str() };
    let generations = if facts.generation_before == facts.generation_after {
        String::new()
    } else {
        format!("generation {} → {}", facts.generation_before, facts.generation_after)
    };
    // Of a reload; other commands tell of what they change in other forms.
    let reloaded = serde_json::from_str::<Changes>(&facts.changes).map(|changes| reload::brief(&changes));
    let changes = reloaded.as_ref().unwrap_or(&facts.changes);
    let on: Vec<&str> =
        [arguments, changes, &facts.message, &generations].into_iter().filter(|part| !part.is_empty()).collect();
    Columns {
        seq: row.seq.to_string(),
        time: row_time(facts.time_us, look),
        what: facts.command.clone(),
        on: on.join("; "),
        result: facts.outcome.clone(),
        took: String::new(),
        tries: String::new(),
        through: facts.door.as_str().to_owned(),
        who: facts.actor.clone(),
        colour: Some(if facts.outcome == "done" { GREEN } else { RED }),
    }
}

fn missing(row: &GapRow, look: &Look) -> String {
    let rows = row.gap.missing.map_or_else(
        || "rows are missing, nobody can know how many".to_owned(),
        |missing| count(missing, "row is missing", "rows are missing"),
    );
    let from = row.gap.from_us.map_or_else(String::new, |time| format!(" from {}", row_time(time, look)));
    let until = row.gap.until_us.map_or_else(String::new, |time| format!(" until {}", row_time(time, look)));
    format!("{rows}{from}{until}")
}

/// What `audit verify` found.
pub(crate) fn verified(told: &AuditVerified, look: &Look) -> String {
    let span = if told.rows == 0 {
        "no rows".to_owned()
    } else {
        format!("{}, {} to {}", count(told.rows, "row", "rows"), told.first_seq, told.last_seq)
    };
    let mut out = match &told.broken {
        None if told.intact => format!("{}: {span}\n", paint("intact", GREEN, look.colour)),
        None => format!("{}: {span}\n", paint("broken", RED, look.colour)),
        Some(broken) => format!(
            "{} at row {} in {}: {}\n",
            paint("broken", RED, look.colour),
            broken.seq,
            plain(&broken.segment),
            plain(&broken.reason)
        ),
    };
    for gap in &told.gaps {
        let text = format!("gap at row {}: {} ({})", gap.seq, missing(gap, look), plain(&gap.gap.reason));
        let _ = writeln!(out, "  {}", paint(&text, YELLOW, look.colour));
    }
    if !told.head.is_empty() {
        let advice = if told.intact { "keep it elsewhere, for `verify --head`" } else { "the last row that fits" };
        let _ = writeln!(out, "  head {} ({})", plain(&told.head), paint(advice, DIM, look.colour));
    }
    out
}

/// A note on a page of rows that was full, or on a search that ran out of time.
pub(crate) fn note(rows: u64, asked: u32, first: Option<u64>, end: &Value) -> Option<String> {
    let reached = end.get("reached").and_then(Value::as_u64);
    if end.get("complete") == Some(&Value::Bool(false)) {
        let back =
            reached.map_or_else(String::new, |seq| format!(" It got back to row {seq}; go on with --before {seq}."));
        return Some(format!("note: the search ran out of time, so older rows that match are not here.{back}"));
    }
    let first = first.filter(|_| rows >= u64::from(asked))?;
    Some(format!("note: the newest {}; older ones with --before {first}, more with --last N", grouped(rows)))
}

/// The columns of CSV, in order. An empty cell: a row of this kind has no such thing.
pub(crate) const CSV_COLUMNS: [&str; 39] = [
    "kind",
    "seq",
    "time",
    "request_id",
    "client",
    "method",
    "scheme",
    "listener",
    "host",
    "path",
    "query",
    "protocol",
    "route",
    "upstream",
    "endpoint",
    "status",
    "outcome",
    "bytes_in",
    "bytes_out",
    "duration_us",
    "upstream_us",
    "attempts",
    "tries",
    "principal",
    "credential",
    "generation",
    "user_agent",
    "matched",
    "door",
    "actor",
    "command",
    "arguments",
    "message",
    "generation_before",
    "generation_after",
    "changes",
    "missing",
    "from",
    "until",
];

/// A row's cells by those columns, taken from its JSON.
pub(crate) fn csv_cells(row: &Value) -> Vec<String> {
    let micros = |name: &str| row.get(name).and_then(Value::as_i64).and_then(iso).unwrap_or_default();
    CSV_COLUMNS
        .iter()
        .map(|column| match *column {
            "time" => micros("time_us"),
            "from" => micros("from_us"),
            "until" => micros("until_us"),
            "outcome" if row.get("reason").is_some() => text_of(row.get("reason")),
            other => text_of(row.get(other)),
        })
        .collect()
}

fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => other.to_string(),
    }
}
