//! The pages, step by step: a login is begun, comes back, becomes a session, and ends.

use std::sync::Arc;

use serde_json::json;

use super::allow::{self, Times};
use super::pages::Answer;
use super::pending::{self, Pending};
use super::provider::{Brought, Failure, Provider, Start, failed, plain};
use super::visit::Visit;
use super::{Logins, Reach, refresh, target};
use crate::exchange::{Challenges, Denial, Rejection, Value};
use crate::identity::session::{Answered, Opened, Session, SessionId};

/// The longest code that a provider may send.
const LONGEST_CODE: usize = 4096;

impl Logins {
    /// Answers a request to one of the pages.
    pub(super) async fn answer(self: &Arc<Self>, visit: Visit<'_>, reach: &Reach) -> Result<Answer, Rejection> {
        let mut steps = visit.page.split('/');
        let page = (steps.next().unwrap_or_default(), steps.next(), steps.next(), steps.next());
        let takes = |methods: &[&str]| {
            if methods.contains(&visit.method) {
                return Ok(());
            }
            Err(Rejection::MethodNotAllowed(methods.iter().map(|method| Arc::from(*method)).collect()))
        };
        match page {
            ("login", None, ..) => takes(&["GET"]).map(|()| self.choose(visit)),
            ("login", Some(name), None, _) => {
                let provider = self.provider(name).ok_or(Rejection::RouteNotFound)?;
                takes(&["GET"])?;
                let begun = self.begin(provider, visit, reach).await;
                Ok(begun.unwrap_or_else(|failure| self.failed(provider, failure, visit)))
            }
            ("login", Some(name), Some("callback"), None) => {
                let provider = self.provider(name).ok_or(Rejection::RouteNotFound)?;
                takes(&["GET"])?;
                Ok(self.come_back(provider, visit, reach).await)
            }
            ("logout", None, ..) => {
                takes(&["GET", "POST"])?;
                self.log_out(visit, reach).await
            }
            ("session", None, ..) => {
                takes(&["GET"])?;
                self.tell(visit, reach).await
            }
            _ => Err(Rejection::RouteNotFound),
        }
    }

    /// Which login it is to be.
    fn choose(&self, visit: Visit<'_>) -> Answer {
        let to = visit.parameter("to").ok().flatten();
        let query = target::query(target::place(to.as_deref(), &self.path));
        let address = |provider: &Provider| format!("{}login/{}{query}", self.path, provider.config.name);
        match &*self.providers {
            [only] => Answer::to(302, address(only)),
            several => {
                let logins: Vec<_> =
                    several.iter().map(|provider| (&*provider.config.name, address(provider))).collect();
                Answer::choice(&logins)
            }
        }
    }

    /// Sends somebody to the provider.
    async fn begin(&self, provider: &Provider, visit: Visit<'_>, reach: &Reach) -> Result<Answer, Failure> {
        let to = visit.parameter("to").ok().flatten();
        let to = target::place(to.as_deref(), &self.path);
        let origin = origin(provider, visit)?;
        let none = || failed(&provider.config, "the system has no randomness to give", Failure::Unavailable);
        let pending = Pending::draw(&provider.config.name, to, &origin, visit.now_s).ok_or_else(none)?;
        let start = Start {
            redirect_uri: &self.redirect_uri(provider, &origin),
            state: &pending.state,
            nonce: &pending.nonce,
            verifier: &pending.verifier,
        };
        let url = provider.begin(start, &provider.calls(&reach.client, visit.now_s)).await?;
        let jar = self.sessions.jar();
        let mut answer = Answer::to(302, url);
        answer.cookies = pending::sweep(visit.headers, jar, self.sessions.seals(), visit.https, visit.now_s);
        answer.cookies.push(pending.set(jar, self.sessions.seals(), visit.https).ok_or_else(none)?);
        Ok(answer)
    }

