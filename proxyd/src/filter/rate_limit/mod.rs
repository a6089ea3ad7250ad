//! The filter `rate_limit`: takes one request from every rule in force, refuses with 429, and tells clients what is left.

mod counts;
mod limiter;

pub use counts::KeyHash;
pub use limiter::{Limiter, Limiters};

use std::sync::Arc;

use shared::config::policy::Mode;

use super::Verdict;
use crate::exchange::{Exchange, Headers, Ledger, LimitNote, Name, Rejection, Request, Response, Value, name};

/// The rules of one policy, in order.
#[derive(Debug)]
pub struct Rules(Box<[CompiledRule]>);

#[derive(Debug)]
struct CompiledRule {
    limiter: Arc<Limiter>,
    /// Among the snapshot's limiters.
    index: usize,
    /// `RateLimit-Policy`.
    policy: Value,
    by: Box<[By]>,
}

#[derive(Debug)]
enum By {
    Ip,
    /// What the client's certificate is called.
    Certificate,
    Header(Name),
}

impl Rules {
    pub(super) fn on_request(&self, exchange: &mut Exchange, request: &Request, ledger: &Ledger) -> Verdict {
        let now_us = exchange.finish.started.instant_us;
        for (index, rule) in self.0.iter().enumerate() {
            let key = rule.key(exchange, request.head.headers());
            let verdict = rule.limiter.take(&key, now_us);
            let enforced = rule.limiter.rule.mode == Mode::Enforce;
            rule.count(verdict.allowed, enforced, exchange, ledger);
            if !enforced {
                continue;
            }
            let tightest = exchange.notes.limit.as_ref().is_none_or(|note| verdict.remaining < note.verdict.remaining);
            if tightest || !verdict.allowed {
                exchange.notes.limit = Some(LimitNote { rule: index, verdict });
            }
            if !verdict.allowed {
                return Verdict::Reject(Rejection::RateLimited { retry_after_s: verdict.retry_after_s });
            }
        }
        Verdict::Pass
    }

    /// Tells the client what it has left.
    pub(super) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let Some(LimitNote { rule, verdict }) = &exchange.notes.limit else { return };
        let Some(rule) = self.0.get(*rule) else { return };
        let headers = response.head.headers_mut();
        headers.set_number(&name::X_RATE_LIMIT_LIMIT, u64::from(verdict.limit));
        headers.set_number(&name::X_RATE_LIMIT_REMAINING, u64::from(verdict.remaining));
        headers.set_number(&name::X_RATE_LIMIT_RESET, verdict.reset_s);
        headers.set(&name::RATE_LIMIT_POLICY, &rule.policy);
        headers.set_with(&name::RATE_LIMIT, |out| rule.limiter.meter.rate_limit_header(verdict, out));
    }
}

impl CompiledRule {
    fn count(&self, allowed: bool, enforced: bool, exchange: &Exchange, ledger: &Ledger) {
        let Some(cells) = exchange.finish.terms.limits.get(self.index) else { return };
        let made = || ledger.metrics.limit(self.limiter.scope_name(), &self.limiter.rule.name);
        let cells = cells.get_or_init(made);
        match (allowed, enforced) {
            (true, _) => cells.allowed(),
            (false, true) => cells.refused(),
            (false, false) => cells.shadow_refused(),
        }
    }

    fn key(&self, exchange: &Exchange, headers: &Headers) -> KeyHash {
        for by in &self.by {
            match by {
                By::Ip => break,
                By::Certificate => {
                    if let Some(certificate) = &exchange.peer.certificate {
                        return self.limiter.certificate_key(certificate.called());
                    }
                }
                By::Header(name) => {
                    if let Some(value) = headers.get(name).filter(|value| !value.is_empty()) {
                        return self.limiter.header_key(name.as_str(), value);
                    }
                }
            }
        }
        self.limiter.address_key(exchange.client)
    }
}
