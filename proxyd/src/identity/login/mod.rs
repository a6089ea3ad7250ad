//! People who log in with a browser: the pages that send them to a provider, take them back, and let them go again. What comes
//! of it is a session. Knows neither routes nor policies: whoever asks for a session decides what it is good for.

mod allow;
mod github;
mod oidc;
mod pages;
mod pending;
mod provider;
mod refresh;
mod revoke;
mod steps;
mod target;
mod userinfo;
mod visit;

#[cfg(test)]
mod tests;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use shared::config::Config;
use shared::config::identity::{Login, SameSite};

use self::pages::Answer;
use self::pending::Ended;
use self::provider::Provider;
use self::refresh::Refreshes;
use self::visit::Visit;
use super::recogniser::{Answer as Reply, Asking, Recognised, Said};
use super::seal::Seals;
use super::send::{Sends, Told};
use super::session::{Answered, Opened, Session, Sessions, Way};
use super::state::State;
use crate::exchange::{Back, Denial, Exchange, Ledger, Principal, Rejection, Request, Response, name};
use crate::fleet::Engine;

/// Who can log in, and who has.
pub struct Logins {
    sessions: Sessions,
    providers: Box<[Arc<Provider>]>,
    /// Where the pages are: begins and ends with a slash.
    path: Arc<str>,
    after_logout: Arc<str>,
    /// Whether browsers keep the session's cookie back when they come from another site.
    is_strict: bool,
    /// Whether clients speak HTTPS to somebody before us.
    is_https: bool,
    /// Claims that go upstream.
    sent: Arc<[Arc<str>]>,
    ended: Arc<Ended>,
    refreshes: Arc<Refreshes>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.providers.iter().map(|provider| &provider.config.name);
        f.debug_list().entries(names).finish()
    }
}

/// How a worker reaches others.
#[derive(Clone)]
pub(super) struct Reach {
    client: reqwest::Client,
    store: Way,
}