    /// Takes somebody back from the provider.
    async fn come_back(self: &Arc<Self>, provider: &Provider, visit: Visit<'_>, reach: &Reach) -> Answer {
        let jar = self.sessions.jar();
        let state = visit.parameter("state").ok().flatten().unwrap_or_default();
        let seals = self.sessions.seals();
        let found = Pending::find(visit.headers, jar, seals, visit.https, &state, visit.now_s);
        let pending = found.filter(|pending| {
            pending.login == *provider.config.name
                && origin(provider, visit).is_ok_and(|origin| origin == pending.origin)
                && self.ended.take(&state, visit.now_s)
        });
        let Some(pending) = pending else {
            return self.failed(
                provider,
                failed(&provider.config, "no such login is under way", Failure::State),
                visit,
            );
        };
        let mut answer = match self.finish(provider, &pending, visit, reach).await {
            Ok(answer) => answer,
            Err(failure) => self.failed(provider, failure, visit),
        };
        answer.cookies.extend(Pending::forget(jar, visit.https, &state));
        answer
    }

    /// Makes a session of what somebody brought. Always a new one: an id that a browser had before may be known to others.
    async fn finish(
        self: &Arc<Self>,
        provider: &Provider,
        pending: &Pending,
        visit: Visit<'_>,
        reach: &Reach,
    ) -> Result<Answer, Failure> {
        let twice = |()| failed(&provider.config, "a parameter stands there twice", Failure::Failed);
        if let Some(error) = visit.parameter("error").map_err(twice)? {
            // RFC 6749 section 4.1.2.1.
            let is_away = matches!(&*error, "server_error" | "temporarily_unavailable");
            let failure = if is_away { Failure::Unavailable } else { Failure::Failed };
            return Err(failed(&provider.config, &format!("the provider says {}", plain(&error)), failure));
        }
        let code = visit.parameter("code").map_err(twice)?;
        let Some(code) = code.filter(|code| !code.is_empty() && code.len() <= LONGEST_CODE) else {
            return Err(failed(&provider.config, "the provider sent no code", Failure::Failed));
        };
        let issuer = visit.parameter("iss").map_err(twice)?;
        let brought = Brought {
            code: &code,
            issuer: issuer.as_deref(),
            redirect_uri: &self.redirect_uri(provider, &pending.origin),
            nonce: &pending.nonce,
            verifier: &pending.verifier,
        };
        let recognised = provider.recognise(brought, &provider.calls(&reach.client, visit.now_s)).await?;
        let none = || failed(&provider.config, "the system has no randomness to give", Failure::Unavailable);
        let id = SessionId::draw().ok_or_else(none)?;
        let times = Times { started_s: visit.now_s, ends_s: self.sessions.ends_s(visit.now_s), seen_s: visit.now_s };
        let session = allow::session(&provider.config, id, recognised, &self.sent(), times)?;
        if let Answered::Good(earlier) = self.opened(visit, reach).await
            && let Err(error) = self.sessions.end(&earlier, &reach.store, visit.now_s).await
        {
            tracing::warn!(%error, "the session of before is not removed");
        }
        let kept = self.sessions.keep(&session, visit.https, &reach.store, visit.now_s).await;
        let cookie = kept.map_err(|error| failed(&provider.config, &error.to_string(), Failure::Unavailable))?;
        tracing::info!(login = &*provider.config.name, user = &*session.user, "logged in");
        let mut answer = if self.is_strict { Answer::on(&pending.to) } else { Answer::to(302, pending.to.as_str()) };
        answer.cookies.push(cookie);
        answer.who = Some(Arc::new(session));
        answer.login = Some("succeeded");
        Ok(answer)
    }

