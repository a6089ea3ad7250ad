//! Introspection (RFC 7662): the issuer of an opaque token is asked whether it is good, and the answer stands for a while.

mod answers;
mod questions;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use shared::config::Secret;
use shared::config::identity::{Introspection, Send};

use self::answers::{Answered, Answers};
use self::questions::Questions;
use super::called;
use super::claims::Claims;
use super::jwt::{Revocations, rules};
use super::recogniser::Answer;
use super::send::{Sends, Told};
use super::trouble::{NoAnswer, Trouble};
use crate::exchange::{Denial, Ground, Ledger, Principal};
use crate::outside;

/// What it is called in the config.
const PROVIDER: &str = "introspection";

/// A longer token is none.
const MAX_TOKEN: usize = 16 * 1024;

/// What stands before the id of a client that acts for nobody.
const CLIENT: &str = "client:";

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// `identity.introspection`, with the answers that still stand.
pub struct Introspector {
    config: Arc<Introspection>,
    /// What principals are made for.
    send: Send,
    revoked: Arc<dyn Revocations>,
    /// None where nothing is remembered.
    answers: Option<Answers>,
    questions: Questions,
    trouble: Trouble,
}

impl std::fmt::Debug for Introspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Introspector").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Introspector {
    /// Nothing is known yet.
    pub fn new(config: &Arc<Introspection>, send: &Send, revoked: &Arc<dyn Revocations>) -> Self {
        Self {
            config: Arc::clone(config),
            send: send.clone(),
            revoked: Arc::clone(revoked),
            // Without randomness nothing is: tokens could be chosen that are taken for another.
            answers: if config.cache.is_zero() { None } else { Answers::new().ok() },
            questions: Questions::default(),
            trouble: Trouble::of(PROVIDER),
        }
    }

    /// Where its tokens stand.
    pub fn config(&self) -> &Introspection {
        &self.config
    }

    /// Whether another would ask and tell the same: then its answers still stand.
    pub fn is_same(&self, config: &Introspection, send: &Send) -> bool {
        *self.config == *config && self.send == *send
    }

    /// What an answer that stands says.
    pub fn known(&self, token: &[u8], now_s: i64) -> Option<Answer> {
        if token.len() > MAX_TOKEN {
            return Some(Answer::Denied(Denial::TooLarge));
        }
        let answers = self.answers.as_ref()?;
        answers.find(answers.hash(token), now_s).map(|answered| self.told(&answered))
    }

    fn told(&self, answered: &Answered) -> Answer {
        match &answered.verdict {
            Ok(_) if answered.jti.as_deref().is_some_and(|jti| self.revoked.is_revoked(PROVIDER, jti)) => {
                Answer::Denied(Denial::TokenRevoked)
            }
            Ok(principal) => Arc::clone(principal).into(),
            Err(denial) => Answer::Denied(*denial),
        }
    }

    /// Asks the issuer, or waits for whoever asks about the same token already.
    pub async fn ask(&self, token: &[u8], sends: &Sends, ledger: &Ledger, now_s: i64) -> Answer {
        let Ok(text) = std::str::from_utf8(token) else { return Answer::Denied(Denial::TokenMalformed) };
        let known = self.answers.as_ref().map(|answers| (answers, answers.hash(token)));
        let question = async {
            let claims = self.exchange(text, ledger).await;
            self.trouble.note(claims.as_ref().map(|_| ()));
            let claims = claims.ok()?;
            let answered = self.judge(&claims, sends, now_s);
            if let Some((answers, hash)) = known
                && now_s < answered.until_s
            {
                answers.keep(hash, answered.clone());
            }
            Some(answered)
        };
        let answered = match known {
            Some((_, hash)) => self.questions.ask(hash, question).await,
            None => self.questions.ask_alone(question).await,
        };
        answered.map_or(Answer::Unavailable, |answered| self.told(&answered))
    }

    async fn exchange(&self, token: &str, ledger: &Ledger) -> Result<Claims, NoAnswer> {
        let form = form_urlencoded(&[("token", token), ("token_type_hint", "access_token")]);
        let mut request = http::Request::post(&*self.config.url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(id) = &self.config.client_id {
            // RFC 6749 section 2.3.1: both are encoded before they are joined.
            let secret = self.config.client_secret.as_ref().map_or("", Secret::reveal);
            let both = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.header("authorization", format!("Basic {both}"));
        }
        let request = request.body(form.into_bytes()).map_err(|_| NoAnswer::Address)?;
        let answer = outside::ask(ledger.outside.client()?, request, self.config.timeout, MAX_ANSWER).await?;
        match answer.status().as_u16() {
            200 => Claims::parse(answer.body()).map_err(|_| NoAnswer::Unreadable("its body".into())),
            status => Err(NoAnswer::Status(status)),
        }
    }

    fn judge(&self, claims: &Claims, sends: &Sends, now_s: i64) -> Answered {
        let longest_s = now_s.saturating_add(seconds(self.config.cache));
        match self.who(claims, sends, now_s) {
            Ok((principal, jti)) => {
                let until_s = principal.until_s.map_or(longest_s, |until_s| until_s.min(longest_s));
                Answered { until_s, jti, verdict: Ok(Arc::new(principal)) }
            }
            Err(Refusal { denial, until_s }) => {
                Answered { until_s: until_s.min(longest_s), jti: None, verdict: Err(denial) }
            }
        }
    }

    /// Who it is, and the token's `jti`. Claims are held to what they are in a JWT; one that is null is not there.
    fn who(&self, claims: &Claims, sends: &Sends, now_s: i64) -> Result<(Principal, Option<Arc<str>>), Refusal> {
        let config = &self.config;
        if claims.get("active") != Some(&Json::Bool(true)) {
            return Err(Denial::TokenInactive.into());
        }
        let [exp, nbf, iat] = rules::times(PROVIDER, |name| claims.get(name))?;
        let (from_s, until_s) = rules::window(config.leeway, exp, nbf.max(iat));
        if now_s >= until_s {
            return Err(Denial::TokenExpired.into());
        }
        if now_s < from_s {
            return Err(Refusal { denial: Denial::TokenNotYetValid, until_s: from_s });
        }
        if config.issuer.is_some() && claims.get("iss").and_then(Json::as_str) != config.issuer.as_deref() {
            return Err(Denial::TokenIssuer.into());
        }
        if !config.audience.is_empty() && !rules::is_meant(&config.audience, claims) {
            return Err(Denial::TokenAudience.into());
        }
        let jti = claims.name("jti");
        if claims.get("jti").is_some() && !jti.as_deref().is_some_and(directory::is_revocable) {
            return Err(rules::wrong(PROVIDER, "jti", rules::NO_JTI).into());
        }
        let user = self.user(claims).ok_or_else(|| rules::wrong(PROVIDER, &config.user_claim, rules::NO_NAME))?;
        let roles = rules::names(claims, &config.roles_claim);
        let scopes = rules::names(claims, &config.scopes_claim);
        let told = Told { user: &user, provider: PROVIDER, roles: &roles, scopes: &scopes, key: None };
        let sent = sends.about(&told, |path| claims.told(path)).ok_or(Denial::TokenClaims)?;
        let jti: Option<Arc<str>> = jti.map(|jti| (*jti).into());
        let principal = Principal {
            ground: Ground::Token { provider: PROVIDER.into(), jti: jti.as_deref().map(Into::into), until_s },
            user: (*user).into(),
            provider: PROVIDER.into(),
            roles,
            scopes,
            until_s: exp.map(|_| until_s),
            sent,
            ..Principal::default()
        };
        Ok((principal, jti))
    }

    /// What somebody is called. A token of nobody but a client is its own, under a name that no person has by being called the same.
    fn user<'c>(&self, claims: &'c Claims) -> Option<Cow<'c, str>> {
        let of_client = || {
            let id = claims.name("client_id").filter(|id| called::is_name(id))?;
            Some(Cow::Owned(format!("{CLIENT}{id}")))
        };
        let told = match claims.get(&self.config.user_claim) {
            Some(_) => claims.name(&self.config.user_claim),
            None => of_client(),
        };
        told.filter(|user| called::is_name(user))
    }
}

/// Why a token is not good, and until when that holds at the most.
struct Refusal {
    denial: Denial,
    until_s: i64,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self { denial, until_s: i64::MAX }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// `application/x-www-form-urlencoded`.
fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests;
