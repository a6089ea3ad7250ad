//! Who would have to come. Whether credentials are good is not looked at here: only which of them the request brings, and what
//! would be asked of whoever they stand for. None is shown.

use std::borrow::Cow;
use std::sync::Arc;

use crate::audit::mask::{Mask, percent_decoded};
use crate::config::Config;
use crate::config::identity::{Provider, TokenPlace};
use crate::config::policy::{Auth, Combine, METHOD_OVERRIDES, Needs, Tunnels};
use crate::routing::matcher::values;

use super::asked::Asked;
use super::effects::joined;
use super::quoted;

/// How our own API keys begin: such a bearer token is no other provider's.
const KEY_START: &str = "pk_";

/// What the policy `auth` asks of the request.
pub(super) fn auth(config: &Config, policy: &Auth, asked: &Asked) -> String {
    let names: Vec<String> = policy.providers.iter().map(|provider| config.identity.name_of(provider)).collect();
    let word = match policy.combine {
        Combine::Any => " or ",
        Combine::All => " and ",
    };
    let brought: Vec<String> = policy
        .providers
        .iter()
        .zip(&names)
        .filter_map(|(provider, name)| brings(config, provider, asked).map(|what| format!("{what} for {name}")))
        .collect();
    let needs = needs(policy, asked);
    // Nobody has no role and no scope.
    let is_optional = policy.optional && needs.iter().all(|(_, needs)| **needs == Needs::default());
    let optional = if is_optional { "takes" } else { "needs" };
    let outcome = if !brought.is_empty() {
        let are = if brought.len() == 1 { "it is" } else { "they are" };
        format!("the request brings {}; whether {are} good is not looked at", brought.join(", "))
    } else if is_optional {
        "the request brings nothing and goes on as nobody".to_owned()
    } else {
        nothing(policy)
    };
    let needed: Vec<String> = needs
        .iter()
        .filter(|(_, needs)| **needs != Needs::default())
        .map(|(method, needs)| format!("; {method} needs {}", told(needs)))
        .collect();
    let tunnels = match policy.tunnels {
        Tunnels::UntilExpired if asked.header("upgrade").is_some() => {
            "; a tunnel ends when what it was opened with expires"
        }
        Tunnels::UntilExpired | Tunnels::UntilRevoked => "",
    };
    format!("{optional} {}: {outcome}{needed}{tunnels}", names.join(word), needed = needed.concat())
}

/// What is needed for the request's own method, and for each that a header names beside it; the method, fit to be shown.
fn needs<'a>(policy: &'a Auth, asked: &Asked) -> Vec<(String, &'a Needs)> {
    let mut all = vec![(asked.method.clone(), policy.needs(&asked.method))];
    if policy.methods.is_empty() {
        return all;
    }
    for header in METHOD_OVERRIDES {
        let lines = asked.lines().filter(|(name, _)| name.replace('_', "-") == *header);
        let members = lines.flat_map(|(_, value)| value.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
        all.extend(members.filter(|member| !member.is_empty()).map(|member| {
            let method = std::str::from_utf8(member).unwrap_or_default();
            (format!("{}, which {header} names,", quoted(method)), policy.needs(method))
        }));
    }
    all
}

/// The query that goes upstream: without what providers read, where their credentials do not go on.
pub(super) fn query_upstream<'a>(config: &Config, policy: Option<&Auth>, query: &'a str) -> Cow<'a, str> {
    let Some(policy) = policy.filter(|policy| !policy.forward_credentials) else { return Cow::Borrowed(query) };
    let places = policy.providers.iter().flat_map(|provider| config.identity.places(provider));
    let names: Vec<&Arc<str>> = places
        .filter_map(|place| match place {
            TokenPlace::Query(name) => Some(name),
            TokenPlace::Header { .. } | TokenPlace::Cookie(_) => None,
        })
        .collect();
    let stays = |pair: &&str| {
        let found = percent_decoded(pair.split('=').next().unwrap_or_default().as_bytes());
        !names.iter().any(|name| *found == *name.as_bytes())
    };
    if query.split('&').all(|pair| stays(&pair)) {
        return Cow::Borrowed(query);
    }
    Cow::Owned(query.split('&').filter(stays).collect::<Vec<_>>().join("&"))
}