impl Logins {
    /// Makes it ready; what providers told, and which logins are over, is taken over from before.
    ///
    /// # Errors
    /// An address of a provider that is none, in words.
    pub fn compile(
        config: &Config,
        state: &Arc<State>,
        engine: Option<&Arc<Engine>>,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, String> {
        let identity = &config.identity;
        let config = &identity.session;
        let sent: Arc<[Arc<str>]> = identity.send.claims.iter().map(|(_, claim)| Arc::clone(claim)).collect();
        let provider = |login: &Arc<Login>| {
            let mut known = before.into_iter().flat_map(|before| &before.providers);
            match known.find(|known| known.config == *login && known.sent == sent) {
                Some(known) => Ok(Arc::clone(known)),
                None => {
                    Provider::compile(login, &sent).map(Arc::new).map_err(|why| format!("login.{}: {why}", login.name))
                }
            }
        };
        let providers: Result<Box<[_]>, String> = identity.login.iter().map(provider).collect();
        let mut secrets: Vec<&[u8]> = config.secrets.iter().map(|secret| secret.reveal().as_bytes()).collect();
        if secrets.is_empty() {
            secrets.push(state.session_key());
        }
        let seals = Seals::of(&secrets).ok_or("the session's key cannot be derived")?;
        let is_https = |url: &Option<Arc<str>>| url.as_deref().is_some_and(|url| url.starts_with("https://"));
        Ok(Arc::new(Self {
            sessions: Sessions::compile(config, seals, state, engine, before.map(|before| &before.sessions)),
            providers: providers?,
            path: Arc::clone(&config.path),
            after_logout: Arc::clone(&config.after_logout),
            is_strict: config.same_site == SameSite::Strict,
            is_https: identity.login.iter().any(|login| is_https(&login.public_url)),
            sent,
            ended: before.map(|before| Arc::clone(&before.ended)).unwrap_or_default(),
            refreshes: before.map(|before| Arc::clone(&before.refreshes)).unwrap_or_default(),
        }))
    }

    /// Who brings this session, and what it says. A session of another login is none.
    pub fn ask(self: &Arc<Self>, index: usize, asking: &Asking<'_>) -> Said {
        let Asking { exchange, request, sends, ledger, now_s } = *asking;
        let Some(provider) = self.providers.get(index) else { return Reply::Denied(Denial::Missing).into() };
        let https = self.is_https(exchange.https);
        let way = self.sessions.way(ledger, exchange.client);
        let opened = self.sessions.open(request.head.headers(), https, &way, now_s);
        let ours = Ours { logins: Arc::clone(self), provider: Arc::clone(provider), https, way, now_s };
        match self.asked(opened, provider, || self.reach(ledger, exchange), now_s) {
            Opened::None => Reply::Denied(Denial::Missing).into(),
            Opened::Denied(denial) => Reply::Denied(denial).into(),
            Opened::Good(session) => ours.about(&session, sends).into(),
            Opened::Ask(question) => {
                let sends = Arc::clone(sends);
                Said::Later(Box::pin(async move {
                    match question.await {
                        Answered::Good(session) => ours.about(&session, &sends),
                        Answered::Denied(denial) => Reply::Denied(denial),
                        Answered::Unavailable => Reply::Unavailable,
                    }
                }))
            }
        }
    }

    /// The same once the provider has said that it goes on, where it must be asked. A session of another login is none here: what
    /// its provider said would be lost with it.
    fn asked(
        self: &Arc<Self>,
        opened: Opened,
        provider: &Arc<Provider>,
        reach: impl FnOnce() -> Option<Reach>,
        now_s: i64,
    ) -> Opened {
        let logins = Arc::clone(self);
        match opened {
            Opened::None | Opened::Denied(_) => opened,
            Opened::Good(ref session) if !provider.is_of(session) || !refresh::is_due(provider, session, now_s) => {
                opened
            }
            Opened::Good(session) => match reach() {
                Some(reach) => Opened::Ask(Box::pin(refresh::ask(logins, session, reach, now_s))),
                None => Answered::Unavailable.into(),
            },
            Opened::Ask(question) => {
                let (reach, provider) = (reach(), Arc::clone(provider));
                Opened::Ask(Box::pin(async move {
                    match (question.await, reach) {
                        (Answered::Good(session), Some(reach))
                            if provider.is_of(&session) && refresh::is_due(&provider, &session, now_s) =>
                        {
                            refresh::ask(logins, session, reach, now_s).await
                        }
                        (answered, _) => answered,
                    }
                }))
            }
        }
    }

    /// Whether a cookie is ours: it never goes upstream.
    pub fn is_own_cookie(&self, name: &[u8]) -> bool {
        self.sessions.jar().is_own(name)
    }

    /// Sends a browser that has no session to log in, and afterwards back to where it wanted to go. None for whoever would not
    /// know what to do with that: a script, a program.
    pub fn challenge(&self, index: usize, request: &Request, _exchange: &Exchange) -> Option<Response> {
        let head = &request.head;
        if !pages::is_navigation(head.method(), head.headers()) {
            return None;
        }
        let name = &self.providers.get(index)?.config.name;
        let asked = match head.query() {
            Some(query) => format!("{}?{query}", head.path()),
            None => head.path().to_owned(),
        };
        let to = target::place(Some(&asked), &self.path);
        Some(Answer::to(302, format!("{}login/{name}{}", self.path, target::query(to))).into_response())
    }

    /// Answers a request to one of the pages.
    pub async fn serve(
        self: &Arc<Self>,
        request: &mut Request,
        exchange: &mut Exchange,
        ledger: &Rc<Ledger>,
    ) -> Result<Response, Rejection> {
        let reach = self.reach(ledger, exchange).ok_or(Rejection::AuthUnavailable)?;
        let head = &request.head;
        let host = head.authority().or_else(|| str::from_utf8(head.headers().only(&name::HOST)?).ok());
        let path = exchange.path().to_owned();
        let visit = Visit {
            method: head.method(),
            page: path.strip_prefix(&*self.path).ok_or(Rejection::RouteNotFound)?,
            query: head.query().unwrap_or_default(),
            headers: head.headers(),
            https: self.is_https(exchange.https),
            host: host.unwrap_or_default(),
            request_id: exchange.id(),
            now_s: ledger.clock.now().unix_us.div_euclid(1_000_000),
        };
        let answer = Box::pin(provider::visited(visit.request_id, self.answer(visit, &reach))).await?;
        if let Some(outcome) = answer.login {
            ledger.metrics.login(outcome);
        }
        match answer.refused {
            Some(code) => exchange.finish.refused(code),
            None => exchange.finish.answers_itself(),
        }
        if let Some(who_is) = &answer.who {
            exchange.finish.principal = Some(Arc::new(self.who(who_is)));
        }
        Ok(answer.into_response())
    }

    fn reach(&self, ledger: &Ledger, exchange: &Exchange) -> Option<Reach> {
        match ledger.outside.client() {
            Ok(client) => Some(Reach { client, store: self.sessions.way(ledger, exchange.client) }),
            Err(error) => {
                tracing::error!(%error, "providers of logins cannot be asked");
                None
            }
        }
    }

    fn is_https(&self, https: bool) -> bool {
        https || self.is_https
    }

    fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| *provider.config.name == *name)
    }

    /// Who it is. A token of our own that says so may outlast the idle time, for upstreams do not tell us of its use; no other end.
    fn who(&self, session: &Session) -> Principal {
        Principal {
            user: session.user.clone(),
            provider: Arc::from(&*session.provider),
            roles: session.roles.clone().into(),
            scopes: session.scopes.clone().into(),
            until_s: Some(self.sessions.last_s(session)),
            ..Principal::default()
        }
    }

    fn sent(&self) -> Vec<&str> {
        self.sent.iter().map(|claim| &**claim).collect()
    }
}

