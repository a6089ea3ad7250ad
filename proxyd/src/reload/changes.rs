//! What differs between two configs, as their author would say it. Pure.

use std::fmt::Write as _;

use hashbrown::HashMap;
use shared::config::identity::Identity;
use shared::config::policy::{Auth, Fallback, FallbackTo, Mirror};
use shared::config::{Action, Config, Listen, Policies, Route, Scope, Setting, Share};
use shared::control::report::{Changes, Delta};

use super::lives_on::{MOVES, kept};

/// What `next` changes over `previous`. A policy that routes inherit is told of once, by its name.
#[must_use]
pub fn between(previous: &Config, next: &Config) -> Changes {
    Changes {
        routes: delta(
            &previous.routes,
            &next.routes,
            |route| &route.name,
            |a, b| is_same_route((previous, a), (next, b)),
        ),
        upstreams: delta(&previous.upstreams, &next.upstreams, |upstream| &upstream.name, |a, b| a.is_same(b)),
        listeners: delta(
            &listeners(previous),
            &listeners(next),
            |(name, _)| name,
            |(_, before), (_, after)| before == after,
        ),
        sections: sections(previous, next),
        kept: kept(previous, next),
    }
}

/// The same in one line.
#[must_use]
pub fn summary(changes: &Changes) -> String {
    let mut parts = Vec::new();
    for (noun, delta) in
        [("route", &changes.routes), ("upstream", &changes.upstreams), ("listener", &changes.listeners)]
    {
        for (names, verb) in [(&delta.added, "added"), (&delta.changed, "changed"), (&delta.removed, "removed")] {
            match names.len() {
                0 => {}
                1 => parts.push(format!("1 {noun} {verb}")),
                many => parts.push(format!("{many} {noun}s {verb}")),
            }
        }
    }
    if !changes.sections.is_empty() {
        parts.push(format!("{} changed", changes.sections.join(", ")));
    }
    parts.extend(changes.kept.iter().filter(|kept| kept.contains(MOVES)).cloned());
    if parts.is_empty() { "no change in meaning".to_owned() } else { parts.join(", ") }
}

