//! Pages of our own that routes serve: logins, accounts, and the keys that our tokens are checked with.

use std::rc::Rc;

use shared::config::Serve;

use crate::exchange::{Body, Exchange, Rejection, Request, Response, ResponseHead, Value, name};
use crate::worker::{Local, Worker};

/// How long others may keep our keys: a new one comes with a new signing key, which is seldom.
const JWKS_AGE: Value = Value::known("public, max-age=300");

/// Answers a request for one of them.
pub(super) async fn serve(
    pages: Serve,
    exchange: &mut Exchange,
    request: &mut Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Result<Response, Rejection> {
    let identities = &local.snapshot.identities;
    match pages {
        Serve::Login => match &identities.logins {
            Some(logins) => Box::pin(logins.serve(request, exchange, &worker.ledger)).await,
            None => Err(Rejection::RouteNotFound),
        },
        Serve::Accounts => match &identities.accounts {
            Some(accounts) => Box::pin(accounts.serve(request, exchange, &worker.ledger)).await,
            None => Err(Rejection::RouteNotFound),
        },
        Serve::Jwks if !matches!(exchange.method(), "GET" | "HEAD") => {
            Err(Rejection::MethodNotAllowed(vec!["GET".into(), "HEAD".into()]))
        }
        Serve::Jwks => {
            let mut response = Response::new(ResponseHead::new(200), Body::text(identities.jwks.clone()));
            let headers = response.head.headers_mut();
            headers.set(&name::CONTENT_TYPE, Value::known("application/jwk-set+json"));
            headers.set(&name::CACHE_CONTROL, JWKS_AGE);
            Ok(response)
        }
    }
}
