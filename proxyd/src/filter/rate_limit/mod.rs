//! The filter `rate_limit`: takes one request from every rule in force, refuses with 429, and tells clients what is left.
//!
//! It stands in a chain twice: rules that need not know who it is count before anybody is asked, the others after.

mod counts;
mod limiter;
mod limiters;
mod moved;
mod named;
mod remote;
mod short;
mod who;

pub use counts::KeyHash;
pub use limiter::{Limiter, TopLine};
pub use limiters::{Limiters, Stage};
pub use named::Named;
pub use short::lets_none_pass;

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use shared::config::Name;
use shared::config::policy::{ExemptUser, Mode, Rule};
use shared::decide::limit;

use self::limiter::Held;
use self::remote::{Answer, Question};
use self::who::{By, Who};
use super::{Then, Verdict};
use crate::exchange::{Exchange, Ledger, LimitNote, Quota, Rejection, Request, Response, name};

/// The rules of one policy that count at one stage, in order.
#[derive(Debug)]
pub struct Rules {
    stage: Stage,
    rules: Arc<[CompiledRule]>,
}

#[derive(Debug)]
struct CompiledRule {
    limiter: Arc<Limiter>,
    /// Its place among those of its policy that count at this stage.
    place: usize,
    stage: Stage,
    /// Among the snapshot's limiters.
    index: usize,
    by: Box<[By]>,
}

impl Rules {
    /// First the rules that are counted here, in order; then, one after the other, those that are counted elsewhere: what is
    /// refused here is not asked there.
    pub(super) fn on_request(&self, exchange: &mut Exchange, request: &Request, ledger: &Rc<Ledger>) -> Verdict {
        let now_us = exchange.finish.started.instant_us;
        let mut questions = Vec::new();
        for rule in self.rules.iter() {
            let limiter = &rule.limiter;
            if !counts(&limiter.rule, exchange) {
                continue;
            }
            let who = Who::find(&rule.by, &limiter.rule, exchange, request.head.headers());
            let key = limiter.key(&who);
            let quota = who.own_limit().and_then(|limit| limiter.own_quota(limit));
            if limiter.remote.is_some() || limiter.asks_before(key, now_us).is_some() {
                // Where it is known already nobody asks for it.
                let label = (!limiter.counts().is_labelled(key)).then(|| who.label(key.own));
                questions.push(Question { rule: rule.place, limiter: Arc::clone(limiter), key, quota, label });
                continue;
            }
            let Some(verdict) = limiter.take(key, quota.as_ref(), now_us, || Some(who.label(key.own))) else {
                continue;
            };
            if verdict.allowed && limiter.quota.meter.is_concurrency() {
                exchange.finish.held.push(Box::new(Held::new(limiter, key)));
            }
            if let Some(rejection) = rule.tell(verdict, quota, exchange, ledger) {
                return Verdict::Reject(self.longest(rejection, exchange, request, now_us));
            }
        }
        if questions.is_empty() { Verdict::Pass } else { self.ask(questions, ledger, now_us) }
    }

    /// What one rule refuses, with the longest time that any of those counted here asks for: whoever waits for the one that happened
    /// to be first would be refused again. Takes nothing.
    fn longest(&self, rejection: Rejection, exchange: &Exchange, request: &Request, now_us: u64) -> Rejection {
        let Rejection::RateLimited { mut retry_after_s } = rejection else { return rejection };
        for rule in self.rules.iter().filter(|rule| rule.enforces() && rule.limiter.remote.is_none()) {
            let limiter = &rule.limiter;
            if counts(&limiter.rule, exchange) {
                let who = Who::find(&rule.by, &limiter.rule, exchange, request.head.headers());
                let met = limiter.peek(&limiter.key(&who), now_us);
                retry_after_s = retry_after_s.max(met.map_or(0, |verdict| verdict.retry_after_s));
            }
        }
        Rejection::RateLimited { retry_after_s }
    }

