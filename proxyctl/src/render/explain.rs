//! `explain`: every candidate with its reason, the verdict, the policies.

use std::fmt::Write as _;

use shared::control::report::{Explanation, Verdict};

use super::table::table;
use super::text::{BOLD, GREEN, RED, count, paint, plain};
use crate::screen::Look;

/// An explanation as text.
pub(crate) fn explanation(told: &Explanation, look: &Look) -> String {
    let query = if told.query.is_empty() { String::new() } else { format!("?{}", plain(&told.query)) };
    let host = if told.host.is_empty() { "(no host) ".to_owned() } else { plain(&told.host) };
    let generation = told.generation.map_or_else(String::new, |number| format!(", generation {number}"));
    let asked = format!("{} {host}{}{query}", plain(&told.method), plain(&told.path));
    let mut out = format!("{} from {}{generation}\n\n", paint(&asked, BOLD, look.colour), plain(&told.client));
    if told.candidates.is_empty() {
        out.push_str("no route was looked at\n");
    } else {
        let rows: Vec<Vec<String>> = told
            .candidates
            .iter()
            .map(|candidate| {
                let result = if candidate.won { "won" } else { "lost" };
                vec![candidate.route.clone(), result.to_owned(), candidate.reason.clone(), candidate.origin.clone()]
            })
            .collect();
        out.push_str(&table(&["ROUTE", "RESULT", "REASON", "FROM"], &rows, look));
    }
    if told.unlisted > 0 {
        let _ = writeln!(out, "and {}, not listed", count(told.unlisted, "more route", "more routes"));
    }
    out.push('\n');
    out.push_str(&verdict(&told.verdict, look));
    if !told.policies.is_empty() {
        let rows: Vec<Vec<String>> = told
            .policies
            .iter()
            .map(|line| vec![line.policy.clone(), line.scope.clone(), line.effect.clone(), line.origin.clone()])
            .collect();
        out.push('\n');
        out.push_str(&table(&["POLICY", "SCOPE", "EFFECT", "FROM"], &rows, look));
    }
    out
}

fn verdict(verdict: &Verdict, look: &Look) -> String {
    let good = |text: &str| paint(text, GREEN, look.colour);
    match verdict {
        Verdict::Forward { route, targets } => {
            let mut out = format!("{} by route {}\n", good("forward"), plain(route));
            for target in targets {
                let (upstream, share, host) = (plain(&target.upstream), plain(&target.share), plain(&target.host));
                let _ = writeln!(out, "  {share} % to {upstream}, as host {host}");
                for url in &target.urls {
                    let _ = writeln!(out, "    {}", plain(url));
                }
            }
            out
        }
        Verdict::Redirect { route, status, location } => {
            format!("{} {status} to {} by route {}\n", good("redirect"), plain(location), plain(route))
        }
        Verdict::Serve { route, pages } => format!("{} {} by route {}\n", good("serve"), plain(pages), plain(route)),
        Verdict::Respond { route, status } => format!("{} {status} by route {}\n", good("respond"), plain(route)),
        Verdict::Reject { code, status, message } => {
            format!("{} {status} {}: {}\n", paint("reject", RED, look.colour), plain(code), plain(message))
        }
    }
}
