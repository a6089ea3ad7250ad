//! What would become of the request: where it would go, or how it would be refused.

use crate::audit::mask::Mask;
use crate::config::{Action, Config, ForwardHost, Route, Share};
use crate::control::report::{Target, Verdict};
use crate::decide::access::admits_address;
use crate::decide::cors::CorsVerdict;
use crate::routing::rewrite::{location, upstream_path};
use crate::routing::{Decision, Refusal, Resolution};

use super::admission::query_upstream;
use super::asked::Asked;
use super::cors_verdict;

/// Stands for the route's name where none was found.
const NO_ROUTE: &str = "(none)";

/// The order is the data path's: the policies (a preflight before `access`; those of the top level where no route was found),
/// then what routing refused, then the route's action.
pub(super) fn of(
    config: &Config,
    asked: &Asked,
    resolved: &Result<Resolution<'_>, Refusal>,
    route: Option<&Route>,
    path: &str,
    mask: &Mask,
) -> Verdict {
    let policies = route.map_or(&config.policies, |route| &route.policies);
    let is_preflight = |cors: &_| matches!(cors_verdict(cors, asked), CorsVerdict::Preflight(_));
    if policies.cors.value.as_deref().is_some_and(is_preflight) {
        let route = route.map_or(NO_ROUTE, |route| &route.name).to_owned();
        return Verdict::Respond { route, status: 204 };
    }
    // Of a certificate nothing is known here: what it would change, the policy's line says.
    if policies.access.value.as_deref().is_some_and(|access| !admits_address(access, asked.client)) {
        return reject("access_denied", 403, format!("{} may not come in here", asked.client));
    }
    match (route, resolved.as_ref().map(|resolution| &resolution.decision)) {
        (Some(route), _) => action(config, asked, route, path, mask),
        (None, Ok(Decision::MethodNotAllowed(allowed))) => {
            reject("method_not_allowed", 405, format!("only these methods are taken here: {}", allowed.join(", ")))
        }
        (None, Ok(Decision::NotFound | Decision::Route(_))) => reject("route_not_found", 404, "no route matches"),
        (None, Err(Refusal::Malformed(problem))) => reject("path_malformed", 400, format!("the path {problem}")),
        (None, Err(Refusal::EncodedSlash)) => {
            let why = "the path has an encoded slash or backslash, and no route that allows it is in reach";
            reject("path_encoded_slash", 400, why)
        }
    }
}

fn reject(code: &str, status: u16, message: impl Into<String>) -> Verdict {
    Verdict::Reject { code: code.to_owned(), status, message: message.into() }
}

fn action(config: &Config, asked: &Asked, route: &Route, path: &str, mask: &Mask) -> Verdict {
    let name = route.name.to_string();
    match &route.action {
        Action::Forward(shares) => {
            let query = query_upstream(config, route.policies.auth.value.as_deref(), &asked.query);
            let path_and_query = |share: &Share| {
                let path = upstream_path(path, route.rewrite.as_ref(), &share.path_prefix);
                if query.is_empty() { path.into_owned() } else { format!("{path}?{}", mask.query(&query)) }
            };
            let total = shares.iter().map(|share| u64::from(share.weight)).sum();
            let targets = shares
                .iter()
                .filter_map(|share| target(config, asked, route, &path_and_query(share), share, total))
                .collect();
            Verdict::Forward { route: name, targets }
        }
        Action::Redirect(redirect) => Verdict::Redirect {
            route: name,
            status: redirect.status,
            location: masked(mask, &location(redirect, asked.scheme, &asked.authority, path, &asked.query)),
        },
        Action::Respond(respond) => Verdict::Respond { route: name, status: respond.status },
        Action::Serve(serve) => Verdict::Serve { route: name, pages: serve.name().to_owned() },
    }
}

/// A location whose query is fit to be shown.
fn masked(mask: &Mask, location: &str) -> String {
    let (rest, fragment) = location.find('#').map_or((location, ""), |at| location.split_at(at));
    match rest.split_once('?') {
        Some((before, query)) => format!("{before}?{}{fragment}", mask.query(query)),
        None => location.to_owned(),
    }
}

fn target(
    config: &Config,
    asked: &Asked,
    route: &Route,
    path_and_query: &str,
    share: &Share,
    total: u64,
) -> Option<Target> {
    let upstream = config.upstreams.get(share.upstream)?;
    let scheme = if upstream.tls.is_some() { "https" } else { "http" };
    let urls = upstream.endpoints.iter().map(|endpoint| {
        let srv = if endpoint.srv { "+srv" } else { "" };
        format!("{scheme}{srv}://{}{path_and_query}", endpoint.address)
    });
    let host = match (&route.forward_host, &*upstream.endpoints) {
        (ForwardHost::Keep, _) => asked.authority.clone(),
        (ForwardHost::Name(name), _) => name.to_string(),
        (ForwardHost::Target, [only]) => only.address.to_string(),
        (ForwardHost::Target, _) => "the endpoint's address".to_owned(),
    };
    Some(Target {
        upstream: upstream.name.to_string(),
        share: percent(u64::from(share.weight), total),
        urls: urls.collect(),
        host,
    })
}

/// Of 100, with one decimal where it is not whole.
fn percent(weight: u64, total: u64) -> String {
    let tenths = (weight * 1000 + total / 2).checked_div(total).unwrap_or_default();
    if tenths.is_multiple_of(10) { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
}