    fn ask(&self, questions: Vec<Question>, ledger: &Rc<Ledger>, now_us: u64) -> Verdict {
        let (rules, ledger) = (Self { rules: Arc::clone(&self.rules), ..*self }, Rc::clone(ledger));
        Verdict::Ask(Box::pin(async move {
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                let answer = question.ask(&ledger.fleet, now_us).await;
                let goes_on = match &answer {
                    Answer::Counted(verdict, _) => verdict.allowed || question.limiter.rule.mode == Mode::Shadow,
                    Answer::Uncounted => true,
                    Answer::Denied => question.limiter.rule.mode == Mode::Shadow,
                };
                answers.push((question.rule, question.quota, answer));
                if !goes_on {
                    break;
                }
            }
            let then: Then = Box::new(move |exchange, request, ledger| rules.told(answers, exchange, request, ledger));
            then
        }))
    }

    fn told(
        &self,
        answers: Vec<(usize, Option<Arc<Quota>>, Answer)>,
        exchange: &mut Exchange,
        request: &Request,
        ledger: &Ledger,
    ) -> Verdict {
        let now_us = exchange.finish.started.instant_us;
        for (index, quota, answer) in answers {
            let Some(rule) = self.rules.get(index) else { continue };
            let rejection = match answer {
                Answer::Counted(verdict, held) => {
                    exchange.finish.held.extend(held.map(|held| Box::new(held) as Box<dyn Any>));
                    rule.tell(verdict, quota, exchange, ledger)
                }
                Answer::Denied if rule.enforces() => Some(Rejection::StoreUnavailable),
                Answer::Denied | Answer::Uncounted => None,
            };
            if let Some(rejection) = rejection {
                return Verdict::Reject(self.longest(rejection, exchange, request, now_us));
            }
        }
        Verdict::Pass
    }

    /// Tells the client what it has left: once, of all rules of both stages the one with the least.
    pub(super) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let Some(LimitNote { after_auth, rule, quota, verdict }) = &exchange.notes.limit else { return };
        if *after_auth != (self.stage == Stage::AfterAuth) {
            return;
        }
        let Some(rule) = self.rules.get(*rule) else { return };
        let quota = quota.as_ref().unwrap_or(&rule.limiter.quota);
        let headers = response.head.headers_mut();
        headers.set_number(&name::X_RATE_LIMIT_LIMIT, u64::from(verdict.limit));
        headers.set_number(&name::X_RATE_LIMIT_REMAINING, u64::from(verdict.remaining));
        headers.set_number(&name::X_RATE_LIMIT_RESET, verdict.reset_s);
        headers.set(&name::RATE_LIMIT_POLICY, &quota.policy);
        headers.set_with(&name::RATE_LIMIT, |out| quota.meter.rate_limit_header(verdict, out));
    }
}

/// Whether a rule counts this request at all.
fn counts(rule: &Rule, exchange: &Exchange) -> bool {
    let has_method = |method: &str| rule.methods.iter().any(|listed| **listed == *method);
    let method = exchange.method();
    let is_listed = || has_method(method) || (method == "HEAD" && has_method("GET"));
    if !(rule.methods.is_empty() || is_listed()) {
        return false;
    }
    let client = exchange.client.to_canonical();
    if rule.exempt.iter().any(|network| network.contains(&client)) {
        return false;
    }
    let Some(principal) = exchange.finish.principal.as_deref() else { return true };
    match &principal.key {
        // A key that acts for nobody is called by its own name.
        Some(key) => {
            let is_named = |name: &Name| *key.prefix == **name || *key.id == **name || *key.name == **name;
            let acts_for = |user: &ExemptUser| !key.is_user && user.is(&principal.user, &principal.provider);
            !(rule.exempt_keys.iter().any(is_named) || rule.exempt_users.iter().any(acts_for))
        }
        None => !rule.exempt_users.iter().any(|user| user.is(&principal.user, &principal.provider)),
    }
}

impl CompiledRule {
    fn enforces(&self) -> bool {
        self.limiter.rule.mode == Mode::Enforce
    }

    /// Counts a verdict and notes it for the way back; what the request is refused with, if it is.
    fn tell(
        &self,
        verdict: limit::Verdict,
        quota: Option<Arc<Quota>>,
        exchange: &mut Exchange,
        ledger: &Ledger,
    ) -> Option<Rejection> {
        self.count(verdict.allowed, exchange, ledger);
        if !self.enforces() {
            return None;
        }
        let tightest = exchange.notes.limit.as_ref().is_none_or(|note| verdict.remaining < note.verdict.remaining);
        if tightest || !verdict.allowed {
            let after_auth = self.stage == Stage::AfterAuth;
            exchange.notes.limit = Some(LimitNote { after_auth, rule: self.place, quota, verdict });
        }
        (!verdict.allowed).then_some(Rejection::RateLimited { retry_after_s: verdict.retry_after_s })
    }

    fn count(&self, allowed: bool, exchange: &Exchange, ledger: &Ledger) {
        let Some(cells) = exchange.finish.terms.limits.get(self.index) else { return };
        let made = || ledger.metrics.limit(self.limiter.scope_name(), &self.limiter.rule.name);
        let cells = cells.get_or_init(made);
        match (allowed, self.enforces()) {
            (true, _) => cells.allowed(),
            (false, true) => cells.refused(),
            (false, false) => cells.shadow_refused(),
        }
    }
}
