//! The files that the config names for TLS: whether they are sound, and for how long.

use jiff::Timestamp;
use shared::config::problem::Code;
use shared::config::{Checked, Severity};

use super::{Finding, Patient};
use crate::certificates::{examine, moment};
use crate::render::text::count;

/// Every file that can be looked at from here.
pub(super) fn files(patient: &Patient, now: Timestamp) -> Vec<Finding> {
    const CHECK: &str = "tls";
    let Some(checked) = patient.checked.as_ref().filter(|_| patient.here) else { return Vec::new() };
    let examined = examine(&checked.config, now);
    let (mut findings, mut known) = (Vec::new(), examined.files);
    for found in examined.remarks {
        let is_denied = found.is_denied;
        for problem in checked.locate(vec![found.remark]) {
            if is_unknown(checked, &problem.path) {
                known = known.saturating_sub(1);
                continue;
            }
            let told = format!("{} ({})", problem.message, problem.path);
            let advice = problem.hint.unwrap_or_else(|| "mend the file, or name another in the config".to_owned());
            // Who may not read a key is often right not to.
            let finding =
                if problem.severity == Severity::Warning || is_denied { Finding::warn } else { Finding::fail };
            findings.push(finding(CHECK, told, advice));
        }
    }
    if findings.is_empty() && known > 0 {
        let until =
            examined.first_end_s.map_or_else(String::new, |end_s| format!("; the first expires {}", moment(end_s)));
        findings.push(Finding::ok(CHECK, format!("{} sound{until}", count(known, "file is", "files are"))));
    }
    findings
}

/// Whether the file is named by a reference to what is set for the daemon only.
fn is_unknown(checked: &Checked, path: &str) -> bool {
    checked.warnings.iter().any(|warning| warning.code == Code::UnsetReference && warning.path == path)
}
