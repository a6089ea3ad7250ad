//! A provider of identities as a login sees it: where people are sent, what comes of the code that they bring back, and what
//! becomes of a session later. What differs between `OpenID` Connect and GitHub lies in `oidc` and `github`.

use std::sync::Arc;
use std::time::Duration;

use oauth2::basic::BasicErrorResponse;
use openidconnect::url::Url;
use openidconnect::{OAuth2TokenResponse, RequestTokenError};
use serde_json::Value;
use shared::config::identity::{Login, LoginKind};
use tokio::time::Instant;

use super::allow;
use super::github::GitHub;
use super::oidc::Oidc;
use crate::identity::claims::Claims;
use crate::identity::session::{Session, Tokens};
use crate::outside::{self, OutsideError};

/// Bytes of an answer that are read.
const MOST_BYTES: usize = 1024 * 1024;

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// What came back belongs to no login that was begun here, or to one that is over.
    State,
    /// The provider did not say who it is, or what it said does not hold.
    Failed,
    /// The provider knows it, and it may not come in.
    Refused,
    /// Nobody there to say.
    Unavailable,
}

impl Failure {
    /// Its stable code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::State => "login_state_invalid",
            Self::Failed => "login_failed",
            Self::Refused => "login_refused",
            Self::Unavailable => "auth_unavailable",
        }
    }

    /// The status of its page.
    pub(super) fn status(self) -> u16 {
        match self {
            Self::State => 400,
            Self::Failed | Self::Refused => 403,
            Self::Unavailable => 503,
        }
    }

    /// One sentence for whoever sees the page.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::State => "This login was not begun here, took too long, or is over already.",
            Self::Failed => "The login did not succeed.",
            Self::Refused => "You may not come in here.",
            Self::Unavailable => "Logging in does not work just now.",
        }
    }
}

/// What a login is begun with: everything here is random, and of this login alone.
pub(super) struct Start<'a> {
    pub redirect_uri: &'a str,
    pub state: &'a str,
    pub nonce: &'a str,
    pub verifier: &'a str,
}

/// What somebody brought back.
pub(super) struct Brought<'a> {
    pub code: &'a str,
    /// Who sent it, as the answer says (RFC 9207).
    pub issuer: Option<&'a str>,
    pub redirect_uri: &'a str,
    pub nonce: &'a str,
    pub verifier: &'a str,
}

/// What a provider says of somebody.
pub(super) struct Recognised {
    pub claims: Claims,
    /// None: it does not say. At a login those are given that were asked for (RFC 6749 section 5.1); at a refresh those hold that
    /// were given before (section 6).
    pub scopes: Option<Vec<String>>,
    pub tokens: Tokens,
}

/// What came of a refresh.
pub(super) enum Refreshed {
    /// It goes on; with new claims, where the provider gave any.
    Good(Tokens, Option<Box<Recognised>>),
    /// It goes on, and with whom is not known just now: these tokens are kept, and it is asked again.
    Open(Tokens),
    /// The provider has ended it.
    Ended,
    Unavailable,
}

/// Calls to a provider.
#[derive(Clone)]
pub(super) struct Calls {
    pub client: reqwest::Client,
    pub timeout: Duration,
    pub now_s: i64,
    /// Whether an address may be of this machine: only where the config itself says that the provider is. One elsewhere must
    /// not have us ask what listens here.
    pub is_here: bool,
    /// When all of them must have been answered, if there is such a time.
    pub until: Option<Instant>,
}

impl Calls {
    /// The same, and all of them together within this time.
    pub(super) fn within(&self, whole: Duration) -> Self {
        Self { until: Some(Instant::now() + whole), ..self.clone() }
    }

