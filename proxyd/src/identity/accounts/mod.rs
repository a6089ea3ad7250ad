//! `identity.accounts`: accounts of our own. Its endpoints take JSON, and forms of this site's own pages; they answer in JSON.
//!
//! Nobody learns here who has an account: not by an answer, and not by its time. Passwords are computed for unknown names too,
//! and what goes by mail happens behind the answer's back.

mod answer;
mod call;
mod commonest;
mod endpoint;
mod enter;
mod fields;
mod guesses;
mod leave;
mod letters;
mod page;
mod post;
mod recover;
mod rules;
mod secret;
mod standing;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use directory::{Directory, DirectoryError, LOGINS, RevokedRow, UserRow};
use serde_json::Value as Json;
use shared::config::identity;

pub use rules::{is_email, is_name, weakness};
pub use standing::Standing;

use self::answer::{Failure, refused, sent_on, told};
use self::call::Call;
use self::endpoint::Endpoint;
use self::guesses::Guesses;
use self::post::Post;
use self::tokens::Tokens;
use super::jwt::{Checked, Verified, Verifier};
use super::mint::Mint;
use super::password;
use super::recogniser::{Answer, Asking, bearer, token_of};
use super::state::State;
use crate::exchange::{Denial, Exchange, Ground, Ledger, Principal, Rejection, Request, Response};

/// Who recognises accounts, as `auth` names it.
const PROVIDER: &str = "accounts";
/// What tokens of one use are for.
const RESET: &str = "reset";
const VERIFY: &str = "verify";
/// How long these are good.
const SHORT_TOKEN_S: i64 = 3600;
const LONG_TOKEN_S: i64 = 24 * 3600;

/// See the module.
pub struct Accounts {
    config: Arc<identity::Accounts>,
    state: Arc<State>,
    tokens: Tokens,
    mail: Option<Arc<Post>>,
    /// The hash of a password that is nobody's: what those of unknown names are compared with.
    nobodys: Arc<str>,
    /// Of one account's password.
    guesses: Arc<Guesses>,
    /// From one address.
    addresses: Arc<Guesses>,
    /// Accounts that one address asked for: each costs a password's work.
    registrations: Arc<Guesses>,
    /// Letters to one address, of each purpose.
    mails: Arc<Guesses>,
    /// Letters that were asked for from one address, of each purpose.
    mail_asked: Arc<Guesses>,
}

/// What was asked, by whom.
struct Asked {
    call: Call,
    /// The client's address; of IPv6 the network, since whoever has one has them all.
    network: IpAddr,
    now_s: i64,
    /// Who it turned out to be.
    principal: Option<Arc<Principal>>,
}

/// Where and when something was asked.
#[derive(Clone, Copy)]
struct Asker {
    network: IpAddr,
    now_s: i64,
}

impl Asked {
    fn asker(&self) -> Asker {
        Asker { network: self.network, now_s: self.now_s }
    }

    fn is(&mut self, user: &UserRow) {
        self.principal = Some(Arc::new(Principal {
            user: user.name.as_str().into(),
            provider: PROVIDER.into(),
            roles: user.roles.iter().map(|role| role.as_str().into()).collect(),
            ..Principal::default()
        }));
    }
}

/// Who brought a good access token.
struct Caller {
    /// Of the account.
    id: String,
    /// Of the login that the token came from.
    family: String,
    principal: Arc<Principal>,
}

/// What is answered where nothing fails.
struct Outcome {
    status: u16,
    json: Json,
    /// The same for people.
    sentence: &'static str,
    onward: Option<String>,
}

impl Outcome {
    fn told(status: u16, json: Json) -> Self {
        Self { status, json, sentence: "", onward: None }
    }

    fn said(status: u16, json: Json, sentence: &'static str, onward: Option<String>) -> Self {
        Self { status, json, sentence, onward }
    }

    fn response(self, as_page: bool) -> Response {
        if let Some(onward) = self.onward.as_deref().and_then(sent_on) {
            return onward;
        }
        if as_page && !self.sentence.is_empty() {
            return page::said(self.status, self.sentence);
        }
        told(self.status, &self.json)
    }
}

