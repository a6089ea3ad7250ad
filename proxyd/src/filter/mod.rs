//! The filters: what a policy does to a request and to its answer. The order is this file's list, the same for every
//! route, never the user's to get wrong. Filters never see an upstream connection.

mod access;
mod auth;
mod body_limit;
mod cors;
mod fault;
mod headers;
pub mod rate_limit;
mod security_headers;
mod threats;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use shared::config::Policies;
use shared::config::policy::{Access, Cors, Fault};

use rate_limit::Stage;
pub use rate_limit::{Limiter, Limiters};

use crate::exchange::{Exchange, Ledger, Rejection, Request, Response};
use crate::identity::Identities;

/// One filter, compiled.
#[derive(Debug)]
pub enum Filter {
    SecurityHeaders(security_headers::Compiled),
    Cors(Arc<Cors>),
    Access(Arc<Access>),
    /// Apart on the heap: it is large, and most have none.
    Threats(Box<threats::Compiled>),
    RateLimit(rate_limit::Rules),
    Auth(auth::Compiled),
    BodyLimit(u64),
    Fault(Arc<Fault>),
    Headers(headers::Compiled),
}

/// What a filter says to a request.
pub enum Verdict {
    /// On to the next.
    Pass,
    /// Answered here.
    Answer(Response),
    Reject(Rejection),
    /// Somebody must be asked first.
    Ask(Ask),
}

/// A question to somebody else. It owns what it needs; what follows from the answer is said in its turn.
pub type Ask = Pin<Box<dyn Future<Output = Then>>>;

/// What follows from an answer.
pub type Then = Box<dyn FnOnce(&mut Exchange, &mut Request, &Rc<Ledger>) -> Verdict>;

/// A route's filters, in order. Shared by all routes whose policies are the same.
pub type Chain = Arc<[Filter]>;

/// Compiles the policies in force somewhere into filters, in the one order:
///
/// 1. security headers: on every answer, so entered first and left last
/// 2. cors: answers to browsers are readable even when refused, and a preflight has no credentials
/// 3. access: who may not come in costs nothing more
/// 4. threats: an attack costs nobody anything more, and takes nothing of what a limit leaves to others behind its address
/// 5. rate limit by address: it protects those who recognise from guessing
/// 6. auth: who it is, and whether that is enough here
/// 7. rate limit by whoever was recognised
/// 8. body limit: what is announced too large is not begun
/// 9. fault: what is refused anyway needs no fault to be refused; and what follows from a fault is to be seen
/// 10. headers: the last word on what goes upstream, the first on what comes back
pub fn compile(policies: &Policies, limiters: &mut Limiters<'_>, identities: &Identities) -> Chain {
    let mut chain = Vec::new();
    if let Some(policy) = &policies.security_headers.value {
        chain.push(Filter::SecurityHeaders(security_headers::Compiled::new(policy)));
    }
    if let Some(policy) = &policies.cors.value {
        chain.push(Filter::Cors(Arc::clone(policy)));
    }
    if let Some(policy) = &policies.access.value {
        chain.push(Filter::Access(Arc::clone(policy)));
    }
    if let Some(policy) = &policies.threats.value {
        chain.push(Filter::Threats(Box::new(threats::Compiled::new(policy))));
    }
    let mut limits = |stage| {
        let policy = policies.rate_limit.value.as_ref()?;
        limiters.compile(policy, &policies.rate_limit.scope, stage)
    };
    chain.extend(limits(Stage::BeforeAuth).map(Filter::RateLimit));
    if let Some(policy) = &policies.auth.value {
        chain.push(Filter::Auth(auth::Compiled::new(policy, identities)));
    }
    chain.extend(limits(Stage::AfterAuth).map(Filter::RateLimit));
    if let Some(policy) = &policies.body_limit.value {
        chain.push(Filter::BodyLimit(policy.max_bytes));
    }
    if let Some(policy) = &policies.fault.value {
        chain.push(Filter::Fault(Arc::clone(policy)));
    }
    if let Some(policy) = &policies.headers.value {
        chain.push(Filter::Headers(headers::Compiled::new(policy)));
    }
    chain.into()
}

/// The filters that a request has entered: only these see its answer, in reverse.
pub struct Passed<'a> {
    chain: &'a [Filter],
    entered: usize,
}

impl<'a> Passed<'a> {
    /// None yet.
    pub fn none() -> Self {
        Self { chain: &[], entered: 0 }
    }

    /// The request side, in order, until one ends the request.
    pub async fn on_request(
        &mut self,
        chain: &'a [Filter],
        exchange: &mut Exchange,
        request: &mut Request,
        ledger: &Rc<Ledger>,
    ) -> Result<Option<Response>, Rejection> {
        self.chain = chain;
        self.entered = 0;
        for filter in chain {
            self.entered += 1;
            let mut verdict = filter.on_request(exchange, request, ledger);
            while let Verdict::Ask(question) = verdict {
                let then = question.await;
                verdict = then(exchange, request, ledger);
            }
            match verdict {
                Verdict::Pass | Verdict::Ask(_) => {}
                Verdict::Answer(response) => return Ok(Some(response)),
                Verdict::Reject(rejection) => return Err(rejection),
            }
        }
        Ok(None)
    }

    /// The response side, in reverse, over rejections too.
    pub fn on_response(&self, exchange: &mut Exchange, response: &mut Response) {
        for filter in self.chain.iter().take(self.entered).rev() {
            filter.on_response(exchange, response);
        }
    }
}

impl Filter {
    fn on_request(&self, exchange: &mut Exchange, request: &mut Request, ledger: &Rc<Ledger>) -> Verdict {
        match self {
            Self::SecurityHeaders(_) => Verdict::Pass,
            Self::Cors(cors) => cors::on_request(cors, exchange, request),
            Self::Access(access) => access::on_request(access, exchange),
            Self::Threats(threats) => threats.on_request(exchange, request, ledger),
            Self::RateLimit(rules) => rules.on_request(exchange, request, ledger),
            Self::Auth(auth) => auth.on_request(exchange, request, ledger),
            Self::BodyLimit(max_bytes) => body_limit::on_request(*max_bytes, request),
            Self::Fault(policy) => {
                fault::on_request(policy, exchange, request, ledger);
                Verdict::Pass
            }
            Self::Headers(headers) => {
                headers.on_request(request);
                Verdict::Pass
            }
        }
    }

    fn on_response(&self, exchange: &mut Exchange, response: &mut Response) {
        match self {
            Self::SecurityHeaders(headers) => headers.on_response(exchange, response),
            Self::Cors(_) => cors::on_response(exchange, response),
            Self::Threats(threats) => threats.on_response(exchange, response),
            Self::RateLimit(rules) => rules.on_response(exchange, response),
            Self::Auth(_) => auth::on_response(exchange, response),
            Self::Headers(headers) => headers.on_response(response),
            Self::Access(_) | Self::BodyLimit(_) | Self::Fault(_) => {}
        }
    }
}