/// Fields that differ and cannot change while running.
#[must_use]
pub fn fixed(previous: &Config, next: &Config) -> Vec<&'static str> {
    [
        ("server.workers", previous.server.workers != next.server.workers),
        ("server.state_dir", previous.server.state_dir != next.server.state_dir),
        ("audit.path", previous.audit.path != next.audit.path),
        ("admin.socket", previous.admin.socket != next.admin.socket),
        ("admin.socket_mode", previous.admin.socket_mode != next.admin.socket_mode),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

/// Whether two routes say the same, wherever they say so.
fn is_same_route((previous, before): (&Config, &Route), (next, after): (&Config, &Route)) -> bool {
    let Route {
        name: _,
        at: _,
        hosts,
        path,
        methods,
        headers,
        query,
        priority,
        is_implied,
        encoded_slash,
        forward_host,
        action,
        rewrite,
        timeouts,
        retry,
        policies,
    } = before;
    *hosts == after.hosts
        && *path == after.path
        && *methods == after.methods
        && *headers == after.headers
        && *query == after.query
        && *priority == after.priority
        && *is_implied == after.is_implied
        && *encoded_slash == after.encoded_slash
        && *forward_host == after.forward_host
        && *rewrite == after.rewrite
        && *timeouts == after.timeouts
        && *retry == after.retry
        && is_same_action((previous, action), (next, &after.action))
        && are_same_policies((previous, policies), (next, &after.policies))
}

fn is_same_action((previous, before): (&Config, &Action), (next, after): (&Config, &Action)) -> bool {
    match (before, after) {
        (Action::Forward(before), Action::Forward(after)) => {
            // Upstreams may have changed places.
            let is_same = |(a, b): (&Share, &Share)| {
                let names = (upstream_name(previous, a.upstream), upstream_name(next, b.upstream));
                a.weight == b.weight && a.path_prefix == b.path_prefix && names.0 == names.1
            };
            before.len() == after.len() && before.iter().zip(after).all(is_same)
        }
        (Action::Redirect(before), Action::Redirect(after)) => before == after,
        (Action::Respond(before), Action::Respond(after)) => before == after,
        (Action::Serve(before), Action::Serve(after)) => before == after,
        (Action::Forward(_) | Action::Redirect(_) | Action::Respond(_) | Action::Serve(_), _) => false,
    }
}

fn upstream_name(config: &Config, index: usize) -> Option<&str> {
    config.upstreams.get(index).map(|upstream| &*upstream.name)
}

/// Compares the policies that the routes write themselves.
fn are_same_policies(before: (&Config, &Policies), after: (&Config, &Policies)) -> bool {
    differing(before, after, true).is_empty()
}

/// The policies that differ, by name. Where `own` is asked for, what is inherited is left out: of that the top level tells.
fn differing(
    (previous, before): (&Config, &Policies),
    (next, after): (&Config, &Policies),
    own: bool,
) -> Vec<&'static str> {
    fn same_by<T>(
        before: &Setting<T>,
        after: &Setting<T>,
        own: bool,
        is_same: impl FnOnce(Option<&T>, Option<&T>) -> bool,
    ) -> bool {
        let [is_own, stays_own] = [before, after].map(|setting| !own || matches!(setting.scope, Scope::Route(_)));
        is_own == stays_own && (!is_own || is_same(before.value.as_deref(), after.value.as_deref()))
    }
    fn same<T: PartialEq>(before: &Setting<T>, after: &Setting<T>, own: bool) -> bool {
        same_by(before, after, own, |before, after| before == after)
    }
    let Policies {
        access,
        cors,
        threats,
        auth,
        rate_limit,
        body_limit,
        headers,
        security_headers,
        fault,
        mirror,
        fallback,
    } = before;
    let shown_auth = |a: Option<&Auth>, b: Option<&Auth>| auth_text(previous, a) == auth_text(next, b);
    let shown_mirrors = |a: Option<&Mirror>, b: Option<&Mirror>| mirror_text(previous, a) == mirror_text(next, b);
    let shown_fallbacks =
        |a: Option<&Fallback>, b: Option<&Fallback>| fallback_text(previous, a) == fallback_text(next, b);
    let all = [
        ("access", same(access, &after.access, own)),
        ("cors", same(cors, &after.cors, own)),
        ("threats", same(threats, &after.threats, own)),
        ("auth", same_by(auth, &after.auth, own, shown_auth)),
        ("rate_limit", same(rate_limit, &after.rate_limit, own)),
        ("body_limit", same(body_limit, &after.body_limit, own)),
        ("headers", same(headers, &after.headers, own)),
        ("security_headers", same(security_headers, &after.security_headers, own)),
        ("fault", same(fault, &after.fault, own)),
        ("mirror", same_by(mirror, &after.mirror, own, shown_mirrors)),
        ("fallback", same_by(fallback, &after.fallback, own, shown_fallbacks)),
    ];
    all.into_iter().filter_map(|(name, is_same)| (!is_same).then_some(name)).collect()
}

/// With the upstream's name: upstreams may have changed places.
fn mirror_text(config: &Config, mirror: Option<&Mirror>) -> String {
    let name = mirror.and_then(|mirror| upstream_name(config, mirror.upstream));
    let rest = mirror.map(|mirror| Mirror { upstream: 0, ..mirror.clone() });
    format!("{name:?} {rest:?}")
}

/// With the upstream's name: upstreams may have changed places.
fn fallback_text(config: &Config, fallback: Option<&Fallback>) -> String {
    match fallback.map(|fallback| (&fallback.to, &fallback.on)) {
        Some((FallbackTo::Upstream(index), on)) => format!("{:?} {on:?}", upstream_name(config, *index)),
        Some((FallbackTo::Respond(respond), on)) => format!("{respond:?} {on:?}"),
        None => String::new(),
    }
}

/// With the providers' names: they may have changed places.
fn auth_text(config: &Config, auth: Option<&Auth>) -> String {
    let names =
        auth.map(|auth| auth.providers.iter().map(|provider| config.identity.name_of(provider)).collect::<Vec<_>>());
    let rest = auth.map(|auth| Auth { providers: Vec::new(), ..auth.clone() });
    format!("{names:?} {rest:?}")
}

