//! `doctor`: looks for the usual causes of trouble, one line each, and says what to do. Changes nothing.

use std::fmt::Write as _;

mod certificates;
mod clock;
mod daemon;
mod outside;
mod places;
mod ports;
mod upstreams;

use serde::Serialize;
use serde_json::json;
use shared::config::{Checked, References, Severity, source};
use shared::control::report::Status;

use crate::cli::{Format, Global, Place};
use crate::client::Surroundings;
use crate::failure::Failure;
use crate::offline;
use crate::render::text::{GREEN, RED, YELLOW, count, paint, plain};
use crate::screen::Screen;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line of the examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, check, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, check, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, check, found: found.into(), advice: Some(advice.into()) }
    }
}

/// What the checks look at.
struct Patient {
    /// Present where a daemon answered.
    status: Option<Status>,
    /// Whether that daemon is on this machine.
    here: bool,
    /// Present where a config could be read and is valid.
    checked: Option<Checked>,
}

/// Makes every check and shows what was found, each as soon as it is known.
pub(crate) async fn examine(
    place: &Place,
    global: &Global,
    surroundings: &Surroundings,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    let (status, findings) = daemon::reach(global, surroundings).await;
    tell(findings, &mut all, screen)?;
    let here = global.url.is_none();
    let (checked, findings) = config(place, status.as_ref().filter(|_| here));
    tell(findings, &mut all, screen)?;
    let patient = Patient { status, here, checked };
    tell(places::folders(&patient), &mut all, screen)?;
    tell(places::disk(&patient), &mut all, screen)?;
    tell(places::open_files(&patient), &mut all, screen)?;
    tell(ports::listeners(&patient), &mut all, screen)?;
    tell(certificates::files(&patient, screen.look.now), &mut all, screen)?;
    tell(upstreams::endpoints(&patient).await, &mut all, screen)?;
    tell(outside::dependencies(&patient).await, &mut all, screen)?;
    tell(clock::clock(&patient, screen.look.now), &mut all, screen)?;
    let of = |verdict: Verdict| all.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (failed, warned) = (of(Verdict::Fail), of(Verdict::Warn));
    match screen.look.format {
        Format::Json => screen.page(&json!({ "healthy": failed == 0, "checks": all }))?,
        Format::Table | Format::Csv => {
            let warned = count(warned, "warning", "warnings");
            screen.text(&format!("{}, {warned}", count(failed, "check failed", "checks failed")))?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Printed) }
}

fn tell(findings: Vec<Finding>, all: &mut Vec<Finding>, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if screen.look.format != Format::Json {
        for finding in &findings {
            let text = line(finding, screen.look.colour);
            screen.text(&text)?;
        }
    }
    all.extend(findings);
    Ok(())
}

fn line(finding: &Finding, colour: bool) -> String {
    let (word, shade) = match finding.verdict {
        Verdict::Ok => ("ok  ", GREEN),
        Verdict::Warn => ("warn", YELLOW),
        Verdict::Fail => ("fail", RED),
    };
    let mut text = format!("{}  {:<10} {}\n", paint(word, shade, colour), finding.check, plain(&finding.found));
    if let Some(advice) = &finding.advice {
        let _ = writeln!(text, "      {:<10} {}", "", plain(advice));
    }
    text
}

/// The config named, else the daemon's own, else `./config.yaml`.
fn config(place: &Place, status: Option<&Status>) -> (Option<Checked>, Vec<Finding>) {
    const CHECK: &str = "config";
    let named = place.given();
    let of_daemon = status.and_then(|status| {
        // As the daemon was told it: from where the daemon was started.
        let folder = std::fs::read_link(format!("/proc/{}/cwd", status.pid)).unwrap_or_default();
        let path = folder.join(&status.config);
        path.exists().then_some(path)
    });
    let path = named.or(of_daemon).unwrap_or_else(|| "config.yaml".into());
    let shown = path.display();
    match offline::load(&path, &place.layers, &References::Lenient(&source::System)) {
        Ok(checked) => {
            let finding = match checked.warnings.len() as u64 {
                0 => Finding::ok(CHECK, format!("{shown} is valid")),
                some => Finding::warn(
                    CHECK,
                    format!("{shown} is valid, with {}", count(some, "warning", "warnings")),
                    format!("see them with `proxyctl validate {shown}`"),
                ),
            };
            (Some(checked), vec![finding])
        }
        Err(problems) => {
            let first = problems.0.iter().find(|problem| problem.severity == Severity::Error);
            let first = first.map_or_else(String::new, |problem| format!("; first: {}", problem.message));
            let advice = format!("see everything with `proxyctl validate {shown}`; start anew with `proxyctl init`");
            (None, vec![Finding::fail(CHECK, format!("{shown}: {problems}{first}"), advice)])
        }
    }
}