    /// Waits for something as long as there is time.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.until {
            Some(until) => tokio::time::timeout_at(until, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// One call. An address that a provider names is taken only if nobody on the way can listen; a status that speaks of its
    /// own trouble is no answer.
    pub(super) async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, OutsideError> {
        let is_safe = Url::parse(&request.uri().to_string()).is_ok_and(|url| self.takes(&url));
        if !is_safe {
            return Err(OutsideError::Asked(
                "an address that is not https, or of this machine where the provider is not".to_owned(),
            ));
        }
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(self.timeout, |left| left.min(self.timeout));
        // Not even begun: what it says would be spent, and the answer lost.
        if timeout.is_zero() {
            return Err(OutsideError::Timeout(timeout));
        }
        let answer = outside::ask(self.client.clone(), request, timeout, MOST_BYTES).await?;
        if answer.status().is_server_error() {
            return Err(OutsideError::Asked(format!("the answer is {}", answer.status())));
        }
        Ok(answer.map(|body| body.to_vec()))
    }

    /// Whether an address that the provider names is spoken to over TLS, or is of this machine where the provider is too.
    pub(super) fn takes(&self, url: &Url) -> bool {
        url.username().is_empty()
            && url.password().is_none()
            && match url.scheme() {
                "https" => url.host().is_some(),
                "http" => self.is_here && is_loopback(url),
                _ => false,
            }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(openidconnect::url::Host::Domain(name)) => name == "localhost",
        Some(openidconnect::url::Host::Ipv4(address)) => address.is_loopback(),
        Some(openidconnect::url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// One login of the config.
pub(super) struct Provider {
    pub config: Arc<Login>,
    /// Claims that go upstream.
    pub sent: Arc<[Arc<str>]>,
    /// What sessions say that came by it: …
    origin: Box<str>,
    /// … and that were let in as its config says now.
    pub rules: Box<str>,
    is_here: bool,
    kind: Kind,
}

enum Kind {
    Oidc(Box<Oidc>),
    GitHub(Box<GitHub>),
}

impl Provider {
    /// # Errors
    /// An address that is none, in words.
    pub(super) fn compile(config: &Arc<Login>, sent: &Arc<[Arc<str>]>) -> Result<Self, String> {
        let (kind, is_here) = match &config.kind {
            LoginKind::Oidc { issuer } => {
                let is_here = Url::parse(issuer).is_ok_and(|issuer| is_loopback(&issuer));
                (Kind::Oidc(Box::new(Oidc::compile(issuer, sent)?)), is_here)
            }
            // Each of its addresses is the config's own.
            LoginKind::GitHub { authorize_url, token_url, api_url } => {
                (Kind::GitHub(Box::new(GitHub::compile(authorize_url, token_url, api_url)?)), true)
            }
        };
        let (origin, rules) = (allow::origin(config), allow::rules(config));
        Ok(Self { config: Arc::clone(config), sent: Arc::clone(sent), origin, rules, is_here, kind })
    }

    /// Whether somebody came by this login.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        session.login() == &*self.config.name
    }

    /// Whether somebody came by a login of this name when it was another's. Of sessions of an earlier version nobody knows.
    pub(super) fn is_foreign_to(&self, session: &Session) -> bool {
        !session.origin.is_empty() && session.origin != self.origin
    }

    /// Whether somebody was let in by other rules than those of now.
    pub(super) fn judges_anew(&self, session: &Session) -> bool {
        session.rules != self.rules || session.origin != self.origin
    }

    /// Calls to it.
    pub(super) fn calls(&self, client: &reqwest::Client, now_s: i64) -> Calls {
        Calls { client: client.clone(), timeout: self.config.timeout, now_s, is_here: self.is_here, until: None }
    }

    /// Where somebody is sent to log in.
    pub(super) async fn begin(&self, start: Start<'_>, calls: &Calls) -> Result<Url, Failure> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.begin(&self.config, start, calls).await,
            Kind::GitHub(github) => github.begin(&self.config, &start),
        }
    }

    /// Who brought this.
    pub(super) async fn recognise(&self, brought: Brought<'_>, calls: &Calls) -> Result<Recognised, Failure> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.recognise(&self.config, brought, calls).await,
            Kind::GitHub(github) => github.recognise(&self.config, brought, calls).await,
        }
        .map(|recognised| Recognised { tokens: recognised.tokens.bounded(), ..recognised })
    }

    /// Asks whether a session goes on.
    pub(super) async fn refresh(&self, session: &Session, calls: &Calls) -> Refreshed {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.refresh(&self.config, session, calls).await,
            Kind::GitHub(github) => github.refresh(&self.config, &session.tokens, calls).await,
        }
    }

