//! Who recognises: one question for all of them. What can be said at once is; for the rest somebody has to be asked.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::config::identity::TokenPlace;

use super::accounts::{self, Accounts};
use super::forward::Forward;
use super::introspect::Introspector;
use super::jwt::{self, Checked};
use super::keys::KeyRing;
use super::login::Logins;
use super::password;
use super::send::{Sends, Told};
use super::state::State;
use crate::exchange::{Back, Denial, Exchange, Ground, KeyMark, Ledger, Principal, Request, Response};

/// A longer name with its password is none.
const MAX_BASIC: usize = 1024;

/// Who recognises, ready to.
#[derive(Debug)]
pub enum Recogniser {
    Jwt(Arc<jwt::Verifier>),
    ApiKey { from: Vec<TokenPlace>, state: Arc<State> },
    Basic(Arc<password::Verifier>),
    Login { logins: Arc<Logins>, index: usize },
    Introspection(Arc<Introspector>),
    Forward(Arc<Forward>),
    Accounts(Arc<Accounts>),
    Certificate,
}

/// What is asked about, and with what.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub exchange: &'a Exchange,
    pub request: &'a Request,
    pub sends: &'a Arc<Sends>,
    pub ledger: &'a Rc<Ledger>,
    /// Seconds since the epoch.
    pub now_s: i64,
}

/// What a recogniser says at once, or later.
pub enum Said {
    Now(Answer),
    Later(Question),
    /// Keys of its issuer are looked for in any case; whoever does not wait for them is told this.
    WithKeys(Question, Answer),
}

/// A question to somebody else.
pub type Question = Pin<Box<dyn Future<Output = Answer>>>;

/// What a recogniser says.
pub enum Answer {
    Who(Recognised),
    Denied(Denial),
    /// Whoever would know is not reached.
    Unavailable,
    /// Another service's own answer, for the client.
    Refused(Response),
}

/// Somebody, and what the client is to be told beside the answer, such as a cookie that goes on.
pub struct Recognised {
    pub principal: Arc<Principal>,
    pub back: Vec<Back>,
}

impl From<Arc<Principal>> for Answer {
    fn from(principal: Arc<Principal>) -> Self {
        Self::Who(Recognised { principal, back: Vec::new() })
    }
}

impl Answer {
    /// Whether somebody is recognised.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Who(_))
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

impl Recogniser {
    /// Where its credentials are looked for.
    pub fn places(&self) -> Vec<TokenPlace> {
        let authorization =
            |scheme: &str| vec![TokenPlace::Header { name: "authorization".into(), scheme: Some(scheme.into()) }];
        match self {
            Self::Jwt(verifier) => verifier.config().from.clone(),
            Self::ApiKey { from, .. } => from.clone(),
            Self::Introspection(introspector) => introspector.config().from.clone(),
            Self::Basic(_) => authorization("Basic"),
            Self::Accounts(_) => authorization("Bearer"),
            Self::Login { .. } | Self::Forward(_) | Self::Certificate => Vec::new(),
        }
    }

    /// Whether it finds its credentials by itself.
    pub fn looks_for_itself(&self) -> bool {
        matches!(self, Self::Login { .. } | Self::Forward(_) | Self::Certificate)
    }

    /// Whether a credential may be meant for it: where several kinds share a place, their forms tell them apart.
    pub fn could_read(&self, credential: &[u8], is_shared: bool) -> bool {
        match self {
            Self::ApiKey { .. } => !is_shared || KeyRing::looks_like_key(credential),
            Self::Jwt(_) | Self::Accounts(_) | Self::Introspection(_) => {
                !is_shared || !KeyRing::looks_like_key(credential)
            }
            Self::Basic(_) | Self::Login { .. } | Self::Forward(_) | Self::Certificate => true,
        }
    }