/// By their addresses, with what else is said of them.
fn listeners(config: &Config) -> Vec<(String, Option<&Listen>)> {
    let traffic = config.server.listen.iter().map(|listen| (listen.address.to_string(), Some(listen)));
    let admin = config.admin.listen.iter().map(|address| (format!("admin {address}"), None));
    traffic.chain(admin).collect()
}

/// What was added, changed and removed, by name; names are unique. Most of a config stays in its place, so that what
/// stands between the first and the last difference is all that is looked up.
fn delta<'c, T>(
    previous: &'c [T],
    next: &'c [T],
    name: impl Fn(&'c T) -> &'c str,
    is_same: impl Fn(&'c T, &'c T) -> bool,
) -> Delta {
    let mut delta = Delta::default();
    let mut compare = |before: &'c T, after: &'c T| {
        if !is_same(before, after) {
            delta.changed.push(name(after).to_owned());
        }
    };
    let in_place = |(before, after): &(&'c T, &'c T)| name(before) == name(after);
    let front =
        previous.iter().zip(next).take_while(in_place).inspect(|(before, after)| compare(before, after)).count();
    let (previous, next) = (previous.get(front..).unwrap_or_default(), next.get(front..).unwrap_or_default());
    let pairs = previous.iter().rev().zip(next.iter().rev());
    let back = pairs.take_while(in_place).inspect(|(before, after)| compare(before, after)).count();
    let inner = |all: &'c [T]| all.get(..all.len() - back).unwrap_or_default();
    let mut gone: HashMap<&str, &T> = inner(previous).iter().map(|before| (name(before), before)).collect();
    for after in inner(next) {
        match gone.remove(name(after)) {
            Some(before) => compare(before, after),
            None => delta.added.push(name(after).to_owned()),
        }
    }
    delta.removed = gone.into_keys().map(str::to_owned).collect();
    for names in [&mut delta.added, &mut delta.changed, &mut delta.removed] {
        names.sort_unstable();
    }
    delta
}

/// Sections, and policies at the top level, that differ.
fn sections(previous: &Config, next: &Config) -> Vec<String> {
    // Taken apart, so that none is forgotten. What holds secrets and can be compared is: no text is made of it.
    let Config { server: _, admin: _, log, audit, upstreams: _, routes: _, policies, identity, redis, bans } = previous;
    let all = [
        ("server", server_text(previous) != server_text(next)),
        ("admin", admin_text(previous) != admin_text(next)),
        ("log", format!("{log:?}") != format!("{:?}", next.log)),
        ("audit", *audit != next.audit),
        ("redis", *redis != next.redis),
        ("bans", *bans != next.bans),
    ];
    let named = all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    let policies = differing((previous, policies), (next, &next.policies), false).into_iter().map(str::to_owned);
    named.chain(identity_parts(identity, &next.identity)).chain(policies).collect()
}

/// What of `identity` differs.
fn identity_parts(before: &Identity, after: &Identity) -> Vec<String> {
    let Identity {
        jwt,
        api_key,
        basic,
        login,
        session,
        introspection,
        forward,
        accounts,
        send,
        signing_keys,
        revocations,
    } = before;
    let mut parts: Vec<String> = Vec::new();
    for (kind, delta) in [
        ("jwt", delta(jwt, &after.jwt, |jwt| &jwt.name, |a, b| a == b)),
        ("login", delta(login, &after.login, |login| &login.name, |a, b| a == b)),
    ] {
        let names = [delta.added, delta.changed, delta.removed].into_iter().flatten();
        parts.extend(names.map(|name| format!("identity.{kind}.{name}")));
    }
    let all = [
        ("api_key", *api_key != after.api_key),
        ("basic", *basic != after.basic),
        ("session", *session != after.session),
        ("introspection", *introspection != after.introspection),
        ("forward", *forward != after.forward),
        ("accounts", *accounts != after.accounts),
        ("send", *send != after.send),
        ("signing_keys", *signing_keys != after.signing_keys),
        ("revocations", *revocations != after.revocations),
    ];
    parts.extend(all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("identity.{name}")));
    parts
}