impl Accounts {
    /// Makes ready what the config says. Guesses and mails under way are those of before. Once it computes a password's hash.
    pub fn compile(
        config: &Arc<identity::Accounts>,
        state: &Arc<State>,
        mint: &Arc<Mint>,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, String> {
        let tokens = Tokens::compile(config, state, mint, before.map(|before| &before.tokens))?;
        let post = |mail| Post::compile(mail, before.and_then(|before| before.mail.as_deref())).map(Arc::new);
        let mail = config.mail.as_ref().map(post).transpose()?;
        let nobodys = if let Some(before) = before {
            Arc::clone(&before.nobodys)
        } else {
            let password = secret::id().ok_or("the system gives no randomness")?;
            password::hash(password.as_bytes())?.into()
        };
        let kept = |of: fn(&Self) -> &Arc<Guesses>| before.map_or_else(Arc::default, |before| Arc::clone(of(before)));
        Ok(Arc::new(Self {
            config: Arc::clone(config),
            state: Arc::clone(state),
            tokens,
            mail,
            nobodys,
            guesses: kept(|before| &before.guesses),
            addresses: kept(|before| &before.addresses),
            registrations: kept(|before| &before.registrations),
            mails: kept(|before| &before.mails),
            mail_asked: kept(|before| &before.mail_asked),
        }))
    }

    /// Mails that were sent, and that were given up.
    pub fn mails(&self) -> Option<(u64, u64)> {
        self.mail.as_ref().map(|mail| mail.counts())
    }

    /// What access tokens are checked with.
    pub fn verifier(&self) -> &Arc<Verifier> {
        self.tokens.verifier()
    }

    /// Whether an access token is good: signed here, in its time, not revoked, and of its account's present epoch.
    pub fn check(&self, token: &[u8], now_s: i64) -> Checked {
        let checked = self.tokens.check(token, now_s);
        match &checked {
            Checked::Good(verified) if !self.holds(verified) => Checked::Denied(Denial::TokenRevoked),
            Checked::Good(_) | Checked::Denied(_) | Checked::NeedsKeys(_) | Checked::Unavailable => checked,
        }
    }

    /// Who it is that brings an access token elsewhere.
    pub(super) fn ask(&self, token: &[u8], asking: &Asking<'_>) -> Answer {
        match self.check(token, asking.now_s) {
            Checked::Good(verified) => bearer(&verified, self.verifier().provider(), asking.sends, ground),
            Checked::Denied(denial) => Answer::Denied(denial),
            Checked::NeedsKeys(_) | Checked::Unavailable => Answer::Unavailable,
        }
    }

    fn holds(&self, verified: &Verified) -> bool {
        let sid = verified.claims.text("sid").unwrap_or_default();
        if self.state.revoked.is_revoked(LOGINS, &sid) {
            return false;
        }
        let id = verified.claims.text("uid").unwrap_or_default();
        epoch_of(verified).is_some_and(|epoch| self.state.standing.holds(&id, epoch))
    }

    /// Answers a request to one of the endpoints.
    pub async fn serve(
        self: &Arc<Self>,
        request: &mut Request,
        exchange: &mut Exchange,
        ledger: &Rc<Ledger>,
    ) -> Result<Response, Rejection> {
        let now_s = ledger.clock.now().unix_us.div_euclid(1_000_000);
        let mut as_page = false;
        let answered = self.answer(request, exchange, now_s, &mut as_page).await;
        answered.or_else(|failure| failure.response(exchange, as_page))
    }

    async fn answer(
        self: &Arc<Self>,
        request: &mut Request,
        exchange: &mut Exchange,
        now_s: i64,
        as_page: &mut bool,
    ) -> Result<Response, Failure> {
        let endpoint = exchange.path().strip_prefix(&*self.config.prefix).and_then(Endpoint::at);
        let endpoint = endpoint.ok_or(Rejection::RouteNotFound)?;
        let method = request.head.method();
        if !endpoint.methods().contains(&method) {
            return Err(Rejection::MethodNotAllowed(endpoint.allowed()).into());
        }
        if method != "POST" && endpoint != Endpoint::Me {
            *as_page = true;
            return form_behind(endpoint, request.head.query().unwrap_or_default());
        }
        let caller = call::bearer(request.head.headers()).and_then(|token| self.caller(token, now_s));
        if let Ok(caller) = &caller {
            exchange.finish.principal = Some(Arc::clone(&caller.principal));
        }
        if endpoint == Endpoint::Me {
            let caller = caller.map_err(refused)?;
            return Ok(self.me(&caller, network(exchange.client)).await?.response(false));
        }
        if endpoint.needs_token()
            && let Err(denial) = caller
        {
            return Err(refused(denial));
        }
        let call = Call::read(request).await?;
        *as_page = call.as_page;
        let mut asked = Asked { call, network: network(exchange.client), now_s, principal: None };
        let outcome = self.outcome(endpoint, &mut asked, caller).await;
        if let Some(principal) = asked.principal {
            exchange.finish.principal = Some(principal);
        }
        Ok(outcome?.response(*as_page))
    }

    async fn outcome(
        self: &Arc<Self>,
        endpoint: Endpoint,
        asked: &mut Asked,
        caller: Result<Caller, Denial>,
    ) -> Result<Outcome, Failure> {
        match endpoint {
            Endpoint::Register => self.register(asked).await,
            Endpoint::Login => self.login(asked).await,
            Endpoint::Refresh => self.refresh(asked).await,
            Endpoint::Me => self.me(&caller.map_err(refused)?, asked.network).await,
            Endpoint::ChangePassword => self.change_password(asked, &caller.map_err(refused)?).await,
            Endpoint::Forgot => self.forgot(asked),
            Endpoint::Reset => self.reset(asked).await,
            Endpoint::Verify => self.verify(asked).await,
            Endpoint::ResendVerification => self.resend(asked),
            Endpoint::Logout => self.logout(asked, caller).await,
            Endpoint::LogoutAll => self.logout_all(asked, &caller.map_err(refused)?).await,
        }
    }

    /// Who brought this token.
    fn caller(&self, token: &[u8], now_s: i64) -> Result<Caller, Denial> {
        let verified = match self.check(token, now_s) {
            Checked::Good(verified) => verified,
            Checked::Denied(denial) => return Err(denial),
            Checked::NeedsKeys(_) | Checked::Unavailable => return Err(Denial::TokenKeyUnknown),
        };
        let claim = |name: &str| verified.claims.text(name).map(String::from).ok_or(Denial::TokenClaims);
        Ok(Caller {
            id: claim("uid")?,
            family: claim("sid")?,
            principal: Arc::new(Principal {
                user: verified.user.clone(),
                provider: PROVIDER.into(),
                roles: verified.roles.clone(),
                scopes: verified.scopes.clone(),
                ..Principal::default()
            }),
        })
    }

    /// The account of whoever brought a token. It may have been removed since.
    async fn row_of(&self, caller: &Caller, from: IpAddr) -> Result<UserRow, Failure> {
        let id = caller.id.clone();
        let user = self.directory(from, move |directory| directory.user(&id)).await;
        let user = user.map_err(|error| unavailable(&error))?;
        user.filter(|user| user.id == caller.id).ok_or_else(|| refused(Denial::TokenRevoked))
    }

    /// A login ends: none of its access tokens is taken any more, whatever the disk says; and no refresh token brings another.
    fn end_login(&self, directory: &mut Directory, family: &str, by: &str, now_s: i64) -> Result<(), DirectoryError> {
        self.state.token_revoke_in(directory, &ended(family, by, now_s))
    }

    /// Works with the directory for somebody of a network, on a thread that may wait, when its turn comes.
    async fn directory<T: Send + 'static>(
        &self,
        from: IpAddr,
        work: impl FnOnce(&mut Directory) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let state = Arc::clone(&self.state);
        // Or the worker ends.
        let busy = || DirectoryError::Io { path: "identity.db".into(), source: std::io::ErrorKind::WouldBlock.into() };
        self.state.queues.directory.run(Some(from), move || state.directory(work)).await.unwrap_or_else(|| Err(busy()))
    }

