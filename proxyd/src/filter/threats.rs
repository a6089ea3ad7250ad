//! The filter `threats`: requests that look like an attack, or not as they must, are refused or only told. The answer names the
//! rule, never what it found.

use std::sync::Arc;

use shared::config::policy::{ThreatMode, Threats};
use shared::decide::threats::{Arriving, Facts, Judgement, Misfit, Scores, allowed, is_json, judge, misfit, takes};

use super::Verdict;
use crate::exchange::{Exchange, JsonBounds, Ledger, Rejection, Request, Response, Value, name};

/// The policy, with what its rules count made ready.
#[derive(Debug)]
pub struct Compiled {
    policy: Arc<Threats>,
    scores: Scores,
}

impl Compiled {
    /// Makes the policy ready.
    pub fn new(policy: &Arc<Threats>) -> Self {
        let scores = Scores::of(policy);
        scores.make_ready();
        Self { policy: Arc::clone(policy), scores }
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange, request: &mut Request, ledger: &Ledger) -> Verdict {
        let is_enforced = self.policy.mode == ThreatMode::Block;
        let misfit = self.misfit(request);
        if let Some(misfit) = misfit {
            ledger.metrics.threat(misfit.name(), is_enforced);
            if is_enforced {
                return Verdict::Reject(Rejection::Threat { rule: misfit.code(), status: misfit.status() });
            }
            exchange.finish.noted(&format!("threat: {} (shadow)", misfit.name()));
        }
        let facts = Facts {
            raw_path: request.head.path(),
            path: exchange.path(),
            query: request.head.query().unwrap_or_default(),
        };
        let judgement = judge(&self.scores, &facts, request.head.headers().iter());
        if judgement.is_partial() {
            ledger.metrics.threat("unseen", false);
            exchange.finish.noted("threat: not all was looked at");
        }
        if let Some(worst) = judgement.worst()
            && judgement.score() >= self.policy.score
        {
            for (rule, _) in judgement.rules() {
                ledger.metrics.threat(rule.name(), is_enforced);
            }
            exchange.finish.noted(&told(&judgement, is_enforced));
            if is_enforced {
                return Verdict::Reject(Rejection::Threat { rule: worst.code(), status: 403 });
            }
        }
        // One misfit is told of a request, as one would be refused for it; and what is encoded is no JSON to look at.
        if misfit.is_none() {
            self.watch(request, is_enforced);
        }
        Verdict::Pass
    }

    /// A method that is not taken is answered with those that are (RFC 9110 section 15.5.6).
    pub(super) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let shape = &self.policy.shape;
        if response.head.status() == 405
            && self.policy.mode == ThreatMode::Block
            && !takes(shape, exchange.method())
            && let Some(allow) = Value::parse(&allowed(shape))
        {
            response.head.headers_mut().set(&name::ALLOW, allow);
        }
    }

    fn misfit(&self, request: &Request) -> Option<Misfit> {
        let headers = request.head.headers();
        let announced = request.body.announced();
        let arriving = Arriving {
            method: request.head.method(),
            has_body: !request.body.is_empty() && announced != Some(0),
            announced,
            content_type: headers.only(&name::CONTENT_TYPE),
            is_ambiguous: headers.all(&name::CONTENT_TYPE).nth(1).is_some(),
            is_encoded: headers
                .all(&name::CONTENT_ENCODING)
                .any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity")),
        };
        misfit(&self.policy.shape, &arriving)
    }

    /// A JSON body is looked at as it comes.
    fn watch(&self, request: &mut Request, is_enforced: bool) {
        if let Some(shape) = self.policy.shape.json
            && request.head.headers().all(&name::CONTENT_TYPE).any(is_json)
        {
            request.body.set_json(JsonBounds::new(shape, is_enforced));
        }
    }
}

/// The rules in words, for the record.
fn told(judgement: &Judgement, is_enforced: bool) -> String {
    let names: Vec<&str> = judgement.rules().map(|(rule, _)| rule.name()).collect();
    format!("threat: {}{}", names.join(", "), if is_enforced { "" } else { " (shadow)" })
}
