//! Stand-in until logins land.

use std::rc::Rc;
use std::sync::Arc;

use super::recogniser::{Answer, Asking, Said};
use super::state::State;
use crate::exchange::{Denial, Exchange, Ledger, Rejection, Request, Response};

#[derive(Debug)]
pub struct Logins;

impl Logins {
    pub fn compile(_: &shared::config::Config, _: &Arc<State>, _: Option<&Self>) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self))
    }
    pub fn ask(&self, _: usize, _: &Asking<'_>) -> Said {
        Answer::Denied(Denial::Missing).into()
    }
    pub fn challenge(&self, _: usize, _: &Request, _: &Exchange) -> Option<Response> {
        None
    }
    pub fn is_own_cookie(&self, _: &[u8]) -> bool {
        false
    }
    pub async fn serve(&self, _: &mut Request, _: &mut Exchange, _: &Rc<Ledger>) -> Result<Response, Rejection> {
        Err(Rejection::RouteNotFound)
    }
}