    /// What it says of a credential.
    pub fn ask(&self, credential: &[u8], asking: &Asking<'_>) -> Said {
        match self {
            Self::Jwt(verifier) => jwt(verifier, credential, asking),
            Self::ApiKey { state, .. } => api_key(state, credential, asking).into(),
            Self::Basic(verifier) => basic(verifier, credential, asking),
            Self::Login { logins, index } => logins.ask(*index, asking),
            Self::Introspection(introspector) => {
                if let Some(answer) = introspector.known(credential, asking.now_s) {
                    return answer.into();
                }
                let (introspector, token) = (Arc::clone(introspector), credential.to_vec());
                let (sends, ledger, now_s) = asking.owned();
                Said::Later(Box::pin(async move { introspector.ask(&token, &sends, &ledger, now_s).await }))
            }
            Self::Forward(forward) => {
                let asked = match forward.asked(asking.exchange, &asking.request.head) {
                    Ok(asked) => asked,
                    Err(denial) => return Answer::Denied(denial).into(),
                };
                let forward = Arc::clone(forward);
                let (sends, ledger, _) = asking.owned();
                Said::Later(Box::pin(async move { forward.ask(&asked, &sends, &ledger).await }))
            }
            Self::Accounts(accounts) => accounts.ask(credential, asking).into(),
            Self::Certificate => certificate(asking).into(),
        }
    }

    /// The way to a login, for a browser that navigates here.
    pub fn challenge(&self, request: &Request, exchange: &Exchange) -> Option<Response> {
        match self {
            Self::Login { logins, index } => logins.challenge(*index, request, exchange),
            Self::Jwt(_)
            | Self::ApiKey { .. }
            | Self::Basic(_)
            | Self::Introspection(_)
            | Self::Forward(_)
            | Self::Accounts(_)
            | Self::Certificate => None,
        }
    }
}

impl Asking<'_> {
    fn owned(&self) -> (Arc<Sends>, Rc<Ledger>, i64) {
        (Arc::clone(self.sends), Rc::clone(self.ledger), self.now_s)
    }
}

fn jwt(verifier: &Arc<jwt::Verifier>, token: &[u8], asking: &Asking<'_>) -> Said {
    match verifier.check(token, asking.now_s) {
        Checked::Good(verified) => bearer(&verified, verifier.provider(), asking.sends, token_of).into(),
        Checked::Denied(denial) => Answer::Denied(denial).into(),
        Checked::Unavailable => Answer::Unavailable.into(),
        Checked::NeedsKeys(denial) => {
            let (verifier, token) = (Arc::clone(verifier), token.to_vec());
            let (sends, _, now_s) = asking.owned();
            let fetched = verifier.fetch_keys();
            let question = Box::pin(async move {
                fetched.await;
                match verifier.check_again(&token, now_s) {
                    Checked::Good(verified) => bearer(&verified, verifier.provider(), &sends, token_of),
                    Checked::Denied(denial) => Answer::Denied(denial),
                    Checked::NeedsKeys(_) | Checked::Unavailable => Answer::Unavailable,
                }
            });
            Said::WithKeys(question, Answer::Denied(denial))
        }
    }
}

/// What whoever brings a token rests on.
pub(super) fn token_of(verified: &jwt::Verified, provider: &Arc<str>) -> Ground {
    Ground::Token { provider: Arc::clone(provider), jti: verified.jti.clone(), until_s: verified.until_s }
}

/// Whom a token that is good speaks of, and what that rests on.
pub(super) fn bearer(
    verified: &Arc<jwt::Verified>,
    provider: &Arc<str>,
    sends: &Arc<Sends>,
    ground: impl FnOnce(&jwt::Verified, &Arc<str>) -> Ground,
) -> Answer {
    let made = verified.made.principal(sends.generation, |_| {
        let told = Told { user: &verified.user, provider, roles: &verified.roles, scopes: &verified.scopes, key: None };
        Some(Principal {
            sent: sends.about(&told, |path| verified.claims.told(path))?,
            user: verified.user.clone(),
            provider: Arc::clone(provider),
            roles: verified.roles.clone(),
            scopes: verified.scopes.clone(),
            until_s: verified.ends_s(),
            ground: ground(verified, provider),
            ..Principal::default()
        })
    });
    made.map_or(Answer::Denied(Denial::TokenClaims), Into::into)
}

