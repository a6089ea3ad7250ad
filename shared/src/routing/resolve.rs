//! From the path as received to the route: normalisation, the decision, and what the route says of encoded slashes.

use std::borrow::Cow;

use crate::config::{EncodedSlash, Route};

use super::normalize::{PathProblem, decode_slashes, normalize};
use super::{Decision, Facts, Lookup, Table};

/// The path in the form that is matched, forwarded, logged and audited, and the decision.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolution<'a> {
    pub path: Cow<'a, str>,
    pub decision: Decision,
}

/// Why a path is refused (400) before or after a route is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `path_malformed`.
    Malformed(PathProblem),
    /// `path_encoded_slash`: `%2F` or `%5C` where no route allows it.
    EncodedSlash,
}

/// Resolves a request; `facts.path` is as received, `routes` those that the table was compiled from.
///
/// The path is decided as it is, escapes kept. If it has an encoded slash, the route found says what that means; where it is
/// to be decoded, the decoded path must lead to the same route. A path with an encoded slash that leads nowhere is refused as
/// one that no route allows.
///
/// A CORS preflight (Fetch standard) belongs to the route that the request it announces would take, where the policy `cors` is
/// in force there: so a route for GET alone still answers for itself. The conditions on headers that a preflight cannot carry
/// may lead it elsewhere.
///
/// # Errors
/// [`Refusal`].
pub fn resolve<'a, L: Lookup>(
    table: &Table,
    routes: &[Route],
    facts: &Facts<'a, L>,
    merge_slashes: bool,
) -> Result<Resolution<'a>, Refusal> {
    let normal = normalize(facts.path, merge_slashes).map_err(Refusal::Malformed)?;
    let decide =
        |path: &str| preflight(table, routes, facts, path).unwrap_or_else(|| table.decide(&Facts { path, ..*facts }));
    let decision = decide(&normal.path);
    if !normal.encoded_slash {
        return Ok(Resolution { path: normal.path, decision });
    }
    let route = match &decision {
        Decision::Route(index) => routes.get(*index),
        Decision::MethodNotAllowed(_) => return Ok(Resolution { path: normal.path, decision }),
        Decision::NotFound => None,
    };
    match route.map_or(EncodedSlash::Refuse, |route| route.encoded_slash) {
        EncodedSlash::Keep => Ok(Resolution { path: normal.path, decision }),
        EncodedSlash::Refuse => Err(Refusal::EncodedSlash),
        EncodedSlash::Decode => {
            let path = decode_slashes(&normal.path, merge_slashes).map_err(Refusal::Malformed)?;
            if decide(&path) == decision {
                Ok(Resolution { path: Cow::Owned(path), decision })
            } else {
                Err(Refusal::EncodedSlash)
            }
        }
    }
}

/// The route that answers a preflight.
fn preflight<L: Lookup>(table: &Table, routes: &[Route], facts: &Facts<'_, L>, path: &str) -> Option<Decision> {
    if facts.method != "OPTIONS" {
        return None;
    }
    first_text(facts.headers, "origin")?;
    let method = first_text(facts.headers, "access-control-request-method")?;
    let decision = table.decide(&Facts { method: &method, path, ..*facts });
    match decision {
        Decision::Route(index) if routes.get(index)?.policies.cors.value.is_some() => Some(decision),
        Decision::Route(_) | Decision::NotFound | Decision::MethodNotAllowed(_) => None,
    }
}

/// A header's first value, if it is text: what is not makes no preflight, here as in the policy.
fn first_text<L: Lookup>(headers: &L, name: &str) -> Option<String> {
    let mut text = None;
    headers.any_header(name, &mut |value| {
        let is_text = value.iter().all(|octet| matches!(octet, b'\t' | b' '..=b'~'));
        text = is_text.then(|| String::from_utf8_lossy(value).into_owned());
        true
    });
    text
}