    async fn hash(&self, password: String, from: IpAddr) -> Result<String, Failure> {
        let hashed = self.state.queues.new_passwords.run(Some(from), move || password::hash(password.as_bytes()));
        match hashed.await {
            Some(Ok(hash)) => Ok(hash),
            None => Err(Failure::Rejected(Rejection::AuthUnavailable)),
            Some(Err(error)) => {
                tracing::warn!(%error, "a password cannot be hashed");
                Err(Failure::Rejected(Rejection::AuthUnavailable))
            }
        }
    }

    /// Whether a password is right. Where there is none to compare with, the same work is done, and it is wrong.
    async fn verify_password(&self, hash: Option<String>, password: String, from: IpAddr) -> Result<bool, Failure> {
        let nobodys = Arc::clone(&self.nobodys);
        let verified = self.state.queues.logins.run(Some(from), move || {
            let right = password::verify(hash.as_deref().unwrap_or(&nobodys), password.as_bytes());
            right && hash.is_some()
        });
        verified.await.ok_or(Failure::Rejected(Rejection::AuthUnavailable))
    }

    fn reset_url(&self) -> &str {
        self.config.mail.as_ref().map_or("", |mail| &mail.reset_url)
    }

    fn verify_url(&self) -> &str {
        self.config.mail.as_ref().map_or("", |mail| &mail.verify_url)
    }
}

