//! `history`: the generations kept; with a number, its sources as they were typed.

use std::fmt::Write as _;

use shared::control::report::GenerationLine;

use super::table::table;
use super::text::{plain, plain_lines};
use super::time::moment;
use crate::screen::Look;

pub(super) fn history(lines: &[GenerationLine], look: &Look) -> String {
    if let Some(one) = lines.iter().find(|line| !line.sources.is_empty()) {
        return sources(one);
    }
    if lines.is_empty() {
        return "no generation is kept\n".to_owned();
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let again = line.rollback_of.map_or_else(String::new, |number| format!("rollback to {number}: "));
            vec![
                format!("{}{}", line.generation, if line.current { " (serves)" } else { "" }),
                moment(&line.time, look),
                line.actor.clone(),
                line.door.clone(),
                line.hash.chars().take(12).collect(),
                format!("{again}{}", line.summary),
            ]
        })
        .collect();
    table(&["GENERATION", "TIME", "ACTOR", "DOOR", "SHA-256 (12)", "WHAT CHANGED"], &rows, look)
}

/// A single source stands by itself, fit to be written to a file again; of several, each under its name.
fn sources(line: &GenerationLine) -> String {
    let mut out = String::new();
    for (name, text) in &line.sources {
        if line.sources.len() > 1 {
            let _ = writeln!(out, "# {}", plain(name));
        }
        out.push_str(&plain_lines(text));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}
