//! Warnings about `identity` and `auth` that only the whole config shows.

use std::sync::Arc;

use super::{Identity, Provider, TokenPlace, address};
use crate::config::fields::Fields;
use crate::config::policy::{Combine, Key, Policies, Scope};
use crate::config::problem::Code;
use crate::config::report::Fault;
use crate::config::surroundings::Surroundings;
use crate::config::tree::Value;
use crate::config::{Listen, Route, Server};

/// Notes them all; nothing else is wrong with the config.
pub(in crate::config) fn warn(
    fields: &mut Fields<'_, '_>,
    around: &Surroundings,
    server: &Server,
    inherited: &Arc<Policies>,
    routes: &[Route],
) {
    warn_unused(fields, around);
    super::reach::warn(fields, &around.identity, server, inherited, routes);
    // With one in front of us, TLS may end there.
    if server.trusted_proxies.is_empty() {
        warn_in_clear(fields, &server.listen, inherited, routes);
    }
    let shares = |route: &&Route| route.policies.rate_limit.scope == Scope::TopLevel;
    let mut sharing = routes.iter().filter(shares).peekable();
    if sharing.peek().is_some()
        && follows_identity(inherited)
        && sharing.all(|route| route.policies.auth.value.is_none())
    {
        fields.warn("rate_limit", nobody_known("no route that it holds on has `auth`"));
    }
}

/// A route's own limit that counts by who it is, where nobody is recognised.
pub(in crate::config) fn warn_route(fields: &mut Fields<'_, '_>, policies: &Policies) {
    let is_own = matches!(policies.rate_limit.scope, Scope::Route(_));
    if is_own && policies.auth.value.is_none() && follows_identity(policies) {
        fields.warn("rate_limit", nobody_known("this route has no `auth`"));
    }
}

/// Providers of `all_of` that look into `Authorization` alone, each behind a word of its own: a request has one (RFC 9110 section 11.6.2).
pub(in crate::config) fn check_all_of(fields: &mut Fields<'_, '_>, policies: &Policies, identity: &Identity) {
    let Some(auth) = policies.auth.value.as_deref().filter(|auth| auth.combine == Combine::All) else { return };
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for provider in &auth.providers {
        let Some(words) = authorization_words(identity, provider) else { continue };
        let name = identity.name_of(provider);
        let apart = |(_, others): &&(String, Vec<String>)| !words.iter().any(|word| others.contains(word));
        let Some((other, _)) = seen.iter().find(apart) else {
            seen.push((name, words));
            continue;
        };
        let message = format!(
            "`{other}` and `{name}` both look into the header `authorization` alone, which has one value: together they let nobody in"
        );
        // A password stands nowhere else (RFC 7617).
        let moved = if *provider == Provider::Basic { other } else { &name };
        let hint = format!("give `identity.{moved}` another place, such as `from: {{header: x-token}}`");
        return fields.fault("auth", Fault::new(Code::Conflict, message).hint(hint));
    }
}

/// The words (in lower case) before what a provider reads in `Authorization`; none where it reads something else too.
fn authorization_words(identity: &Identity, provider: &Provider) -> Option<Vec<String>> {
    match provider {
        Provider::Basic => return Some(vec!["basic".to_owned()]),
        Provider::Accounts => return Some(vec!["bearer".to_owned()]),
        Provider::Login(_) | Provider::Forward | Provider::Certificate => return None,
        Provider::Jwt(_) | Provider::ApiKey | Provider::Introspection => {}
    }
    let word = |place: &TokenPlace| match place {
        TokenPlace::Header { name, scheme: Some(word) } if **name == *"authorization" => {
            Some(word.to_ascii_lowercase())
        }
        TokenPlace::Header { .. } | TokenPlace::Cookie(_) | TokenPlace::Query(_) => None,
    };
    identity.places(provider).iter().map(word).collect()
}

fn nobody_known(why: &str) -> Fault {
    Fault::new(Code::Unused, format!("`user` and `api_key` are never known here: {why}"))
        .hint("add `auth`, with `optional: true` to let everybody in; or count by something else")
}

fn follows_identity(policies: &Policies) -> bool {
    let rules = policies.rate_limit.value.iter().flat_map(|limit| &limit.rules);
    rules.flat_map(|rule| &rule.by).any(|key| matches!(key, Key::User | Key::ApiKey))
}

fn warn_unused(fields: &mut Fields<'_, '_>, around: &Surroundings) {
    let Some(identity) = fields.written("identity") else { return };
    let Value::Map(sections) = &identity.value.value else { return };
    fields.reader().under("identity", |reader| {
        let unused = |name: &str| {
            Fault::new(Code::Unused, "no route's `auth` names it: nobody is recognised by it")
                .hint(format!("write `auth: {name}` on a route or at the top level, or remove it"))
        };
        for section in sections {
            let key = &*section.key;
            match key {
                "jwt" | "login" => {
                    let Value::Map(named) = &section.value.value else { continue };
                    reader.under(key, |reader| {
                        for one in named {
                            let name = format!("{key}.{}", one.key);
                            if !around.providers.is_used(&name) {
                                reader.under(&one.key, |reader| reader.warn(one.key_place, unused(&name)));
                            }
                        }
                    });
                }
                // Accounts have endpoints of their own.
                "api_key" | "basic" | "introspection" | "forward"
                    if around.providers.names().contains(&key) && !around.providers.is_used(key) =>
                {
                    reader.under(key, |reader| reader.warn(section.key_place, unused(key)));
                }
                "session" if around.identity.login.is_empty() => {
                    let fault =
                        Fault::new(Code::Unused, "nobody logs in here: `session` is for `login`").hint("remove it");
                    reader.under(key, |reader| reader.warn(section.key_place, fault));
                }
                _ => {}
            }
        }
    });
}

/// Credentials that everybody on the way can read. One warning is enough.
fn warn_in_clear(fields: &mut Fields<'_, '_>, listen: &[Listen], inherited: &Arc<Policies>, routes: &[Route]) {
    let is_open = |listen: &&Listen| {
        let stays_here = address::is_loopback(&listen.address.ip().to_string());
        listen.tls.is_none() && listen.https_redirect.is_none() && listen.proxy_protocol.is_none() && !stays_here
    };
    let Some(open) = listen.iter().find(is_open) else { return };
    let message = format!(
        "credentials are asked for, and `server.listen` {} takes them in clear text: everybody on the way can read them",
        open.address
    );
    let fault = Fault::new(Code::ClearSecret, message)
        .hint("give the listener `tls`, or listen on 127.0.0.1 behind something that has it");
    if inherited.auth.value.is_some() {
        return fields.warn("auth", fault);
    }
    let Some(Value::List(items)) = fields.written("routes").map(|entry| &entry.value.value) else { return };
    // As many routes as items: nothing is wrong with any.
    let asks = |route: &Route| route.policies.auth.value.is_some();
    let Some((index, item)) = items.iter().enumerate().find(|(index, _)| routes.get(*index).is_some_and(asks)) else {
        return;
    };
    let Value::Map(entries) = &item.value else { return };
    let Some(auth) = entries.iter().find(|entry| &*entry.key == "auth") else { return };
    fields.reader().under_declared("routes", |reader| {
        reader.at(index, |reader| reader.under_declared("auth", |reader| reader.warn(auth.key_place, fault)));
    });
}
