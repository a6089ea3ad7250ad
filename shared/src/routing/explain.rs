//! The same decision, told with its reasons: every candidate, why it lost, the policies in force, the URL upstream.
//! Nothing is sent, and nothing is decided here: the table, the rewriting and the policies' arithmetic are asked.

mod admission;
mod asked;
mod candidates;
mod effects;
mod failures;
mod limits;
mod suspicion;
mod verdict;

use std::borrow::Cow;
use std::net::IpAddr;

use crate::audit::mask::Mask;
use crate::config::Config;
use crate::control::report::Explanation;
use crate::control::{ControlError, ExplainArgs};
use crate::decide::cors::{self, CorsFacts, CorsVerdict};

use super::{Decision, Table, normalize, resolve};
use asked::Asked;

/// Explains what would become of a request, without sending anything.
///
/// # Errors
/// `invalid_arguments`: a URL, header or address that is none.
pub fn explain(
    config: &Config,
    table: &Table,
    args: &ExplainArgs,
    client: IpAddr,
) -> Result<Explanation, ControlError> {
    let asked = Asked::parse(args, client)?;
    let mask = Mask::new(&config.log.redact.headers, &config.log.redact.query);
    let merge_slashes = config.server.merge_slashes;
    let resolved = resolve(table, &config.routes, &asked.facts(&asked.path), merge_slashes);
    // A path that is refused for its slashes was looked up before: its candidates tell which route refuses it.
    let path = match &resolved {
        Ok(resolution) => Some(Cow::Borrowed(&*resolution.path)),
        Err(_) => normalize(&asked.path, merge_slashes).ok().map(|normal| normal.path),
    };
    let route = match &resolved {
        Ok(resolution) => match resolution.decision {
            Decision::Route(index) => config.routes.get(index),
            Decision::NotFound | Decision::MethodNotAllowed(_) => None,
        },
        Err(_) => None,
    };
    let (candidates, unlisted) = match &path {
        Some(path) => candidates::list(&config.routes, table, &asked.facts(path), route, &mask),
        None => (Vec::new(), config.routes.len() as u64),
    };
    let shown = path.unwrap_or(Cow::Borrowed(&*asked.path));
    Ok(Explanation {
        generation: None,
        method: asked.method.clone(),
        host: asked.host.clone(),
        path: shown.as_ref().to_owned(),
        query: mask.query(&asked.query).into_owned(),
        client: asked.client.to_string(),
        candidates,
        unlisted,
        verdict: verdict::of(config, &asked, &resolved, route, &shown, &mask),
        policies: effects::lines(config, route, &asked, &shown, &mask),
    })
}

/// What the policy `cors` says to the request.
fn cors_verdict(policy: &crate::config::policy::Cors, asked: &Asked) -> CorsVerdict {
    let facts = CorsFacts {
        method: &asked.method,
        origin: asked.header("origin"),
        request_method: asked.header("access-control-request-method"),
        request_headers: asked.header("access-control-request-headers"),
        request_private_network: asked.header("access-control-request-private-network"),
    };
    cors::decide(policy, &facts)
}

/// The most characters of a client's or an operator's text that one reason quotes.
const QUOTED_CHARS: usize = 100;

/// A text in quotes: cut to a length that can be read, controls escaped.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod tests;
