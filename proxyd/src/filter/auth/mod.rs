//! The filter `auth`: who is let in. Each provider's credentials are looked for; what recognises somebody at once does, and
//! where somebody must be asked, the request waits. What cannot be found out is refused.

mod challenge;
mod evidence;
mod needed;
mod reckon;

use std::rc::Rc;
use std::sync::Arc;

use shared::config::policy::{self, Combine};

use self::challenge::Told401;
use self::evidence::{Found, Place};
use self::reckon::{Reckoning, Settled, is_certain};
use super::{Then, Verdict};
use crate::exchange::{Back, Denial, Exchange, Headers, Ledger, Rejection, Request, RequestHead, Response, name};
use crate::identity::{Answer, Asking, Identities, Question, Recognised, Recogniser, Said, Sends};

/// The policy, with its providers made ready.
#[derive(Debug)]
pub struct Compiled(Arc<Auth>);

#[derive(Debug)]
struct Auth {
    policy: Arc<policy::Auth>,
    providers: Box<[Provider]>,
    sends: Arc<Sends>,
    told: Told401,
}

/// What was answered by those who had to be asked elsewhere, by index of the provider.
struct Heard {
    answers: Vec<Option<Answer>>,
    /// The first of them: what those before it said is counted already.
    from: usize,
    /// Whose came last.
    last: usize,
    /// Whether somebody may be waited for once more.
    may_ask: bool,
}

impl Heard {
    fn new(providers: usize, from: usize) -> Self {
        Self { answers: (0..providers).map(|_| None).collect(), from, last: from, may_ask: true }
    }

    fn keep(&mut self, index: usize, answer: Answer) {
        self.last = index;
        if let Some(place) = self.answers.get_mut(index) {
            *place = Some(answer);
        }
    }

    fn take(&mut self, index: usize) -> Option<Answer> {
        self.answers.get_mut(index)?.take()
    }

    /// The answer of this provider, if nothing was waited for since.
    fn newest(&mut self, index: usize) -> Option<Answer> {
        if index == self.last { self.take(index) } else { None }
    }
}

/// A provider that the policy names.
#[derive(Debug)]
struct Provider {
    /// As it is written: `jwt.main`.
    name: Arc<str>,
    /// Among all that the config knows.
    index: usize,
    recogniser: Arc<Recogniser>,
    places: Box<[Place]>,
}

impl Compiled {
    /// Makes a policy ready. Its providers were checked with the config.
    pub fn new(policy: &Arc<policy::Auth>, identities: &Identities) -> Self {
        let provider = |provider| {
            let (index, name, recogniser) = identities.find(provider)?;
            let places = recogniser.places().iter().filter_map(Place::of).collect();
            Some(Provider { name, index, recogniser, places })
        };
        let providers: Box<[Provider]> = policy.providers.iter().filter_map(provider).collect();
        let told = Told401::of(providers.iter().map(|provider| &*provider.recogniser), &policy.realm);
        Self(Arc::new(Auth { policy: Arc::clone(policy), providers, sends: Arc::clone(&identities.sends), told }))
    }

    pub(super) fn on_request(&self, exchange: &mut Exchange, request: &mut Request, ledger: &Rc<Ledger>) -> Verdict {
        let auth = &self.0;
        let asking = Asking { exchange, request, sends: &auth.sends, ledger, now_s: now_s(exchange) };
        let mut reckoning = Reckoning::new(auth.policy.combine, auth.providers.len());
        // Whoever has to ask somebody, and all behind it.
        let mut left = Vec::new();
        let mut from = auth.providers.len();
        for (index, provider) in auth.providers.iter().enumerate() {
            match provider.ask(&asking) {
                Said::Now(answer) if left.is_empty() => {
                    let (outcome, is_certain) = reckoning.take(answer);
                    provider.count(outcome, exchange, ledger);
                    if is_certain {
                        break;
                    }
                }
                said @ (Said::Now(_) | Said::Later(_) | Said::WithKeys(..)) => {
                    from = from.min(index);
                    let is_enough = auth.is_enough(&left, &said);
                    left.push(said);
                    if is_enough {
                        auth.reckon_at_once(&mut reckoning, from, std::mem::take(&mut left), exchange, ledger);
                        break;
                    }
                }
            }
        }
        if !left.is_empty() {
            return auth.wait(Heard::new(auth.providers.len(), from), left);
        }
        auth.settle(reckoning.settled(&auth.sends), exchange, request)
    }
}