/// What is kept of a login that has ended.
fn ended(family: &str, by: &str, now_s: i64) -> RevokedRow {
    RevokedRow {
        provider: LOGINS.to_owned(),
        jti: family.to_owned(),
        expires_s: Tokens::over_s(now_s),
        revoked_s: now_s,
        by: by.to_owned(),
    }
}

fn epoch_of(verified: &Verified) -> Option<u32> {
    verified.claims.get("epoch").and_then(Json::as_u64).and_then(|epoch| u32::try_from(epoch).ok())
}

/// A token of ours ends with its login and its account too.
fn ground(verified: &Verified, provider: &Arc<str>) -> Ground {
    let id = verified.claims.text("uid").unwrap_or_default();
    let account = Ground::Account { id: (*id).into(), epoch: epoch_of(verified).unwrap_or_default() };
    let sid = verified.claims.text("sid").map(|sid| (*sid).into());
    let login = Ground::Token { provider: LOGINS.into(), jti: sid, until_s: i64::MAX };
    Ground::All([token_of(verified, provider), login, account].into())
}

/// Neither keys nor names.
impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("prefix", &self.config.prefix).finish_non_exhaustive()
    }
}

/// What a mail's link leads to.
fn form_behind(endpoint: Endpoint, query: &str) -> Result<Response, Failure> {
    let token = fields::in_query(query, "token").filter(|token| secret::hash_of(token).is_some());
    let token = token.ok_or(Failure::TokenInvalid)?;
    Ok(if endpoint == Endpoint::Reset { page::reset(&token) } else { page::verify(&token) })
}

/// The directory does not answer. What is wrong with it is for the log; that many wait for it is not, as often as it is so.
fn unavailable(error: &DirectoryError) -> Failure {
    if !is_busy(error) {
        tracing::warn!(%error, "accounts cannot be read or written");
    }
    Failure::Rejected(Rejection::AuthUnavailable)
}

/// Whether too many wait for the directory.
fn is_busy(error: &DirectoryError) -> bool {
    matches!(error, DirectoryError::Io { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
}

/// The account has gone or is another in the meantime, which is told as `gone`; or the directory does not answer.
fn gone_or(error: &DirectoryError, gone: impl FnOnce() -> Failure) -> Failure {
    if matches!(error, DirectoryError::Unknown { .. } | DirectoryError::Changed { .. }) {
        gone()
    } else {
        unavailable(error)
    }
}

/// The address, or its network of 64 bits.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// `2026-11-22T23:14:35Z`.
fn now_text(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).map(|time| time.to_string()).unwrap_or_default()
}