fn api_key(state: &State, credential: &[u8], asking: &Asking<'_>) -> Answer {
    let known = match state.keys.find(credential, asking.now_s) {
        Ok(known) => known,
        Err(denial) => return Answer::Denied(denial),
    };
    let made = known.made().principal(asking.sends.generation, |_| {
        let user = known.user.as_ref().unwrap_or(&known.name);
        let told =
            Told { user, provider: "api_key", roles: &known.roles, scopes: &known.scopes, key: Some(&known.prefix) };
        Some(Principal {
            sent: asking.sends.about(&told, |_| None)?,
            user: user.clone(),
            provider: "api_key".into(),
            shown: Some(format!("api_key {}", known.prefix).into()),
            roles: known.roles.clone(),
            scopes: known.scopes.clone(),
            key: Some(KeyMark {
                id: known.id.clone(),
                prefix: known.prefix.clone(),
                name: known.name.clone(),
                is_user: known.user.is_none(),
                limit: known.limit,
            }),
            until_s: known.expires_s,
            ground: Ground::Key { prefix: known.shown().into(), hash: known.hash },
            ..Principal::default()
        })
    });
    made.map_or(Answer::Denied(Denial::TokenClaims), Into::into)
}

/// RFC 7617 section 2: the name ends at the first colon, the password may hold more.
fn basic(verifier: &Arc<password::Verifier>, credential: &[u8], asking: &Asking<'_>) -> Said {
    if credential.len() > MAX_BASIC * 4 / 3 {
        return Answer::Denied(Denial::TooLarge).into();
    }
    let decoded = STANDARD.decode(credential).ok().and_then(|both| String::from_utf8(both).ok());
    let Some((user, password)) = decoded.as_deref().and_then(|both| both.split_once(':')) else {
        return Answer::Denied(Denial::PasswordWrong).into();
    };
    if let Some(found) = verifier.remembered(user, password.as_bytes()) {
        return named(&found, asking.sends).into();
    }
    let (user, password) = (user.to_owned(), password.as_bytes().to_vec());
    let verifier = Arc::clone(verifier);
    let (sends, _, _) = asking.owned();
    let from = Some(accounts::network(asking.exchange.client));
    Said::Later(Box::pin(async move {
        match verifier.check(user, password, from).await {
            Ok(found) => named(&found, &sends),
            Err(password::Refusal::Denied(denial)) => Answer::Denied(denial),
            Err(password::Refusal::Unavailable) => Answer::Unavailable,
        }
    }))
}

fn named(user: &password::User, sends: &Arc<Sends>) -> Answer {
    let made = user.made.principal(sends.generation, |_| {
        let told = Told { user: &user.name, provider: "basic", roles: &user.roles, scopes: &user.scopes, key: None };
        Some(Principal {
            sent: sends.about(&told, |_| None)?,
            user: user.name.clone(),
            provider: "basic".into(),
            roles: user.roles.clone(),
            scopes: user.scopes.clone(),
            ..Principal::default()
        })
    });
    made.map_or(Answer::Denied(Denial::PasswordWrong), Into::into)
}

/// Whom the listener has verified.
fn certificate(asking: &Asking<'_>) -> Answer {
    let Some(certificate) = &asking.exchange.peer.certificate else {
        return Answer::Denied(Denial::CertificateMissing);
    };
    let made = asking.exchange.peer.made.principal(asking.sends.generation, |_| {
        let told = Told { user: certificate.called(), provider: "certificate", ..Told::default() };
        let sent = asking.sends.about(&told, |_| None)?;
        Some(Principal { sent, user: told.user.into(), provider: told.provider.into(), ..Principal::default() })
    });
    made.map_or(Answer::Denied(Denial::CertificateMissing), Into::into)
}

#[cfg(test)]
mod tests {
    use shared::config::identity::Identity;

    use super::*;
    use crate::identity::mint::Mint;

    #[test]
    fn who_comes_with_a_password_is_made_once() {
        let user = password::User { name: "ann".into(), ..password::User::default() };
        let who = |sends: &Arc<Sends>| match named(&user, sends) {
            Answer::Who(recognised) => recognised.principal,
            Answer::Denied(_) | Answer::Unavailable | Answer::Refused(_) => panic!("ann is known"),
        };
        let mint = Arc::new(Mint::ed_dsa(&Mint::generate().unwrap()).unwrap());
        let sends = |generation| Arc::new(Sends::compile(&Identity::default(), &mint, generation));
        let (sends, reloaded) = (sends(1), sends(2));
        let first = who(&sends);
        assert!(&*first.user == "ann" && Arc::ptr_eq(&first, &who(&sends)));
        assert!(!Arc::ptr_eq(&first, &who(&reloaded)), "what is sent may be another now");
    }
}
