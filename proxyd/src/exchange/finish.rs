//! The end of a request: a guard that travels with the exchange and then rides on the response's body. When that ends,
//! or the client leaves, it logs, counts and audits, exactly once.

use std::any::Any;
use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::audit::RequestFacts;
use shared::config::{LogFormat, RequestAudit};

use super::body::BodyError;
use super::{Ledger, Part, Peer, Principal, Rejection, Trail, Upload, tries};
use crate::audit::Place;
use crate::telemetry::clock::Now;
use crate::telemetry::metrics::{LimitCells, RouteCells, Tally};

/// How finished requests are written down: what a generation of the config says of it.
#[derive(Debug)]
pub struct Terms {
    pub generation: u64,
    /// Whether there is an access log, and in which form.
    pub log: Option<LogFormat>,
    /// Requests that took longer are logged on their own.
    pub slow: Option<Duration>,
    pub audit: RequestAudit,
    /// This worker's counters of each rate limit rule, by the snapshot's index.
    pub limits: Box<[OnceCell<Arc<LimitCells>>]>,
    /// And of what each provider said, by its place among the snapshot's.
    pub auth: Box<[OnceCell<Arc<Tally>>]>,
}

/// See the module.
pub struct Finish {
    pub trail: Trail,
    pub terms: Rc<Terms>,
    pub started: Now,
    ledger: Rc<Ledger>,
    peer: Rc<Peer>,
    place: Option<Place>,
    protocol: &'static str,
    https: bool,
    route: Option<Rc<RouteTag>>,
    endpoint: Option<Rc<EndpointTag>>,
    pub upload: Option<Rc<Upload>>,
    /// Who it is, once that is known.
    pub principal: Option<Arc<Principal>>,
    /// The provider that should have said who it is, and could not.
    pub silent: Option<Arc<str>>,
    /// What it holds until it ends: places among the requests that may run at the same time.
    pub held: Vec<Box<dyn Any>>,
    pub attempts: u32,
    /// Why there was more than one attempt, or not another: see [`Finish::tried`] and [`Finish::noted`].
    pub tries: String,
    pub upstream_us: u64,
    status: u16,
    outcome: Outcome,
    bytes_in: u64,
    bytes_out: u64,
}

/// A route as one worker knows it: a name of its own, since the count of those who share one would be written by every
/// request of every worker.
#[derive(Debug)]
pub struct RouteTag {
    pub name: Box<str>,
    pub cells: Arc<RouteCells>,
}

