//! How an endpoint stands, in a word and why: for operators and metrics.

use shared::decide::eligible::{Admin, Checked, Circuit};

use super::choose::facts;
use super::outcome::micros;
use super::{Member, Upstream};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub word: &'static str,
    /// In a few words; empty where there is nothing to say.
    pub why: String,
    /// Since when (microseconds since the epoch), where that is known.
    pub since_us: Option<i64>,
    /// `closed`, `open`, `half_open`; none where there is no breaker.
    pub breaker: Option<&'static str>,
}

impl Upstream {
    /// How a member stands. Of several reasons the one counts that only an operator can change, then the gravest.
    pub fn standing(&self, member: &Member, now_us: u64) -> Standing {
        let facts = facts(&self.config, member, now_us);
        let health = &member.endpoint.health;
        let notes = health.notes().clone();
        let breaker = self.config.breaker.as_ref().map(|_| match facts.circuit {
            Circuit::Closed => "closed",
            Circuit::Open { .. } => "open",
            Circuit::HalfOpen => "half_open",
        });
        let stands = |word, why: &str, since_us| Standing { word, why: why.to_owned(), since_us, breaker };
        match facts.admin {
            Admin::Drain => return stands("drain", "set by an operator", None),
            Admin::Down => return stands("down", "set by an operator", None),
            Admin::Ready => {}
        }
        if !facts.resolved {
            let problem = self.names().get(&member.endpoint.address).and_then(|known| known.problem.clone());
            return stands("unresolved", problem.as_deref().unwrap_or("not looked up yet"), None);
        }
        if facts.checked == Checked::Unhealthy {
            let why = notes.probe.as_ref().map_or("", |probe| &probe.text);
            return stands("unhealthy", why, notes.checked_at_us);
        }
        let tripped = notes.tripped.map_or(("", None), |note| (note.why, Some(note.at_us)));
        match facts.circuit {
            Circuit::Open { .. } => return stands("open", tripped.0, tripped.1),
            Circuit::HalfOpen => return stands("half_open", tripped.0, tripped.1),
            Circuit::Closed => {}
        }
        if health.is_ejected(now_us) {
            let ejected = notes.ejected.map_or(("", None), |note| (note.why, Some(note.at_us)));
            let left = facts.ejected_until_us.unwrap_or(now_us).saturating_sub(now_us).div_ceil(1_000_000);
            return stands("ejected", &format!("{}, for {left} s more", ejected.0), ejected.1);
        }
        if facts.checked == Checked::Unknown {
            return stands("unknown", "no probe was answered yet", None);
        }
        let slow_start_us = self.config.slow_start.map_or(0, micros);
        if facts.ready_since_us.is_some_and(|since| now_us < since.saturating_add(slow_start_us)) {
            return stands("slow_start", "", None);
        }
        stands("ready", if facts.weight == 0 { "its weight is 0" } else { "" }, None)
    }
}