impl Provider {
    /// Looks for credentials of its own, and asks about them.
    fn ask(&self, asking: &Asking<'_>) -> Said {
        if self.recogniser.looks_for_itself() {
            return self.recogniser.ask(b"", asking);
        }
        match self.look(&asking.request.head) {
            Found::Nothing => Answer::Denied(Denial::Missing).into(),
            Found::Ambiguous => Answer::Denied(Denial::Ambiguous).into(),
            Found::One(value) => self.recogniser.ask(&value, asking),
        }
    }

    /// Counts what it said, in this worker's own cells. Nothing at all is not worth counting.
    fn count(&self, outcome: &'static str, exchange: &Exchange, ledger: &Ledger) {
        if outcome == Denial::Missing.code() {
            return;
        }
        if let Some(cells) = exchange.finish.terms.auth.get(self.index) {
            cells.get_or_init(|| ledger.metrics.auth(&self.name)).count(outcome);
        }
    }

    /// What stands in all of its places. The same twice is one: some clients send a token in a header and in a cookie. Two that
    /// differ are none (RFC 6750 section 2).
    fn look<'a>(&self, head: &'a RequestHead) -> Found<'a> {
        let mut own = Found::Nothing;
        for place in &self.places {
            match (place.look(head), &own) {
                (Found::Ambiguous, _) => return Found::Ambiguous,
                // A credential of another kind is none of its own.
                (Found::One(value), _) if !self.recogniser.could_read(&value, place.is_shared()) => {}
                (Found::One(value), Found::One(before)) if value != *before => return Found::Ambiguous,
                (Found::One(value), Found::Nothing) => own = Found::One(value),
                (Found::Nothing | Found::One(_), _) => {}
            }
        }
        own
    }
}

impl Auth {
    /// Whether nobody has to be waited for: where any will do, whoever says it at once stands before those of whose issuers keys are
    /// missing. A key that is not here recognises nobody, and one issuer that is not reached must not hold up the others' people.
    fn is_enough(&self, left: &[Said], said: &Said) -> bool {
        let is_good = matches!(said, Said::Now(answer) if answer.is_good());
        let only_keys = || left.iter().all(|said| !matches!(said, Said::Later(_)));
        self.policy.combine == Combine::Any && is_good && only_keys()
    }

    /// Takes what those that are left say without waiting for anything.
    fn reckon_at_once(
        &self,
        reckoning: &mut Reckoning,
        from: usize,
        left: Vec<Said>,
        exchange: &Exchange,
        ledger: &Ledger,
    ) {
        for (provider, said) in self.providers.iter().skip(from).zip(left) {
            let answer = match said {
                Said::Now(answer) | Said::WithKeys(_, answer) => answer,
                Said::Later(_) => Answer::Unavailable,
            };
            let (outcome, _) = reckoning.take(answer);
            provider.count(outcome, exchange, ledger);
        }
    }

    /// Goes on once somebody has answered; the providers that are left have said what they can.
    fn wait(self: &Arc<Self>, mut heard: Heard, left: Vec<Said>) -> Verdict {
        let auth = Arc::clone(self);
        let from = heard.from;
        Verdict::Ask(Box::pin(async move {
            for (index, said) in left.into_iter().enumerate().map(|(index, said)| (from + index, said)) {
                let is_good = match said {
                    Said::Now(answer) => answer.is_good(),
                    Said::Later(question) | Said::WithKeys(question, _) => {
                        let answer = question.await;
                        let is_good = answer.is_good();
                        heard.keep(index, answer);
                        is_good
                    }
                };
                if is_certain(auth.policy.combine, is_good) {
                    break;
                }
            }
            let then: Then = Box::new(move |exchange, request, ledger| auth.go_on(heard, exchange, request, ledger));
            then
        }))
    }