    /// Gives back what refreshes a session that has ended. Nobody waits for it.
    pub(super) fn give_up(self: &Arc<Self>, tokens: &Tokens, calls: &Calls) {
        let Some(token) = tokens.refresh.clone() else { return };
        let (provider, calls) = (Arc::clone(self), calls.clone());
        tokio::task::spawn_local(async move {
            let given_up = match &provider.kind {
                Kind::Oidc(oidc) => oidc.give_up(&provider.config, &token, &calls).await,
                Kind::GitHub(_) => Ok(()),
            };
            if let Err(why) = given_up {
                tracing::warn!(
                    login = &*provider.config.name,
                    why,
                    "a provider still takes the token of a session that has ended"
                );
            }
        });
    }

    /// Where the provider ends its own session, and sends people back from.
    pub(super) async fn end(&self, tokens: &Tokens, back: &str, calls: &Calls) -> Option<Url> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.end(&self.config, tokens, back, calls).await,
            Kind::GitHub(_) => None,
        }
    }
}

tokio::task_local! {
    /// The request by which somebody logs in. Where a session is refreshed there is none: that is a task of its own.
    static VISIT: Box<str>;
}

/// Does something for a request to one of the pages: what fails meanwhile is told with its id.
pub(super) async fn visited<T>(request_id: &str, work: impl Future<Output = T>) -> T {
    VISIT.scope(request_id.into(), work).await
}

/// Says why, to the operator; people see the code and the request's id alone.
pub(super) fn failed(config: &Login, why: &str, failure: Failure) -> Failure {
    let (login, code) = (&*config.name, failure.code());
    if let Ok(request_id) = VISIT.try_with(Clone::clone) {
        tracing::warn!(login, code, request_id = &*request_id, why, "a login failed");
    } else {
        tracing::warn!(login, code, why, "a session cannot be refreshed");
    }
    failure
}

/// What is kept of an answer's tokens.
pub(super) fn given(answer: &impl OAuth2TokenResponse, now_s: i64) -> Tokens {
    let refresh = answer.refresh_token().map(|token| token.secret().as_str().into());
    let lasts = answer.expires_in().and_then(|lasts| i64::try_from(lasts.as_secs()).ok());
    let until_s = lasts.map(|lasts| now_s.saturating_add(lasts.max(1)));
    Tokens { id_token: None, refresh, until_s, subject: None }
}

impl Tokens {
    /// These, with what a refresh gave in their place: one that gives no token to refresh with leaves it as it was (RFC 6749
    /// section 6).
    pub(super) fn renewed(&self, given: Tokens) -> Tokens {
        let renewed = Tokens {
            id_token: self.id_token.clone(),
            refresh: given.refresh.or_else(|| self.refresh.clone()),
            until_s: given.until_s,
            subject: self.subject.clone(),
        };
        renewed.bounded()
    }

    /// A provider that gave nothing to refresh with is not asked again: when its token ends does not matter.
    fn bounded(self) -> Tokens {
        Tokens { until_s: self.until_s.filter(|_| self.refresh.is_some()), ..self }
    }
}

/// Why a token endpoint gives no tokens. That a code or a token is no good it says by a word (one of `no_good`); everything else,
/// be it a page of somebody on the way or a word about us, says nothing of the person. The answer itself may hold what is secret,
/// and is not shown.
pub(super) fn refused<E>(config: &Login, error: RequestTokenError<E, BasicErrorResponse>, no_good: &[&str]) -> Failure
where
    E: std::error::Error + 'static,
{
    let word = match error {
        RequestTokenError::Request(error) => return failed(config, &told(&error), Failure::Unavailable),
        RequestTokenError::ServerResponse(answer) => Some(answer.error().as_ref().to_owned()),
        // GitHub says 200 where it gives no token.
        RequestTokenError::Parse(_, body) => {
            let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
            // It speaks of somebody, and what it says does not hold.
            if body.get("access_token").is_some() {
                return failed(config, "the provider's tokens cannot be read", Failure::Failed);
            }
            body.get("error").and_then(Value::as_str).map(str::to_owned)
        }
        RequestTokenError::Other(_) => None,
    };
    let Some(word) = word else {
        return failed(config, "the provider's answer is none", Failure::Unavailable);
    };
    let failure = if no_good.contains(&&*word) { Failure::Failed } else { Failure::Unavailable };
    failed(config, &format!("the provider gives no tokens: {}", plain(&word)), failure)
}

/// A word of a provider's, as it may stand in the log.
pub(super) fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