/// Listeners are told of on their own.
fn server_text(config: &Config) -> String {
    let server = shared::config::Server { listen: Vec::new(), ..config.server.clone() };
    format!("{server:?}")
}

/// With the secrets: they are compared, and shown to nobody.
fn admin_text(config: &Config) -> String {
    let admin = shared::config::Admin { listen: None, ..config.admin.clone() };
    let mut text = format!("{admin:?}");
    if let Some(auth) = &admin.auth {
        let hashes = auth.basic.iter().map(|basic| &basic.password_hash);
        for secret in hashes.chain(auth.tokens.iter().map(|token| &token.token)) {
            let _ = write!(text, "{:?}", secret.reveal());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use shared::config::{Input, References, load};

    use super::*;

    const BASE: &str = "
server: {listen: [127.0.0.1:8000]}
rate_limit: {requests_per_minute: 10}
upstreams: {u: {endpoints: [http://127.0.0.1:1]}}
routes:
  - {name: a, path: /a, upstream: u}
  - {name: b, path: /b, respond: {status: 200}}
";

    fn config(text: &str) -> std::sync::Arc<Config> {
        load(&Input::text("t.yaml", text), &References::Refuse).unwrap_or_else(|problems| panic!("{problems:?}")).config
    }

    fn check(next: &str, expected: &str) {
        assert_eq!(summary(&between(&config(BASE), &config(next))), expected, "{next}");
    }

    #[test]
    fn changes_are_told_as_their_author_would() {
        check(BASE, "no change in meaning");
        check(&format!("# a remark\n\n{BASE}"), "no change in meaning");
        check(&BASE.replace("status: 200", "status: 204"), "1 route changed");
        check(&BASE.replace("name: b", "name: c"), "1 route added, 1 route removed");
        check(&BASE.replace("127.0.0.1:1]", "127.0.0.1:2]"), "1 upstream changed");
        check(&BASE.replace("[127.0.0.1:8000]", "[127.0.0.1:8000, 127.0.0.1:8001]"), "1 listener added");
        check(&BASE.replace("requests_per_minute: 10", "requests_per_minute: 11"), "rate_limit changed");
        check(&BASE.replace("upstream: u", "upstream: u, rate_limit: off"), "1 route changed");
        let token =
            |token: &str| format!("admin: {{auth: {{tokens: [{{name: ci, token: {token}, role: reader}}]}}}}\n{BASE}");
        let changes = between(
            &config(&token("0123456789abcdef0123456789abcdef")),
            &config(&token("0123456789abcdef0123456789abcdee")),
        );
        assert_eq!(summary(&changes), "admin changed");
    }

    #[test]
    fn what_identity_redis_and_bans_say_is_told() {
        let secret = |last: char| format!("an-hmac-secret-of-thirty-two-byte{last}");
        let jwt = |name: &str, last: char| format!("{name}: {{keys: {{secret: {}}}}}", secret(last));
        let with = |identity: &str| format!("identity: {{{identity}}}\n{BASE}");
        let check = |before: &str, after: &str, expected: &str| {
            let changes = between(&config(before), &config(after));
            assert_eq!(summary(&changes), expected, "{after}");
            assert!(!format!("{changes:?}").contains("secret-of"), "{changes:?}");
        };
        let one = with(&format!("jwt: {{{}}}", jwt("main", 's')));
        check(&one, &one, "no change in meaning");
        check(BASE, &one, "identity.jwt.main changed");
        check(&one, BASE, "identity.jwt.main changed");
        check(&one, &with(&format!("jwt: {{{}}}", jwt("main", 't'))), "identity.jwt.main changed");
        let two = with(&format!("jwt: {{{}, {}}}", jwt("other", 's'), jwt("main", 's')));
        check(&one, &two, "identity.jwt.other changed");
        check(BASE, &with("api_key: {}"), "identity.api_key changed");
        check(BASE, &with("send: {user: x-user}, session: {idle: 5m}"), "identity.session, identity.send changed");
        check(BASE, &with("forward: {url: 'http://127.0.0.1:1/'}"), "identity.forward changed");
        let redis = |password: char| format!("redis: {{url: 'redis://:secret-of-{password}@127.0.0.1:1'}}\n{BASE}");
        check(BASE, &redis('a'), "redis changed");
        check(&redis('a'), &redis('b'), "redis changed");
        check(BASE, &format!("bans: {{refusals: 7, within: 1m, for: 1h}}\n{BASE}"), "bans changed");
    }

    #[test]
    fn what_becomes_of_failures_is_told() {
        for keys in [
            "balance: random",
            "sticky: {}",
            "probe: {}",
            "eject: {}",
            "breaker: {}",
            "retry: {}",
            "in_flight: {total: 1}",
            "slow_start: 1s",
            "panic_below: off",
            "resolve: {}",
            "timeouts: {tls: 1s}",
            "timeouts: {write: 1s}",
        ] {
            check(&BASE.replace("127.0.0.1:1]", &format!("127.0.0.1:1], {keys}")), "1 upstream changed");
        }
        check(&BASE.replace("upstream: u", "upstream: u, retry: off"), "1 route changed");
        check(&BASE.replace("upstream: u", "upstream: u, timeouts: {write: 1s}"), "1 route changed");
        check(&BASE.replace("upstream: u", "upstream: u, fallback: {respond: {}}"), "1 route changed");
        check(&format!("{BASE}fault: {{abort: {{status: 503}}}}\n"), "fault changed");
        check(&format!("{BASE}mirror: {{upstream: u}}\n"), "mirror changed");
        check(&format!("{BASE}fallback: {{upstream: u}}\n"), "fallback changed");
    }

    #[test]
    fn upstreams_may_change_places() {
        let add = |text: &str| text.replace("upstreams: {", "upstreams: {v: {endpoints: [http://127.0.0.1:3]}, ");
        check(&add(BASE), "1 upstream added");
        let with_names = format!("mirror: {{upstream: u}}\nfallback: {{upstream: u}}\n{BASE}");
        let (before, after) = (config(&with_names), config(&add(&with_names)));
        assert_eq!(summary(&between(&before, &after)), "1 upstream added");
        let own = BASE.replace("upstream: u}", "upstream: u, mirror: {upstream: u}, fallback: {respond: {}}}");
        assert_eq!(summary(&between(&config(&own), &config(&add(&own)))), "1 upstream added");
    }

    #[test]
    fn state_that_lives_on_is_told() {
        let changes = between(&config(BASE), &config(&BASE.replace("status: 200", "status: 204")));
        assert_eq!(changes.kept, ["1 listener", "1 upstream's pool", "1 limiter"]);
        let of = |store: &str, rest: &str| {
            let login = "login: {a: {kind: oidc, issuer: 'https://a.example', client_id: a}}";
            config(&format!("{BASE}identity: {{{login}, session: {{store: {store}}}}}\n{rest}"))
        };
        let check = |before: &Config, after: &Config, expected: Option<&str>| {
            let kept = between(before, after).kept;
            assert_eq!(kept.iter().find(|kept| kept.contains("sessions")).map(|kept| &**kept), expected, "{kept:?}");
        };
        let redis = "redis: {url: 'redis://127.0.0.1:1'}\n";
        let (local, shared, cookie) = (of("local", redis), of("redis", redis), of("cookie", redis));
        check(&local, &shared, Some("the store of sessions moves from local to redis"));
        check(&shared, &local, Some("the store of sessions moves from redis to local"));
        check(&shared, &of("local", ""), None);
        check(&shared, &cookie, None);
        check(&cookie, &shared, None);
        check(&local, &local, None);
    }

    #[test]
    fn what_cannot_change_is_named() {
        let next = format!("{BASE}audit: {{path: /elsewhere}}\n").replace("listen: [", "workers: 3, listen: [");
        assert_eq!(fixed(&config(BASE), &config(&next)), ["server.workers", "audit.path"]);
    }
}