    /// Ends the session here, and then the provider's own. Where it cannot be ended the cookie stays, and nobody is told that they
    /// are out.
    async fn log_out(self: &Arc<Self>, visit: Visit<'_>, reach: &Reach) -> Result<Answer, Rejection> {
        let here = visit.origin().unwrap_or_default();
        let to = visit.parameter("to").ok().flatten();
        let to = to.as_deref().map(|to| target::place(Some(to), &self.path));
        if !visit.is_own(&here) {
            if visit.method == "GET" {
                let action = format!("{}logout{}", self.path, to.map(target::query).unwrap_or_default());
                return Ok(Answer::confirm(&action));
            }
            let refusal = (403, "cross_site_refused", "Another site may not log you out.");
            return Ok(Answer::refusal(refusal, visit.headers, visit.request_id, &format!("{}logout", self.path)));
        }
        let status = if visit.method == "POST" { 303 } else { 302 };
        let mut answer = Answer::to(status, to.unwrap_or(&self.after_logout));
        let session = match self.opened(visit, reach).await {
            Answered::Good(session) => Some(session),
            Answered::Denied(_) => None,
            Answered::Unavailable => return Err(Rejection::AuthUnavailable),
        };
        if let Some(session) = session {
            if let Err(error) = self.sessions.end(&session, &reach.store, visit.now_s).await {
                tracing::warn!(%error, "a session is not removed");
                return Err(Rejection::AuthUnavailable);
            }
            // Another provider of the same name is told nothing of it.
            let provider = self.provider(session.login()).filter(|provider| !provider.is_foreign_to(&session));
            if let Some(provider) = provider {
                let origin = origin(provider, visit).unwrap_or_default();
                let back = match self.after_logout.strip_prefix('/') {
                    Some(path) => format!("{origin}/{path}"),
                    None => self.after_logout.to_string(),
                };
                let calls = provider.calls(&reach.client, visit.now_s);
                // Its cookie may be of before a refresh, and what it holds be spent.
                let latest = self.refreshes.latest(&session, visit.now_s);
                let tokens = &latest.as_ref().unwrap_or(&session).tokens;
                provider.give_up(tokens, &calls);
                if let Some(url) = provider.end(tokens, &back, &calls).await {
                    answer = Answer::to(status, url);
                }
            }
            answer.who = Some(session);
        }
        answer.cookies.extend(self.sessions.forget(visit.https));
        Ok(answer)
    }

    /// Who is logged in.
    async fn tell(self: &Arc<Self>, visit: Visit<'_>, reach: &Reach) -> Result<Answer, Rejection> {
        // RFC 9110 section 15.5.2: a 401 says what would be taken. The same as on a route that needs a login.
        let challenge = Value::parse("Session realm=\"proxyd\"");
        let nobody = |why| Rejection::Unauthenticated { why, challenges: Challenges(challenge.into_iter().collect()) };
        let opened = self.sessions.open(visit.headers, visit.https, &reach.store, visit.now_s);
        let answered = match opened {
            Opened::None => return Err(nobody(Denial::Missing)),
            opened @ (Opened::Good(_) | Opened::Denied(_) | Opened::Ask(_)) => settled(opened).await,
        };
        let answered = match answered {
            Answered::Good(session) if self.judges_anew(&session) => {
                refresh::ask(Arc::clone(self), session, reach.clone(), visit.now_s).await
            }
            answered @ (Answered::Good(_) | Answered::Denied(_) | Answered::Unavailable) => answered,
        };
        let session = match answered {
            Answered::Good(session) => session,
            Answered::Denied(denial) => return Err(nobody(denial)),
            Answered::Unavailable => return Err(Rejection::AuthUnavailable),
        };
        let expires = jiff::Timestamp::from_second(self.sessions.until_s(&session)).ok();
        Ok(Answer {
            who: Some(Arc::clone(&session)),
            ..Answer::json(
                200,
                json!({
                    "user": session.user,
                    "email": session.email,
                    "roles": session.roles,
                    "scopes": session.scopes,
                    "provider": session.provider,
                    "expires": expires.map(|time| time.to_string()),
                }),
            )
        })
    }

    /// Whether a session does not stand as it is under the config of now.
    fn judges_anew(&self, session: &Session) -> bool {
        self.provider(session.login()).is_some_and(|provider| provider.judges_anew(session))
    }

    async fn opened(&self, visit: Visit<'_>, reach: &Reach) -> Answered {
        settled(self.sessions.open(visit.headers, visit.https, &reach.store, visit.now_s)).await
    }

    fn failed(&self, provider: &Provider, failure: Failure, visit: Visit<'_>) -> Answer {
        let again = format!("{}login/{}", self.path, provider.config.name);
        Answer::failed(failure, visit.headers, visit.request_id, &again)
    }

    fn redirect_uri(&self, provider: &Provider, origin: &str) -> String {
        format!("{origin}{}login/{}/callback", self.path, provider.config.name)
    }
}

/// Where the client finds us: as the config says, or else as the request does.
fn origin(provider: &Provider, visit: Visit<'_>) -> Result<String, Failure> {
    if let Some(url) = &provider.config.public_url {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    visit.origin().ok_or_else(|| failed(&provider.config, "the request names no host", Failure::State))
}

async fn settled(opened: Opened) -> Answered {
    match opened {
        Opened::None => Answered::Denied(Denial::Missing),
        Opened::Good(session) => Answered::Good(session),
        Opened::Denied(denial) => Answered::Denied(denial),
        Opened::Ask(question) => question.await,
    }
}
