//! Problem reports: the same for `validate` here and for a reload that the daemon refused.

use shared::config::{Problem, Problems};
use shared::control::report::Validated;

use super::text::{GREEN, count, paint, plain, plain_in_place};
use crate::screen::Look;

/// Every problem with its place and what to do.
pub(crate) fn report(problems: &[Problem], colour: bool) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let safe = problems.iter().map(safe).collect();
    let mut shown = Problems(safe).render(colour);
    if !shown.ends_with('\n') {
        shown.push('\n');
    }
    shown
}

/// A config's texts may hold anything; the report goes to a terminal.
fn safe(problem: &Problem) -> Problem {
    let mut safe = problem.clone();
    safe.path = plain(&problem.path);
    safe.origin = plain(&problem.origin);
    safe.message = plain(&problem.message);
    safe.hint = problem.hint.as_deref().map(plain);
    if let Some(excerpt) = &mut safe.excerpt {
        excerpt.line_text = plain_in_place(&excerpt.line_text);
    }
    safe
}

/// The line that says whether a config is good.
pub(crate) fn validated(told: &Validated, look: &Look) -> String {
    if !told.valid {
        return String::new();
    }
    let warnings = match told.problems.len() as u64 {
        0 => String::new(),
        some => format!(", {}", count(some, "warning", "warnings")),
    };
    let (routes, upstreams) = (count(told.routes, "route", "routes"), count(told.upstreams, "upstream", "upstreams"));
    format!("{}: {routes}, {upstreams}{warnings}\n", paint("valid", GREEN, look.colour))
}
