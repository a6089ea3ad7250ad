//! The policy `threats`: what in a request looks like an attack, by rules with scores that add up; and what a request must look
//! like whatever it says. Pure: a live request and `explain` get the same answer.

mod agents;
mod decode;
mod json;
mod patterns;
mod scan;
mod shape;

#[cfg(test)]
mod tests;

pub use json::Depth;
pub use scan::{Facts, judge};
pub use shape::{Arriving, Misfit, allowed, is_json, misfit, takes};

use crate::config::policy::Threats;

/// One rule of the built-in set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Traversal,
    SqlInjection,
    CrossSiteScripting,
    CommandInjection,
    TemplateInjection,
    HeaderInjection,
    NullByte,
    ScannerAgent,
    ProtocolWrapper,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Traversal,
        Self::SqlInjection,
        Self::CrossSiteScripting,
        Self::CommandInjection,
        Self::TemplateInjection,
        Self::HeaderInjection,
        Self::NullByte,
        Self::ScannerAgent,
        Self::ProtocolWrapper,
    ];

    /// The score of a rule of which the config says nothing: that at which requests are blocked by default.
    pub const DEFAULT_SCORE: u32 = 5;

    /// The name in the config, in metrics and in the record.
    pub fn name(self) -> &'static str {
        self.code().strip_prefix("threat_").unwrap_or_default()
    }

    /// The stable code of a request that it blocks.
    pub fn code(self) -> &'static str {
        match self {
            Self::Traversal => "threat_traversal",
            Self::SqlInjection => "threat_sql_injection",
            Self::CrossSiteScripting => "threat_cross_site_scripting",
            Self::CommandInjection => "threat_command_injection",
            Self::TemplateInjection => "threat_template_injection",
            Self::HeaderInjection => "threat_header_injection",
            Self::NullByte => "threat_null_byte",
            Self::ScannerAgent => "threat_scanner_agent",
            Self::ProtocolWrapper => "threat_protocol_wrapper",
        }
    }

    /// The rule of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }
}

/// What each rule counts, by a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores([u32; Rule::ALL.len()]);

impl Scores {
    /// The built-in set, with what the policy says over it.
    pub fn of(policy: &Threats) -> Self {
        let mut scores = Self::default();
        for (name, score) in &policy.rules {
            if let Some(slot) = Rule::named(name).and_then(|rule| scores.0.get_mut(rule as usize)) {
                *slot = *score;
            }
        }
        scores
    }

    /// Makes ready what is looked for, which takes some milliseconds: before the first request comes.
    pub fn make_ready(&self) {
        patterns::make_ready();
    }

    /// What the rule counts; 0 for one that is off.
    pub fn score(&self, rule: Rule) -> u32 {
        self.0.get(rule as usize).copied().unwrap_or_default()
    }
}

impl Default for Scores {
    fn default() -> Self {
        Self([Rule::DEFAULT_SCORE; Rule::ALL.len()])
    }
}

/// How clearly a rule found what it looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trace {
    #[default]
    None,
    /// Something that honest requests hold too, now and then: half the score, rounded up.
    Faint,
    Clear,
}

/// What was found in a request. It holds nothing of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    points: [u32; Rule::ALL.len()],
    is_partial: bool,
}

impl Judgement {
    /// What the rules add up to.
    pub fn score(&self) -> u32 {
        self.points.iter().fold(0, |sum, points| sum.saturating_add(*points))
    }

    /// Whether the request has more than is looked at.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The rules that found something, with what each counts.
    pub fn rules(&self) -> impl Iterator<Item = (Rule, u32)> {
        Rule::ALL.into_iter().zip(self.points).filter(|(_, points)| *points > 0)
    }

    /// The rule that counts most, the first of equals.
    pub fn worst(&self) -> Option<Rule> {
        let worst = self.rules().reduce(|worst, next| if next.1 > worst.1 { next } else { worst });
        worst.map(|(rule, _)| rule)
    }

    fn add(&mut self, rule: Rule, trace: Trace, score: u32) {
        if let Some(points) = self.points.get_mut(rule as usize) {
            *points = match trace {
                Trace::None => 0,
                Trace::Faint => score.div_ceil(2),
                Trace::Clear => score,
            };
        }
    }
}
