//! What would become of the request where things fail: faults on purpose, copies, what the upstream has for its endpoints that
//! fail, and what stands in. Chance and the present state of endpoints are not known here.

use super::asked::Asked;
use super::effects::{add, joined};
use super::quoted;
use crate::audit::mask::Mask;
use crate::config::policy::{Fallback, FallbackTo, Fault, Mirror};
use crate::config::{
    Action, Balance, Breaker, Config, Eject, HashBy, InFlight, Percent, Policies, Probe, ProbeKind, Resolve, Retry,
    Route, Sticky, Upstream, show_duration, show_size,
};
use crate::control::report::PolicyLine;
use crate::routing::headers_hold;

/// What the request would meet, in the order in which it would.
pub(super) struct Failures<'a> {
    pub(super) config: &'a Config,
    /// None: no route was found.
    pub(super) route: Option<&'a Route>,
    pub(super) asked: &'a Asked,
    pub(super) mask: &'a Mask,
}

impl Failures<'_> {
    /// The policies, and each upstream that the route may choose.
    pub(super) fn add_to(&self, lines: &mut Vec<PolicyLine>, policies: &Policies) {
        add(lines, "fault", &policies.fault, |policy| vec![self.forwarded(|| self.fault(policy))]);
        add(lines, "mirror", &policies.mirror, |policy| vec![self.forwarded(|| self.mirror(policy))]);
        for upstream in self.upstreams() {
            self.upstream(lines, upstream);
        }
        add(lines, "fallback", &policies.fallback, |policy| vec![self.forwarded(|| self.fallback(policy))]);
    }

    fn shares(&self) -> impl Iterator<Item = usize> {
        let shares = match self.route.map(|route| &route.action) {
            Some(Action::Forward(shares)) => shares.as_slice(),
            Some(Action::Redirect(_) | Action::Respond(_) | Action::Serve(_)) | None => &[],
        };
        shares.iter().map(|share| share.upstream)
    }

    /// Each once, in the order of the split.
    fn upstreams(&self) -> Vec<&Upstream> {
        let mut indices: Vec<usize> = Vec::new();
        for index in self.shares() {
            if !indices.contains(&index) {
                indices.push(index);
            }
        }
        indices.into_iter().filter_map(|index| self.config.upstreams.get(index).map(|upstream| &**upstream)).collect()
    }

    /// What is told where the request is forwarded.
    fn forwarded(&self, told: impl FnOnce() -> String) -> String {
        if self.shares().next().is_some() { told() } else { "does nothing: the request is not forwarded".to_owned() }
    }

    fn fault(&self, policy: &Fault) -> String {
        if !headers_hold(&policy.headers, self.asked) {
            return "does nothing to this request: its headers are not those that are wanted".to_owned();
        }
        let delay = policy.delay.map(|delay| format!("delays {} by {}", of(delay.percent), show_duration(delay.time)));
        let abort = policy.abort.map(|abort| format!("answers {} with {}", of(abort.percent), abort.status));
        let told: Vec<String> = delay.into_iter().chain(abort).collect();
        told.join(", then ")
    }

    fn mirror(&self, policy: &Mirror) -> String {
        let name = self.name(policy.upstream);
        if self.leads_only_to(policy.upstream) {
            return format!("does nothing: the request goes to {name} anyway");
        }
        let body = match policy.body {
            Some(most) => format!("with a body of at most {}", show_size(most)),
            None => "without a body".to_owned(),
        };
        format!("copies {} {body} to upstream {name}, at most {} at once", of(policy.percent), policy.in_flight)
    }

    fn fallback(&self, policy: &Fallback) -> String {
        match &policy.to {
            FallbackTo::Upstream(index) if self.leads_only_to(*index) => {
                format!("does nothing: the request goes to {} anyway", self.name(*index))
            }
            FallbackTo::Upstream(index) => format!("on {}: upstream {} is asked", policy.on, self.name(*index)),
            FallbackTo::Respond(respond) => format!("on {}: answers with {}", policy.on, respond.status),
        }
    }

    fn leads_only_to(&self, upstream: usize) -> bool {
        self.shares().all(|index| index == upstream)
    }

    fn name(&self, upstream: usize) -> &str {
        self.config.upstreams.get(upstream).map_or("", |upstream| &upstream.name)
    }

    fn upstream(&self, lines: &mut Vec<PolicyLine>, upstream: &Upstream) {
        let at = |policy: &str, scope: String, origin: String, effect: String| PolicyLine {
            policy: policy.to_owned(),
            scope,
            origin,
            effect,
        };
        let scope = || format!("upstream {}", upstream.name);
        let mut tell = |policy: &str, effect: Option<String>| {
            lines.extend(effect.map(|effect| at(policy, scope(), upstream.at.to_string(), effect)));
        };
        tell("resolve", upstream.resolve.as_deref().map(look_ups));
        tell("sticky", upstream.sticky.as_deref().map(|sticky| self.sticky(sticky)));
        let has_choice = upstream.endpoints.len() > 1 || upstream.resolve.is_some();
        tell("balance", has_choice.then(|| self.balance(&upstream.balance)));
        tell("backup", backups(upstream));
        tell("probe", upstream.probe.as_deref().map(probe));
        tell("eject", upstream.eject.as_deref().map(ejection));
        tell("breaker", upstream.breaker.as_deref().map(breaker));
        tell("in_flight", upstream.in_flight.as_ref().map(in_flight));
        let own = self.route.and_then(|route| route.retry.as_ref().map(|retry| (route, retry)));
        match own {
            None => tell("retry", upstream.retry.as_deref().map(|retry| self.retry(retry))),
            Some((route, retry)) => {
                let effect = retry.as_deref().map_or_else(|| "off".to_owned(), |retry| self.retry(retry));
                lines.push(at("retry", format!("route {}", route.name), route.at.to_string(), effect));
            }
        }
    }

    fn balance(&self, balance: &Balance) -> String {
        match balance {
            Balance::RoundRobin => "round_robin: endpoints in turn, by weight".to_owned(),
            Balance::LeastBusy => "least_busy: the fewest requests under way for the weight".to_owned(),
            Balance::TwoChoices => "two_choices: the less busy of two that chance picks".to_owned(),
            Balance::Random => "random: by chance, by weight".to_owned(),
            Balance::Hash(HashBy::Ip) => format!("hash: by the client's address {}", self.asked.client),
            Balance::Hash(HashBy::Path) => "hash: by the path".to_owned(),
            Balance::Hash(HashBy::Header(name)) => match self.asked.header(name) {
                Some(value) => format!("hash: by header {name} {}", self.shown(name, value)),
                None => format!("hash: by chance, as header {name} is absent"),
            },
            Balance::Hash(HashBy::Cookie(name)) => {
                let (how, what) = if self.has_cookie(name) { ("by", "") } else { ("by chance, as", " is absent") };
                format!("hash: {how} cookie {name}{what}")
            }
        }
    }

    fn sticky(&self, sticky: &Sticky) -> String {
        let name = &sticky.cookie;
        if self.has_cookie(name) {
            return format!("cookie {name} names the endpoint, if it is one of ours and that one may be chosen");
        }
        let lasts = sticky.max_age.map_or_else(String::new, |age| format!(" for {}", show_duration(age)));
        format!("the answer sets cookie {name}{lasts}, which brings the client back to its endpoint")
    }

    fn retry(&self, retry: &Retry) -> String {
        let budget = match retry.budget {
            Some(share) => format!("retries are at most {share} of the upstream's requests"),
            None => "without a budget".to_owned(),
        };
        let safe = if is_idempotent(&self.asked.method) {
            format!("{} may be sent again", self.asked.method)
        } else if self.asked.header("idempotency-key").is_some() {
            "Idempotency-Key lets it be sent again".to_owned()
        } else {
            format!("{} is sent again only where the endpoint has done nothing of it", self.asked.method)
        };
        format!("{} attempts at most, on {}; {budget}; {safe}", retry.attempts, retry.on)
    }

    fn has_cookie(&self, name: &str) -> bool {
        let cookies = self.asked.header("cookie").unwrap_or_default();
        cookies.split(';').any(|pair| pair.trim().split('=').next() == Some(name))
    }

    fn shown(&self, name: &str, value: &str) -> String {
        if self.mask.hides_header(name) { format!("[{}]", Mask::hidden(value.len())) } else { quoted(value) }
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

fn of(percent: Percent) -> String {
    if percent == Percent::ALL { "every request".to_owned() } else { format!("{percent} of the requests") }
}

fn look_ups(resolve: &Resolve) -> String {
    let servers = if resolve.servers.is_empty() { "the system's servers".to_owned() } else { joined(&resolve.servers) };
    format!("every address of a name is an endpoint; asks {servers} at least every {}", show_duration(resolve.every))
}

fn backups(upstream: &Upstream) -> Option<String> {
    let backups: Vec<&str> =
        upstream.endpoints.iter().filter(|endpoint| endpoint.backup).map(|endpoint| &*endpoint.address).collect();
    (!backups.is_empty()).then(|| format!("{} only where too few of the others can be chosen", backups.join(", ")))
}

fn probe(probe: &Probe) -> String {
    let how = match &probe.kind {
        ProbeKind::Tcp => "a connection".to_owned(),
        ProbeKind::Http(http) => format!("{}, which must answer {}", http.path, http.expect),
    };
    format!(
        "every {}: {how}; {} bad answers take an endpoint away",
        show_duration(probe.interval),
        probe.unhealthy_after
    )
}

fn ejection(eject: &Eject) -> String {
    let signs = [
        eject.consecutive_errors.map(|count| format!("{count} failures in a row")),
        eject.error_rate.map(|share| format!("{share} of failures")),
        eject.latency.map(|time| format!("answers slower than {} on average", show_duration(time))),
    ];
    let signs: Vec<String> = signs.into_iter().flatten().collect();
    format!("{} leave an endpoint out for {}", signs.join(" or "), show_duration(eject.lasts))
}

fn breaker(breaker: &Breaker) -> String {
    let signs = [
        breaker.error_rate.map(|share| format!("{share} of failures")),
        breaker.slow.map(|time| format!("{} of calls slower than {}", breaker.slow_rate, show_duration(time))),
    ];
    let signs: Vec<String> = signs.into_iter().flatten().collect();
    let (window, open) = (show_duration(breaker.window), show_duration(breaker.open_for));
    format!("{} within {window} close an endpoint off for {open}, then {} trials", signs.join(" or "), breaker.trials)
}

fn in_flight(limit: &InFlight) -> String {
    let bounds = [
        limit.total.map(|total| format!("{total} at once")),
        limit.endpoint.map(|endpoint| format!("{endpoint} at once for each endpoint")),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    let bounds = bounds.join(", ");
    match limit.queue {
        0 => format!("{bounds}; beyond it 503"),
        queue => format!("{bounds}; {queue} more wait up to {}, beyond it 503", show_duration(limit.wait)),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Input, References, load};
    use crate::control::ExplainArgs;
    use crate::routing::Table;

    const CONFIG: &str = "
upstreams:
  users:
    endpoints: [{url: 'http://a:1', weight: 2}, http://b:1, {url: 'http://c:1', backup: true}]
    balance: {hash: {by: {header: x-user}}}
    probe: {path: /health}
    eject: {consecutive_errors: 5, latency: 2s}
    breaker: {slow: 1s}
    in_flight: {total: 200, endpoint: 50}
    retry: {attempts: 3, on: [connect, 502]}
  names:
    endpoints: [http+srv://_http._tcp.names]
    resolve: {}
    sticky: {max_age: 1h}
    in_flight: {total: 5, queue: 0}
  spare: {endpoints: ['http://s:1'], probe: {kind: tcp}}
fault: {headers: {x-fault: '1'}, delay: {time: 100ms, percent: 10%}, abort: {status: 503}}
mirror: {upstream: spare, percent: 5%}
fallback: {on: [unavailable, 503], upstream: spare}
routes:
  - {name: users, path: /users, upstream: users}
  - {name: names, path: /names, upstream: names, retry: {on: timeout, budget: off}, fallback: {respond: {status: 503}}}
  - {name: spare, path: /spare, upstream: spare, retry: off, fault: off}
  - {name: split, path: /split, split: [{upstream: spare, weight: 1}, {upstream: names, weight: 1}], mirror: {upstream: users, body: off}}
  - {name: fixed, path: /fixed, respond: {}}
";

    #[track_caller]
    fn check(request: &str, headers: &[&str], expected: &[&str]) {
        let config = load(&Input::text("config.yaml", CONFIG), &References::Refuse)
            .unwrap_or_else(|problems| panic!("{}", problems.render(false)))
            .config;
        let (method, url) = request.split_once(' ').unwrap();
        let headers = headers.iter().map(|line| (*line).to_owned()).collect();
        let args = ExplainArgs { method: method.into(), url: url.into(), headers, from: None };
        let told =
            super::super::explain(&config, &Table::compile(&config), &args, "10.0.0.1".parse().unwrap()).unwrap();
        let lines = told.policies.iter().filter(|line| line.policy != "body_limit");
        let lines: Vec<String> =
            lines.map(|line| format!("{} ({}): {}", line.policy, line.scope, line.effect)).collect();
        assert_eq!(lines, expected, "{request}");
    }

    #[test]
    fn all_that_an_upstream_has_is_told() {
        check(
            "GET /users",
            &["x-fault: 1", "x-user: ann"],
            &[
                "fault (top level): delays 10% of the requests by 100ms, then answers every request with 503",
                "mirror (top level): copies 5% of the requests with a body of at most 64KiB to upstream spare, at most 100 at once",
                "balance (upstream users): hash: by header x-user \"ann\"",
                "backup (upstream users): c:1 only where too few of the others can be chosen",
                "probe (upstream users): every 5s: /health, which must answer 200-399; 3 bad answers take an endpoint away",
                "eject (upstream users): 5 failures in a row or answers slower than 2s on average leave an endpoint out for 30s",
                "breaker (upstream users): 50% of failures or 50% of calls slower than 1s within 10s close an endpoint off for 5s, then 3 trials",
                "in_flight (upstream users): 200 at once, 50 at once for each endpoint; 100 more wait up to 1s, beyond it 503",
                "retry (upstream users): 3 attempts at most, on connect, 502; retries are at most 20% of the upstream's requests; GET may be sent again",
                "fallback (top level): on unavailable, 503: upstream spare is asked",
            ],
        );
    }

    #[test]
    fn a_routes_own_rules_come_before() {
        let fault = "fault (top level): does nothing to this request: its headers are not those that are wanted";
        let mirror = "mirror (top level): copies 5% of the requests with a body of at most 64KiB to upstream spare, at most 100 at once";
        let resolve = "resolve (upstream names): every address of a name is an endpoint; asks the system's servers at least every 30s";
        check(
            "POST /names",
            &[],
            &[
                fault,
                mirror,
                resolve,
                "sticky (upstream names): the answer sets cookie proxyd_node for 1h, which brings the client back to its endpoint",
                "balance (upstream names): round_robin: endpoints in turn, by weight",
                "in_flight (upstream names): 5 at once; beyond it 503",
                "retry (route names): 2 attempts at most, on timeout; without a budget; POST is sent again only where the endpoint has done nothing of it",
                "fallback (route names): on connect, refused_stream, reset, timeout, protocol, unavailable, 502-504: answers with 503",
            ],
        );
        check(
            "POST /names",
            &["Cookie: a=b; proxyd_node=x", "Idempotency-Key: 7"],
            &[
                fault,
                mirror,
                resolve,
                "sticky (upstream names): cookie proxyd_node names the endpoint, if it is one of ours and that one may be chosen",
                "balance (upstream names): round_robin: endpoints in turn, by weight",
                "in_flight (upstream names): 5 at once; beyond it 503",
                "retry (route names): 2 attempts at most, on timeout; without a budget; Idempotency-Key lets it be sent again",
                "fallback (route names): on connect, refused_stream, reset, timeout, protocol, unavailable, 502-504: answers with 503",
            ],
        );
    }

    #[test]
    fn nothing_stands_in_for_itself() {
        check(
            "GET /spare",
            &[],
            &[
                "fault (route spare): off",
                "mirror (top level): does nothing: the request goes to spare anyway",
                "probe (upstream spare): every 5s: a connection; 3 bad answers take an endpoint away",
                "retry (route spare): off",
                "fallback (top level): does nothing: the request goes to spare anyway",
            ],
        );
    }

    #[test]
    fn what_is_not_forwarded_meets_none_of_it() {
        let lines = [
            "fault (top level): does nothing: the request is not forwarded",
            "mirror (top level): does nothing: the request is not forwarded",
            "fallback (top level): does nothing: the request is not forwarded",
        ];
        check("GET /fixed", &["x-fault: 1"], &lines);
        check("GET /nowhere", &["x-fault: 1"], &lines);
    }

    #[test]
    fn every_upstream_of_a_split_is_told() {
        let fault = "fault (top level): does nothing to this request: its headers are not those that are wanted";
        check(
            "GET /split",
            &["x-user: ann"],
            &[
                fault,
                "mirror (route split): copies every request without a body to upstream users, at most 100 at once",
                "probe (upstream spare): every 5s: a connection; 3 bad answers take an endpoint away",
                "resolve (upstream names): every address of a name is an endpoint; asks the system's servers at least every 30s",
                "sticky (upstream names): the answer sets cookie proxyd_node for 1h, which brings the client back to its endpoint",
                "balance (upstream names): round_robin: endpoints in turn, by weight",
                "in_flight (upstream names): 5 at once; beyond it 503",
                "fallback (top level): on unavailable, 503: upstream spare is asked",
            ],
        );
    }
}
