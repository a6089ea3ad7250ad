//! Who recognises: one question for all of them. What can be said at once is; for the rest somebody has to be asked.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::config::identity::TokenPlace;

use super::accounts::Accounts;
use super::forward::{Asked, Forward};
use super::introspect::Introspector;
use super::jwt::{self, Checked};
use super::keys::Known;
use super::login::Logins;
use super::password;
use super::send::{Sends, Told};
use super::session::Opened;
use super::state::State;
use crate::exchange::{Denial, Exchange, KeyMark, Ledger, Name, Principal, Request, Response, Value};

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
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

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
    pub back: Vec<(Name, Value)>,
}

impl From<Arc<Principal>> for Answer {
    fn from(principal: Arc<Principal>) -> Self {
        Self::Who(Recognised { principal, back: Vec::new() })
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}
