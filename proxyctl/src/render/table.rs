//! Columns that fit the terminal: cells wrap, nothing is cut off.

use std::fmt::Write as _;

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Row, Table, presets};

use super::text::{BOLD, paint, plain};
use crate::screen::Look;

/// Rows under headings. A column in which no row has anything is left out.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>], look: &Look) -> String {
    laid_out(headings, rows, look, None)
}

/// The same, where only the columns under these headings wrap.
pub(crate) fn table_wrapping(headings: &[&str], rows: &[Vec<String>], look: &Look, wraps: &[&str]) -> String {
    laid_out(headings, rows, look, Some(wraps))
}

fn laid_out(headings: &[&str], rows: &[Vec<String>], look: &Look, wraps: Option<&[&str]>) -> String {
    let filled: Vec<bool> = (0..headings.len())
        .map(|column| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.is_empty())))
        .collect();
    let keep = |cells: &mut dyn Iterator<Item = String>| -> Row {
        let kept: Vec<Cell> =
            cells.zip(&filled).filter(|(_, filled)| **filled).map(|(cell, _)| Cell::new(cell)).collect();
        Row::from(kept)
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = look.width {
        table.set_width(width);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(keep(&mut headings.iter().map(|heading| (*heading).to_owned())));
    for row in rows {
        table.add_row(keep(&mut row.iter().map(|cell| plain(cell))));
    }
    let widths = table.column_max_content_widths();
    let whole = whole_columns(&widths, look.width.unwrap_or(u16::MAX));
    let names: Vec<&str> = headings.iter().zip(&filled).filter(|(_, filled)| **filled).map(|(name, _)| *name).collect();
    for ((column, width), name) in table.column_iter_mut().zip(widths).zip(names) {
        column.set_padding((0, GAP));
        if wraps.map_or(width <= whole, |wraps| !wraps.contains(&name)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let shown = table.trim_fmt();
    match shown.split_once('\n') {
        Some((head, rest)) => format!("{}\n{rest}\n", paint(head, BOLD, look.colour)),
        None => format!("{shown}\n"),
    }
}

/// Columns between two columns.
pub(crate) const GAP: u16 = 2;

/// Columns that are no wider than this are shown whole; what is left to the others is enough to wrap in.
fn whole_columns(widths: &[u16], terminal: u16) -> u16 {
    let mut sorted = widths.to_vec();
    sorted.sort_unstable();
    let mut used = 0_u32;
    let mut whole = 0;
    for width in sorted {
        used += u32::from(width + GAP);
        if used > u32::from(terminal) * 2 / 3 {
            break;
        }
        whole = width;
    }
    whole
}

/// Names and what they are, one a line.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut out = String::new();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{name:width$}  {value}");
    }
    out
}
