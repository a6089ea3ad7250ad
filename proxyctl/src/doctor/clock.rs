//! Whether this machine's clock can be true: rows are ordered and kept by it.

use jiff::Timestamp;

use super::{Finding, Patient};
use crate::render::time::span;

/// No machine that runs this program lives before it was written: 2026-11-01.
const BUILT_AFTER: i64 = 1_793_491_200;

/// Clocks of two machines, or of a file server, may differ by so much.
const TOLERANCE: i64 = 120;

/// Compares the clock with times that cannot be in the future.
pub(super) fn clock(patient: &Patient, now: Timestamp) -> Vec<Finding> {
    let started = patient.status.as_ref().and_then(|status| status.started.parse::<Timestamp>().ok());
    vec![judged(now, started)]
}

fn judged(now: Timestamp, started: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str = "set the clock (`timedatectl set-ntp true`): the audit record is ordered and kept by it";
    let shown = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    if now.as_second() < BUILT_AFTER {
        return Finding::fail(CHECK, format!("{shown} is before this program was made"), ADVICE);
    }
    match started.map(|started| started.as_second() - now.as_second()).filter(|ahead| *ahead > TOLERANCE) {
        Some(ahead) => {
            let found = format!("the daemon started {} from now by this clock", span(ahead.unsigned_abs()));
            Finding::warn(CHECK, found, ADVICE)
        }
        None => Finding::ok(CHECK, shown.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_clock_is_judged_by_what_must_lie_behind_it() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let now = at(BUILT_AFTER + 1000);
        assert_eq!(judged(at(0), None).verdict, Verdict::Fail);
        assert_eq!(judged(now, None).verdict, Verdict::Ok);
        assert_eq!(judged(now, Some(at(BUILT_AFTER + 1060))).verdict, Verdict::Ok);
        assert_eq!(judged(now, Some(at(BUILT_AFTER + 9000))).verdict, Verdict::Warn);
    }
}