/// What is said of a session once it is known to be good.
struct Ours {
    logins: Arc<Logins>,
    provider: Arc<Provider>,
    https: bool,
    way: Way,
    now_s: i64,
}

impl Ours {
    fn about(self, session: &Arc<Session>, sends: &Sends) -> Reply {
        if !self.provider.is_of(session) {
            return Reply::Denied(Denial::Missing);
        }
        let sessions = &self.logins.sessions;
        let made = session.principal(sends.generation, sessions.until_s(session), || {
            let (user, provider) = (&*session.user, &*session.provider);
            let told = Told { user, provider, roles: &session.roles, scopes: &session.scopes, key: None };
            let sent = sends.about(&told, |path| session.claim(path).map(Into::into))?;
            Some(Principal { sent, ground: sessions.ground(session), ..self.logins.who(session) })
        });
        let Some(principal) = made else { return Reply::Denied(Denial::SessionInvalid) };
        Reply::Who(Recognised { principal, back: self.news(session).into_iter().collect() })
    }

    /// What the client is told of its session. A cookie is made when the answer leaves: until then somebody else may have refreshed
    /// the session, and the one of now would put the spent tokens back.
    fn news(self, session: &Arc<Session>) -> Option<Back> {
        let Self { logins, https, way, now_s, .. } = self;
        if !logins.sessions.is_news(session, now_s) {
            return None;
        }
        if logins.sessions.are_kept() {
            logins.sessions.renew(session, https, &way, now_s);
            return None;
        }
        let session = Arc::clone(session);
        Some(Back::Later(Box::new(move || {
            let latest = logins.refreshes.latest(&session, now_s).unwrap_or(session);
            let cookie = logins.sessions.renew(&latest, https, &way, now_s)?;
            Some((name::SET_COOKIE.clone(), cookie))
        })))
    }
}
