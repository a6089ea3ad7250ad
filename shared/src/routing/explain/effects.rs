//! The policies in force and what they would do with the request; what they would do where things fail is in `failures`. Values of headers that a policy sets are not told: they may
//! come from secrets.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::mask::Mask;
use crate::config::policy::{
    Access, BodyLimit, CertificatePattern, Cors, HeaderEdit, Headers, Policies, RateLimit, Scope, SecurityHeaders,
    Setting,
};
use crate::config::{Config, Route, show_size};
use crate::control::report::PolicyLine;
use crate::decide::access::{admits_address, denies};
use crate::decide::cors::CorsVerdict;

use super::asked::Asked;
use super::failures::Failures;
use super::{admission, cors_verdict, limits, quoted, suspicion};

/// A line for every policy that somebody wrote, in the order in which they run; a rate limit has one for each rule.
pub(super) fn lines(config: &Config, route: Option<&Route>, asked: &Asked, path: &str, mask: &Mask) -> Vec<PolicyLine> {
    let policies = route.map_or(&config.policies, |route| &route.policies);
    let Policies { access, cors, threats, auth, rate_limit, body_limit, headers, security_headers, .. } = policies;
    let mut lines = Vec::new();
    add(&mut lines, "security_headers", security_headers, |policy| vec![security(policy)]);
    add(&mut lines, "cors", cors, |policy| vec![cross_origin(policy, asked)]);
    add(&mut lines, "access", access, |policy| vec![by_address(policy, asked.client)]);
    add(&mut lines, "threats", threats, |policy| vec![suspicion::effect(policy, asked, path)]);
    add(&mut lines, "auth", auth, |policy| vec![admission::auth(config, policy, asked)]);
    add(&mut lines, "rate_limit", rate_limit, |policy: &RateLimit| {
        policy.rules.iter().map(|rule| limits::rule(rule, asked, mask)).collect()
    });
    add(&mut lines, "body_limit", body_limit, |policy| vec![body(*policy, asked)]);
    add(&mut lines, "headers", headers, |policy| vec![edits(policy)]);
    Failures { config, route, asked, mask }.add_to(&mut lines, policies);
    lines
}

/// The lines of a policy that somebody wrote.
pub(super) fn add<T>(
    lines: &mut Vec<PolicyLine>,
    policy: &str,
    setting: &Setting<T>,
    effects: impl FnOnce(&T) -> Vec<String>,
) {
    let effects = match (&setting.value, &setting.scope) {
        (Some(value), _) => effects(value),
        (None, Scope::Default) => return,
        (None, Scope::TopLevel | Scope::Route(_)) => vec!["off".to_owned()],
    };
    let scope = match &setting.scope {
        Scope::Default => "default".to_owned(),
        Scope::TopLevel => "top level".to_owned(),
        Scope::Route(name) => format!("route {name}"),
    };
    lines.extend(effects.into_iter().map(|effect| PolicyLine {
        policy: policy.to_owned(),
        scope: scope.clone(),
        origin: setting.at.to_string(),
        effect,
    }));
}

fn security(policy: &SecurityHeaders) -> String {
    let names = joined(policy.set.iter().map(|(name, _)| name));
    let hsts = if policy.hsts.is_some() { "; strict-transport-security over TLS" } else { "" };
    format!("sets {}{hsts}", if names.is_empty() { "nothing" } else { &names })
}

pub(super) fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn cross_origin(policy: &Cors, asked: &Asked) -> String {
    let grants = |headers: &[(&'static str, String)]| {
        let granted = headers.iter().filter(|(name, _)| *name != "vary");
        joined(granted.map(|(name, value)| format!("{name}: {value}")))
    };
    match (cors_verdict(policy, asked), asked.header("origin")) {
        (CorsVerdict::Preflight(headers), _) if grants(&headers).is_empty() => {
            "answers this preflight with 204 and grants nothing".to_owned()
        }
        (CorsVerdict::Preflight(headers), _) => format!("answers this preflight with 204: {}", grants(&headers)),
        (CorsVerdict::Actual { headers, .. }, _) if !headers.is_empty() => format!("grants {}", grants(&headers)),
        (CorsVerdict::Actual { .. }, Some(origin)) => format!("does not let origin {} in", quoted(origin)),
        (CorsVerdict::Actual { .. }, None) => "nothing to grant: the request has no origin".to_owned(),
    }
}

fn by_address(policy: &Access, client: IpAddr) -> String {
    match (admits_address(policy, client), denies(policy, client)) {
        (true, _) if !policy.certificates.is_empty() => {
            format!("lets {client} in with a certificate that holds {}", any_of(&policy.certificates))
        }
        (true, _) => format!("lets {client} in"),
        (false, true) => format!("refuses {client}: it is in the deny list"),
        (false, false) => format!("refuses {client}: it is not in the allow list"),
    }
}

fn any_of(patterns: &[CertificatePattern]) -> String {
    let shown = patterns.iter().map(|pattern| match pattern {
        CertificatePattern::Any => "any name".to_owned(),
        CertificatePattern::Exact(name) => quoted(name),
        CertificatePattern::Below(domain) => quoted(&format!("*{domain}")),
        CertificatePattern::Starts(start) => quoted(&format!("{start}*")),
    });
    shown.collect::<Vec<_>>().join(" or ")
}

fn body(policy: BodyLimit, asked: &Asked) -> String {
    let limit = show_size(policy.max_bytes);
    let announced: Option<u64> = asked.header("content-length").and_then(|text| text.parse().ok());
    match announced {
        Some(bytes) if bytes > policy.max_bytes => {
            format!("refuses this body with 413: {bytes} bytes are over {limit}")
        }
        Some(_) | None => format!("refuses a body over {limit} with 413"),
    }
}

fn edits(policy: &Headers) -> String {
    let side = |name: &str, edits: &[HeaderEdit]| {
        let told = joined(edits.iter().map(|edit| match edit {
            HeaderEdit::Remove(name) => verb("removes", name),
            HeaderEdit::Set(name, _) => verb("sets", name),
            HeaderEdit::Add(name, _) => verb("adds", name),
        }));
        (!told.is_empty()).then(|| format!("{name}: {told}"))
    };
    let sides = [side("request", &policy.request), side("response", &policy.response)];
    let told: Vec<String> = sides.into_iter().flatten().collect();
    if told.is_empty() { "changes nothing".to_owned() } else { told.join("; ") }
}

fn verb(verb: &str, name: &Arc<str>) -> String {
    format!("{verb} {name}")
}
