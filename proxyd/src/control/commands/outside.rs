//! How those do whom a request may depend on and who are not upstreams: the shared store, and whoever says who somebody is.

use std::sync::Arc;

use shared::config::Config;
use shared::config::identity::{JwtKeys, LoginKind, Provider};
use shared::control::report::OutsideState;

use super::rfc3339;
use crate::fleet::{Engine, State};
use crate::identity::Recogniser;
use crate::snapshot::Snapshot;

/// Told of whoever is asked when a request needs it, and of whom nothing is kept.
const WHEN_NEEDED: &str = "asked when it is needed; `proxyctl doctor` looks whether it is there";

/// All that the config in force names. The store is asked now.
pub(super) async fn states(snapshot: &Snapshot) -> Vec<OutsideState> {
    let mut all = Vec::new();
    if let Some(engine) = &snapshot.redis {
        all.push(store(engine).await);
    }
    all.extend(of_identity(snapshot));
    all
}

async fn store(engine: &Arc<Engine>) -> OutsideState {
    let breaker = match engine.state() {
        State::Closed => "",
        State::Open => "; it is not asked for the moment",
        State::HalfOpen => "; one question is tried",
    };
    let trouble = engine.answers().await.err();
    let told = match trouble {
        None => "answers".to_owned(),
        Some(error) => format!("does not answer ({}){breaker}", error.kind()),
    };
    OutsideState { name: "redis".to_owned(), place: engine.place(), is_well: Some(trouble.is_none()), told }
}

fn of_identity(snapshot: &Snapshot) -> Vec<OutsideState> {
    let config: &Config = &snapshot.checked.config;
    let identity = &config.identity;
    let mut all = Vec::new();
    for (index, jwt) in identity.jwt.iter().enumerate() {
        let JwtKeys::JwksUrl { url, .. } = &jwt.keys else { continue };
        let found = snapshot.identities.find(&Provider::Jwt(index));
        let Some((_, name, recogniser)) = found else { continue };
        let Recogniser::Jwt(verifier) = &*recogniser else { continue };
        let counts = verifier.counts();
        let fetches = counts.fetches.unwrap_or_default();
        let fetched = fetches.fresh_s.map_or_else(
            || "none was ever fetched".to_owned(),
            |fresh_s| format!("fetched last at {}", rfc3339(fresh_s.saturating_mul(1_000_000))),
        );
        let failed = match fetches.failed {
            0 => String::new(),
            1 => "; a fetch has failed, the log says why".to_owned(),
            count => format!("; {count} fetches have failed, the log says why"),
        };
        let keys = if counts.keys == 1 { "1 key".to_owned() } else { format!("{} keys", counts.keys) };
        let told = format!("{keys}, {fetched}{failed}");
        all.push(OutsideState { name: name.to_string(), place: bare(url), is_well: Some(counts.keys > 0), told });
    }
    let asked = |name: &str, url: &str| OutsideState {
        name: name.to_owned(),
        place: bare(url),
        is_well: None,
        told: WHEN_NEEDED.to_owned(),
    };
    for login in &identity.login {
        let place = match &login.kind {
            LoginKind::Oidc { issuer } => issuer,
            LoginKind::GitHub { api_url, .. } => api_url,
        };
        all.push(asked(&format!("login.{}", login.name), place));
    }
    all.extend(identity.introspection.iter().map(|one| asked("introspection", &one.url)));
    all.extend(identity.forward.iter().map(|one| asked("forward", &one.url)));
    all
}

/// An address without its query, in which something secret may stand.
fn bare(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