    /// Asks again whoever can say it at once: a key or a token may have been revoked, or have ended, while somebody else was asked.
    fn go_on(
        self: &Arc<Self>,
        mut heard: Heard,
        exchange: &mut Exchange,
        request: &mut Request,
        ledger: &Rc<Ledger>,
    ) -> Verdict {
        let now_s = ledger.clock.now().unix_us.div_euclid(1_000_000);
        let asking = Asking { exchange, request, sends: &self.sends, ledger, now_s };
        let mut answers = Vec::with_capacity(self.providers.len());
        for (index, provider) in self.providers.iter().enumerate() {
            let answer = match heard.newest(index) {
                Some(answer) => answer,
                None => match provider.ask(&asking) {
                    Said::Now(answer) => answer,
                    Said::WithKeys(_, answer) => heard.take(index).unwrap_or(answer),
                    Said::Later(question) => match heard.take(index) {
                        Some(answer) => answer,
                        // It was known at once, and is not any more: what was remembered of it has run out meanwhile.
                        None if heard.may_ask => {
                            answers.into_iter().enumerate().for_each(|(index, answer)| heard.keep(index, answer));
                            return self.wait_once_more(heard, index, question);
                        }
                        None => Answer::Unavailable,
                    },
                },
            };
            let is_good = answer.is_good();
            answers.push(answer);
            if is_certain(self.policy.combine, is_good) {
                break;
            }
        }
        let mut reckoning = Reckoning::new(self.policy.combine, self.providers.len());
        for (index, (provider, answer)) in self.providers.iter().zip(answers).enumerate() {
            let (outcome, _) = reckoning.take(answer);
            if index >= heard.from {
                provider.count(outcome, exchange, ledger);
            }
        }
        self.settle(reckoning.settled(&self.sends), exchange, request)
    }

    /// Waits for one answer more, and for no other after it.
    fn wait_once_more(self: &Arc<Self>, mut heard: Heard, index: usize, question: Question) -> Verdict {
        let auth = Arc::clone(self);
        heard.may_ask = false;
        Verdict::Ask(Box::pin(async move {
            heard.keep(index, question.await);
            let then: Then = Box::new(move |exchange, request, ledger| auth.go_on(heard, exchange, request, ledger));
            then
        }))
    }

    /// Lets in or refuses.
    fn settle(&self, settled: Settled, exchange: &mut Exchange, request: &mut Request) -> Verdict {
        match settled {
            Settled::Who(Recognised { principal, back }) => {
                exchange.notes.back.extend(back);
                let lack = needed::lack(&self.policy, exchange.method(), &request.head, &principal);
                self.clean(exchange, request);
                let headers = request.head.headers_mut();
                for (name, _) in &principal.sent {
                    headers.remove(name);
                }
                for (name, value) in &principal.sent {
                    headers.add(name, value);
                }
                if let Some((name, value)) = self.sends.token_about(&principal, now_s(exchange)) {
                    request.head.headers_mut().set(name, value);
                }
                exchange.notes.ends_expired = self.policy.tunnels == policy::Tunnels::UntilExpired;
                exchange.finish.principal = Some(principal);
                lack.map_or(Verdict::Pass, |lack| {
                    let challenges = self.told.lacking(&lack);
                    Verdict::Reject(Rejection::Forbidden { lack, challenges })
                })
            }
            Settled::Denied(denial) if self.goes_on_as_nobody(denial, exchange, request) => {
                self.clean(exchange, request);
                Verdict::Pass
            }
            Settled::Denied(denial) => {
                if let Some(response) = self.page(denial, exchange, request) {
                    return Verdict::Answer(response);
                }
                let challenges = self.told.challenges(denial);
                Verdict::Reject(Rejection::Unauthenticated { why: denial, challenges })
            }
            Settled::Refused(response) => {
                exchange.notes.refused = Some(Denial::ForwardRefused.code());
                Verdict::Answer(response)
            }
            Settled::Unavailable(index) => {
                exchange.finish.silent = self.providers.get(index).map(|provider| Arc::clone(&provider.name));
                Verdict::Reject(Rejection::AuthUnavailable)
            }
        }
    }