fn nothing(policy: &Auth) -> String {
    let has = |wanted: fn(&Provider) -> bool| policy.providers.iter().any(wanted);
    if has(|provider| *provider == Provider::Certificate) {
        "the request brings nothing; whether its client shows a certificate is not known here".to_owned()
    } else if has(|provider| matches!(provider, Provider::Login(_))) {
        "the request brings nothing: a browser is sent to log in, anything else is refused with 401".to_owned()
    } else {
        "the request brings nothing and is refused with 401".to_owned()
    }
}

fn told(needs: &Needs) -> String {
    let roles = match needs.roles.as_slice() {
        [] => None,
        [one] => Some(format!("the role {one}")),
        several => Some(format!("one of the roles {}", joined(several))),
    };
    let scopes = match needs.scopes.as_slice() {
        [] => None,
        [one] => Some(format!("the scope {one}")),
        several => Some(format!("the scopes {}", joined(several))),
    };
    roles.into_iter().chain(scopes).collect::<Vec<_>>().join(" and ")
}

/// What the request brings for a provider, masked.
fn brings(config: &Config, provider: &Provider, asked: &Asked) -> Option<String> {
    let identity = &config.identity;
    let bearer = [TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) }];
    let is_other = |value: &str| !value.starts_with(KEY_START);
    match provider {
        Provider::Jwt(index) => token(&identity.jwt.get(*index)?.from, asked, is_other),
        Provider::Introspection => token(&identity.introspection.as_ref()?.from, asked, is_other),
        Provider::Accounts => token(&bearer, asked, is_other),
        Provider::ApiKey => identity.api_key.as_ref()?.from.iter().find_map(|place| {
            // A bearer token that does not look like one of our keys is none.
            let is_bearer = matches!(place, TokenPlace::Header { scheme: Some(_), .. });
            token(std::slice::from_ref(place), asked, |value| !is_bearer || value.starts_with(KEY_START))
        }),
        Provider::Basic => {
            let place = TokenPlace::Header { name: "authorization".into(), scheme: Some("Basic".into()) };
            token(&[place], asked, |_| true)
        }
        Provider::Login(_) => {
            let name = &identity.session.cookie;
            let places = [TokenPlace::Cookie(format!("__Host-{name}").into()), TokenPlace::Cookie(name.clone())];
            token(&places, asked, |_| true)
        }
        Provider::Forward => Some(format!("whatever {} is asked about", quoted(&identity.forward.as_ref()?.url))),
        Provider::Certificate => None,
    }
}

/// The first of the places where something stands that may be meant.
fn token(places: &[TokenPlace], asked: &Asked, is_meant: impl Fn(&str) -> bool) -> Option<String> {
    places.iter().find_map(|place| {
        let (what, value): (String, Cow<'_, str>) = match place {
            TokenPlace::Header { name, scheme: None } => (format!("header {name}"), asked.header(name)?.into()),
            TokenPlace::Header { name, scheme: Some(scheme) } => {
                let (word, value) = asked.header(name)?.split_once(' ')?;
                word.eq_ignore_ascii_case(scheme).then_some(())?;
                (format!("header {name} ({scheme})"), value.trim_start().into())
            }
            TokenPlace::Cookie(name) => (format!("cookie {name}"), cookie(asked.header("cookie")?, name)?.into()),
            TokenPlace::Query(name) => {
                let value = values(&asked.query, name).next()?;
                (format!("query parameter {name}"), String::from_utf8_lossy(&value).into_owned().into())
            }
        };
        is_meant(&value).then(|| format!("{what} [{}]", Mask::hidden(value.len())))
    })
}

fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}
