//! Stand-in until accounts land.

use std::rc::Rc;
use std::sync::Arc;

use shared::config::identity::Accounts as Config;

use super::recogniser::{Answer, Asking};
use super::state::State;
use crate::exchange::{Denial, Exchange, Ledger, Rejection, Request, Response};

#[derive(Debug)]
pub struct Accounts;

impl Accounts {
    pub fn compile(_: &Arc<Config>, _: &Arc<State>, _: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self))
    }
    pub fn ask(&self, _: &[u8], _: &Asking<'_>) -> Answer {
        Answer::Denied(Denial::Missing)
    }
    pub async fn serve(&self, _: &mut Request, _: &mut Exchange, _: &Rc<Ledger>) -> Result<Response, Rejection> {
        Err(Rejection::RouteNotFound)
    }
}