    /// The way to a login, for a browser that has no session.
    fn page(&self, denial: Denial, exchange: &Exchange, request: &Request) -> Option<Response> {
        if !is_nobody(denial) {
            return None;
        }
        self.providers.iter().find_map(|provider| provider.recogniser.challenge(request, exchange))
    }

    /// Whether nobody may go on as nobody: where that is allowed, and nothing is asked for that nobody has. A session that is
    /// over is none: a page that is open to all stays so for whoever was logged in.
    fn goes_on_as_nobody(&self, denial: Denial, exchange: &Exchange, request: &Request) -> bool {
        let may = self.policy.optional && is_nobody(denial);
        may && needed::nothing(&self.policy, exchange.method(), &request.head)
    }

    /// Takes off what must not go upstream.
    fn clean(&self, exchange: &mut Exchange, request: &mut Request) {
        if self.policy.forward_credentials {
            return;
        }
        for provider in &self.providers {
            for place in &provider.places {
                place.take_off(&mut request.head, &mut exchange.notes);
            }
            match &*provider.recogniser {
                Recogniser::Forward(forward) => {
                    request.head.headers_mut().remove(&name::AUTHORIZATION);
                    forward.judges().for_each(|name| request.head.headers_mut().remove(name));
                }
                Recogniser::Certificate => exchange.notes.withholds_certificate = true,
                Recogniser::Jwt(_)
                | Recogniser::ApiKey { .. }
                | Recogniser::Basic(_)
                | Recogniser::Login { .. }
                | Recogniser::Introspection(_)
                | Recogniser::Accounts(_) => {}
            }
        }
    }
}

/// Whether nobody is there, rather than somebody who is not good.
fn is_nobody(denial: Denial) -> bool {
    let nothing = matches!(denial, Denial::Missing | Denial::CertificateMissing);
    nothing || matches!(denial, Denial::SessionInvalid | Denial::SessionExpired)
}

/// Seconds since the epoch, when the request came.
fn now_s(exchange: &Exchange) -> i64 {
    exchange.finish.started.unix_us.div_euclid(1_000_000)
}

/// Tells the client what whoever recognised it wants it to know, such as a cookie that goes on. An answer that carries
/// somebody's cookie is theirs alone, whatever its service says of caches in between.
pub(super) fn on_response(exchange: &mut Exchange, response: &mut Response) {
    let headers = response.head.headers_mut();
    for (name, value) in exchange.notes.back.drain(..).filter_map(Back::told) {
        if name == name::SET_COOKIE {
            keep_private(headers);
        }
        headers.add(&name, value);
    }
}

/// Takes back what `Cache-Control` (RFC 9111 section 5.2.2) allows to shared caches.
fn keep_private(headers: &mut Headers) {
    let lines = headers.all(&name::CACHE_CONTROL).flat_map(|line| line.split(|&byte| byte == b','));
    let directives: Vec<Vec<u8>> = lines.map(|directive| directive.trim_ascii().to_ascii_lowercase()).collect();
    if directives.iter().any(|directive| matches!(&**directive, b"private" | b"no-store")) {
        return;
    }
    let mut told = b"private".to_vec();
    for directive in
        directives.iter().filter(|one| !one.is_empty() && &***one != b"public" && !one.starts_with(b"s-maxage"))
    {
        told.extend_from_slice(b", ");
        told.extend_from_slice(directive);
    }
    headers.remove(&name::CACHE_CONTROL);
    headers.set_text(&name::CACHE_CONTROL, &told);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(told: &[&str], expected: &str) {
        let mut headers = Headers::new();
        for line in told {
            assert!(headers.push(b"cache-control", line.as_bytes()));
        }
        keep_private(&mut headers);
        let lines: Vec<_> = headers.all(&name::CACHE_CONTROL).map(String::from_utf8_lossy).collect();
        assert_eq!(lines.join(" | "), expected, "{told:?}");
    }

    #[test]
    fn what_carries_a_cookie_is_nobody_else_s() {
        check(&[], "private");
        check(&["public, max-age=3600"], "private, max-age=3600");
        check(&["max-age=60", "s-maxage=600, must-revalidate"], "private, max-age=60, must-revalidate");
        check(&["no-store"], "no-store");
        check(&["Private, max-age=1"], "Private, max-age=1");
    }
}