/// An endpoint as one worker knows it.
#[derive(Debug)]
pub struct EndpointTag {
    pub upstream: Box<str>,
    pub address: Box<str>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The answer is not yet decided: the client left before.
    Open,
    /// Answered in this way; whether the body went out whole is not yet known.
    Answered(&'static str),
    /// The answer went out whole, or its end is known.
    Ended(&'static str),
}

/// What a request is opened with.
pub struct Opening {
    pub trail: Trail,
    pub terms: Rc<Terms>,
    pub started: Now,
    pub protocol: &'static str,
    pub https: bool,
}

impl Finish {
    /// Opens the record of a request.
    pub fn open(opening: Opening, ledger: &Rc<Ledger>, peer: &Rc<Peer>) -> Self {
        ledger.metrics.request_started();
        Self {
            trail: opening.trail,
            terms: opening.terms,
            started: opening.started,
            ledger: Rc::clone(ledger),
            peer: Rc::clone(peer),
            place: None,
            protocol: opening.protocol,
            https: opening.https,
            route: None,
            endpoint: None,
            upload: None,
            principal: None,
            silent: None,
            held: Vec::new(),
            attempts: 0,
            tries: String::new(),
            upstream_us: 0,
            status: 0,
            outcome: Outcome::Open,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// The place of the request's row, reserved.
    pub fn reserve(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// The route that was chosen.
    pub fn routed(&mut self, route: &Rc<RouteTag>) {
        self.route = Some(Rc::clone(route));
    }

    /// The endpoint that is to serve.
    pub fn forwarded(&mut self, endpoint: &Rc<EndpointTag>) {
        self.endpoint = Some(Rc::clone(endpoint));
    }

    /// An attempt went wrong: which, and how. In our own words and configured addresses, never in a peer's.
    pub fn tried(&mut self, words: fmt::Arguments<'_>) {
        tries::add(&mut self.tries, ", ", words);
    }

    /// What was decided after the attempts so far. In our own words.
    pub fn noted(&mut self, words: &str) {
        tries::add(&mut self.tries, "; ", format_args!("{words}"));
    }

    /// The request was rejected.
    pub fn rejected(&mut self, rejection: &Rejection) {
        self.refused(rejection.code());
    }

    /// The request was refused with this code.
    pub fn refused(&mut self, code: &'static str) {
        self.ledger.metrics.rejected(code);
        self.outcome = Outcome::Answered(code);
    }

    /// The code that it was refused with, if it was.
    pub fn refusal(&self) -> Option<&'static str> {
        match self.outcome {
            Outcome::Answered("answered" | "served" | "fallback") | Outcome::Open | Outcome::Ended(_) => None,
            Outcome::Answered(code) => Some(code),
        }
    }

    /// The answer is ours, by the route's own wish.
    pub fn answers_itself(&mut self) {
        self.outcome = Outcome::Answered("answered");
    }

    /// The answer is ours, instead of one that an upstream did not give.
    pub fn answers_instead(&mut self) {
        self.outcome = Outcome::Answered("fallback");
    }

    /// The answer's head goes out. Where nobody said otherwise it is an upstream's.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
        if self.outcome == Outcome::Open {
            self.outcome = Outcome::Answered("served");
        }
    }

    /// Bytes of the body went to the client.
    pub fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// A tunnel begins.
    pub fn tunnel_opened(&self) {
        self.ledger.metrics.tunnel_opened();
    }

    /// A tunnel is closed; it carried so many bytes.
    pub fn tunnel_closed(mut self, bytes_in: u64, bytes_out: u64, outcome: &'static str) {
        self.ledger.metrics.tunnel_closed(outcome);
        self.bytes_in = bytes_in;
        self.bytes_out = bytes_out;
        self.outcome = Outcome::Ended(outcome);
    }

    /// The body went out whole.
    pub fn body_ended(&mut self) {
        if let Outcome::Answered(outcome) = self.outcome {
            self.outcome = Outcome::Ended(outcome);
        }
    }

    /// What was found of the request's body while it came.
    fn tell_misfit(&mut self) {
        let Some(upload) = &self.upload else { return };
        let Some(misfit) = upload.misfit() else { return };
        let is_refused = matches!(upload.failure(), Some(BodyError::Unfit(_)));
        self.ledger.metrics.threat(misfit.name(), is_refused);
        if !is_refused {
            tries::add(&mut self.tries, "; ", format_args!("threat: {} (shadow)", misfit.name()));
        }
    }

    /// The body broke off.
    pub fn cut_short(&mut self, why: &'static str) {
        self.outcome = Outcome::Ended(why);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let now = self.ledger.clock.now();
        let duration_us = now.instant_us.saturating_sub(self.started.instant_us);
        let bytes_in = self.bytes_in + self.upload.as_ref().map_or(0, |upload| upload.bytes());
        let outcome = match self.outcome {
            // It fell with the task that served it; its row and its line are all that is told of it.
            _ if std::thread::panicking() => "internal",
            Outcome::Ended(outcome) => outcome,
            Outcome::Open | Outcome::Answered(_) => "client_closed",
        };
        self.tell_misfit();
        let (principal, credential) = match (&self.principal, &self.peer.certificate) {
            (Some(principal), _) => (&*principal.user, principal.credential()),
            (None, Some(certificate)) => (certificate.called(), "certificate"),
            (None, None) => ("", self.silent.as_deref().unwrap_or_default()),
        };
        let facts = RequestFacts {
            time_us: self.started.unix_us,
            request_id: self.trail.part(Part::Id),
            client: self.trail.part(Part::Client),
            method: self.trail.part(Part::Method),
            scheme: if self.https { "https" } else { "http" },
            listener: &self.peer.listener,
            host: self.trail.part(Part::Host),
            path: self.trail.path(),
            query: self.trail.part(Part::Query),
            protocol: self.protocol,
            route: self.route.as_ref().map_or("", |route| &route.name),
            upstream: self.endpoint.as_ref().map_or("", |endpoint| &endpoint.upstream),
            endpoint: self.endpoint.as_ref().map_or("", |endpoint| &endpoint.address),
            status: self.status,
            outcome,
            bytes_in,
            bytes_out: self.bytes_out,
            duration_us,
            upstream_us: self.upstream_us,
            attempts: self.attempts,
            tries: &self.tries,
            principal,
            credential,
            generation: self.terms.generation,
            user_agent: self.trail.part(Part::UserAgent),
            matched: self.trail.part(Part::Matched),
        };
        let ledger = &self.ledger;
        ledger.metrics.request_finished(self.status);
        if let Some(route) = &self.route {
            route.cells.finished(self.status, duration_us, bytes_in, self.bytes_out);
        }
        if let Some(format) = self.terms.log {
            ledger.log.line(&facts, format);
        }
        if let Some(slow) = self.terms.slow
            && self.status != 101
            && ledger.log.slow(&facts, slow)
        {
            ledger.metrics.slow_request();
        }
        if let Some(place) = self.place.take() {
            let wanted = match self.terms.audit {
                RequestAudit::All => true,
                RequestAudit::Errors => {
                    self.status >= 400 || self.status == 0 || !matches!(outcome, "served" | "answered")
                }
                RequestAudit::Off => false,
            };
            if wanted {
                ledger.audit.record(place, &facts);
            } else {
                ledger.audit.release(place);
            }
        }
    }
}
