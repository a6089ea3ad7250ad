//! Warnings about routes and limits that `identity` makes vain, and about guards that lead past themselves. What they say is
//! certain, but they do not find everything.

use std::sync::Arc;

use super::{Identity, outgoing};
use crate::config::fields::Fields;
use crate::config::policy::{Key, Policies, Scope};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::{Entry, Node, Value};
use crate::config::{Action, HostPattern, PathPattern, Route, Server, ValueMatch};

/// How many routes that are open to all are compared with those that are not.
const MAX_OPEN: usize = 32;

/// Notes them all; nothing else is wrong with the config.
pub(super) fn warn(
    fields: &mut Fields<'_, '_>,
    identity: &Identity,
    server: &Server,
    inherited: &Arc<Policies>,
    routes: &[Route],
) {
    warn_stripped(fields, identity, inherited, routes);
    if !server.merge_slashes {
        warn_gone_round(fields, routes);
    }
}

/// What looks at a header that no client can send.
fn warn_stripped(fields: &mut Fields<'_, '_>, identity: &Identity, inherited: &Arc<Policies>, routes: &[Route]) {
    let copied = || identity.forward.iter().flat_map(|forward| &forward.copy);
    let is_stripped = |name: &str| identity.send.headers().chain(copied()).any(|ours| outgoing::are_alike(ours, name));
    let counted = |policies: &Policies| {
        let rules = policies.rate_limit.value.iter().flat_map(|limit| &limit.rules);
        // Those that count after `auth` find what it says.
        let early = rules.filter(|rule| {
            let by_principal = rule.by.iter().any(|by| matches!(by, Key::User | Key::ApiKey));
            !by_principal && rule.exempt_users.is_empty() && rule.exempt_keys.is_empty()
        });
        let mut names = early.flat_map(|rule| &rule.by).filter_map(|by| {
            let Key::Header(name) = by else { return None };
            is_stripped(name).then(|| name.clone())
        });
        names.next()
    };
    if let Some(name) = counted(inherited) {
        fields.warn("rate_limit", never_there(&name, "this limit finds none to count by"));
    }
    on_items(fields, |reader, index, item| {
        let Some(route) = routes.get(index) else { return };
        let needs = |value: &ValueMatch| !matches!(value, ValueMatch::Present(false));
        let vain = route.headers.iter().find(|header| needs(&header.value) && is_stripped(&header.name));
        if let Some(header) = vain {
            warn_at(reader, item, "headers", never_there(&header.name, "no request can match this route"));
        }
        if matches!(route.policies.rate_limit.scope, Scope::Route(_))
            && let Some(name) = counted(&route.policies)
        {
            warn_at(reader, item, "rate_limit", never_there(&name, "this limit finds none to count by"));
        }
    });
}

fn never_there(name: &str, so: &str) -> Fault {
    Fault::new(
        Code::Unused,
        format!("{so}: the header `{name}` is taken off every request, since only we may say who it is"),
    )
    .hint("name another header; or let `auth` on the route ask for roles and scopes, and limits count `by: user`")
}

/// A guard that a doubled slash leads past, to the same servers. One warning is enough.
fn warn_gone_round(fields: &mut Fields<'_, '_>, routes: &[Route]) {
    let catches_all = |route: &&Route| matches!(&route.path, PathPattern::Prefix(path) if &**path == "/");
    let open: Vec<&Route> = routes.iter().filter(catches_all).filter(|route| is_open(route)).take(MAX_OPEN).collect();
    if open.is_empty() {
        return;
    }
    let found = routes.iter().enumerate().filter(|(_, route)| is_guarded(route)).find_map(|(index, guarded)| {
        let leads_past = |open: &&&Route| shares_hosts(open, guarded) && shares_upstream(open, guarded);
        open.iter().find(leads_past).map(|open| (index, guarded, open))
    });
    let Some((at, guarded, open)) = found else { return };
    let path = match &guarded.path {
        PathPattern::Prefix(path) | PathPattern::Exact(path) => path,
        PathPattern::Regex(_) => return,
    };
    let message = format!(
        "`/{path}` is not under this route, but takes the route `{}`, which asks for nobody and leads to the same upstream: a server there that reads it as `{path}` lets everybody in past the `auth` of `{}`",
        open.name, guarded.name
    );
    let fault = Fault::new(Code::MissingAuth, message)
        .hint("set `server.merge_slashes: true`; or ask for somebody at the top level, and write `auth: off` on what is public");
    on_items(fields, |reader, index, item| {
        if index == at {
            reader.warn(item.place, fault.clone());
        }
    });
}

fn is_open(route: &Route) -> bool {
    route.policies.auth.value.as_ref().is_none_or(|auth| {
        auth.optional && auth.needs.roles.is_empty() && auth.needs.scopes.is_empty() && auth.methods.is_empty()
    })
}

fn is_guarded(route: &Route) -> bool {
    let below = matches!(&route.path, PathPattern::Prefix(path) | PathPattern::Exact(path) if &**path != "/");
    below && route.policies.auth.value.as_ref().is_some_and(|auth| !auth.optional)
}

fn shares_hosts(open: &Route, guarded: &Route) -> bool {
    let has = |host: &HostPattern| guarded.hosts.contains(host);
    open.hosts.is_empty() || open.hosts.iter().any(has)
}

fn shares_upstream(one: &Route, other: &Route) -> bool {
    match (&one.action, &other.action) {
        (Action::Forward(one), Action::Forward(other)) => {
            one.iter().any(|share| other.iter().any(|theirs| theirs.upstream == share.upstream))
        }
        _ => false,
    }
}

/// Each route as it is written. There are as many as were read: nothing is wrong with any.
fn on_items<'a>(fields: &mut Fields<'_, 'a>, mut each: impl FnMut(&mut Reader<'a>, usize, &'a Node<'a>)) {
    let Some(Value::List(items)) = fields.written("routes").map(|entry| &entry.value.value) else { return };
    fields.reader().under_declared("routes", |reader| {
        for (index, item) in items.iter().enumerate() {
            reader.at(index, |reader| each(reader, index, item));
        }
    });
}

fn warn_at<'a>(reader: &mut Reader<'a>, item: &'a Node<'a>, key: &'static str, fault: Fault) {
    let Value::Map(entries) = &item.value else { return };
    let is_key = |entry: &&Entry<'_>| &*entry.key == key;
    if let Some(entry) = entries.iter().find(is_key) {
        reader.under_declared(key, |reader| reader.warn(entry.key_place, fault));
    }
}
