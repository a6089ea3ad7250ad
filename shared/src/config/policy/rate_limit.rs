//! The policy `rate_limit`: how many requests in how much time, by whom.

mod exempt;
mod key;

pub use exempt::ExemptUser;
pub use key::Key;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::identity::{Providers, StateStore};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::redis;
use crate::config::report::Fault;
use crate::config::server::NETWORK;
use crate::config::tree::{Node, Value};
use crate::config::{Name, name};

/// One rule or several, which must all pass, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What headers, metrics and `proxyctl limits` call it; unique within its policy.
    pub name: Name,
    /// At least one, at most eight; taken together, all or none. Sorted by length, shortest first. None with
    /// [`Algorithm::Concurrency`].
    pub limits: Vec<Window>,
    /// The first that is known; the address where none is.
    pub by: Vec<Key>,
    pub algorithm: Algorithm,
    pub mode: Mode,
    /// How many keys are remembered at once; the ones unused longest make room.
    pub max_keys: usize,
    /// IPv6 clients are counted together by this many leading bits.
    pub ipv6_prefix: u8,
    /// What a request takes; at least 1.
    pub cost: u32,
    /// Only requests with these methods (upper case; `GET` holds for HEAD too); empty: all.
    pub methods: Vec<Arc<str>>,
    /// Addresses that are not counted.
    pub exempt: Vec<IpNet>,
    /// Users that are not counted.
    pub exempt_users: Vec<ExemptUser>,
    /// API keys that are not counted, by name or prefix.
    pub exempt_keys: Vec<Name>,
    pub store: StateStore,
    pub on_store_error: OnStoreError,
}

/// One rule without limits, by address: what is not written.
impl Default for Rule {
    fn default() -> Self {
        Self {
            name: "default".into(),
            limits: Vec::new(),
            by: vec![Key::Ip],
            algorithm: Algorithm::SlidingWindow,
            mode: Mode::Enforce,
            max_keys: 100_000,
            ipv6_prefix: 64,
            cost: 1,
            methods: Vec::new(),
            exempt: Vec::new(),
            exempt_users: Vec::new(),
            exempt_keys: Vec::new(),
            store: StateStore::Local,
            on_store_error: OnStoreError::Local,
        }
    }
}

/// What a rule does while its store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    Allow,
    /// 503.
    Deny,
    /// Each proxy counts by itself.
    Local,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// At least 1.
    pub requests: u32,
    /// Between a second and 30 days.
    pub per: Duration,
}

/// How a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    SlidingWindow,
    /// Each window begins with its first request.
    FixedWindow,
    /// So many requests at the same time.
    Concurrency {
        at_most: u32,
    },
    /// `burst`: the bucket's size; none: each limit's own number of requests.
    TokenBucket {
        burst: Option<u32>,
    },
}

/// What a refusal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    /// Counted and reported, never refused.
    Shadow,
}

const REQUESTS: Kind = Kind::Integer { min: 1, max: 4_000_000_000 };
/// The most limits that one rule takes together.
const MAX_LIMITS: usize = 8;
/// The most rules of one policy.
const MAX_RULES: usize = 16;

static LIMIT: Section = Section {
    name: "rate_limit.limits[]",
    doc: "So many requests in so much time.",
    fields: &[&[
        Field::new("requests", REQUESTS, "How many requests.").required(),
        Field::new("per", Kind::Duration { min: "1s", max: "30d" }, "In how much time.").required(),
    ]],
};

/// The declaration of one rule.
pub(super) static RULE: Section = Section {
    name: "rate_limit",
    doc: "How many requests in how much time, by whom. One rule, or a list of rules that must all pass. Counters belong to the place where the rule is written.",
    fields: &[&[
        Field::new(
            "name",
            Kind::Text { what: "a name", sample: "default" },
            "What headers, metrics and `proxyctl limits` call it; `default`, or `rule-2` and so on in a list.",
        ),
        Field::new("requests_per_minute", REQUESTS, "Short for one limit: this many per minute."),
        Field::new(
            "limits",
            Kind::OneOrMany(&Kind::Section(&LIMIT)),
            "The limits of the rule, at most eight, taken together: all or none.",
        ),
        Field::new(
            "by",
            Kind::OneOrMany(&key::KEY),
            "Whom the rule counts: the first that is known, the address where none is. `ip`, `user` (whoever `auth` recognised, by provider and name; an API key that acts for nobody counts as itself), `api_key`, `certificate` (the common name of the client's certificate, else its first alternative name) or `header: NAME`.",
        )
        .default("ip"),
        Field::new(
            "algorithm",
            Kind::Choice(&["sliding_window", "token_bucket", "fixed_window", "concurrency"]),
            "How the rule counts; `concurrency`: how many requests are under way at once.",
        )
        .default("sliding_window"),
        Field::new(
            "concurrent",
            Kind::Integer { min: 1, max: 1_000_000 },
            "`concurrency` only, in place of `limits`: so many requests at the same time.",
        ),
        Field::new(
            "burst",
            REQUESTS,
            "`token_bucket` only: the size of the bucket; the default is each limit's number of requests.",
        ),
        Field::new(
            "mode",
            Kind::Choice(&["enforce", "shadow"]),
            "What a refusal does; `shadow`: it is counted and reported only.",
        )
        .default("enforce"),
        Field::new(
            "cost",
            Kind::Integer { min: 1, max: 1000 },
            "What one request takes of the limits.",
        )
        .default("1"),
        Field::new(
            "methods",
            Kind::OneOrMany(&Kind::Text { what: "a method", sample: "GET" }),
            "Only requests with these methods are counted; GET takes in HEAD. The default is all.",
        ),
        Field::new(
            "exempt",
            Kind::OneOrMany(&Kind::Short(&NETWORK, &exempt::EXEMPT)),
            "Who is not counted: addresses, networks, `{user: NAME, provider: NAME}`, `{api_key: NAME}`.",
        ),
        Field::new(
            "store",
            Kind::Choice(&["memory", "redis"]),
            "Where the counters live: in this process, or in `redis`, for several proxies together.",
        )
        .default("memory"),
        Field::new(
            "on_store_error",
            Kind::Choice(&["local", "allow", "deny"]),
            "`store: redis` only: what holds while it does not answer. `local`: each proxy counts by itself; `allow`: nothing is counted; `deny`: 503.",
        )
        .default("local"),
        Field::new(
            "max_keys",
            Kind::Integer { min: 1, max: 100_000_000 },
            "How many keys are remembered at once; those unused longest make room. They lie in 64 parts, each of which has its share and room for one at least.",
        )
        .default("100000"),
        Field::new(
            "ipv6_prefix",
            Kind::Integer { min: 1, max: 128 },
            "IPv6 clients are counted together by this many leading bits.",
        )
        .default("64"),
    ]],
};

/// How the policy is written.
pub(super) static RULES: Kind = Kind::OneOrMany(&Kind::Section(&RULE));

/// Reads the policy: one rule or a list.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node<'a>,
    has_redis: bool,
    providers: &Providers,
) -> Option<RateLimit> {
    let mut seen = HashSet::new();
    let mut index = 0;
    let rules = reader.one_or_many(node, &RULES, |reader, node| {
        index += 1;
        let default_name = if index == 1 { "default".to_owned() } else { format!("rule-{index}") };
        let rule = read_rule(reader, node, default_name, has_redis, providers)?;
        if seen.insert(Arc::clone(&rule.name)) {
            return Some(rule);
        }
        let place = node.get("name").map_or(node.place, |name| name.place);
        reader.error(place, Fault::new(Code::DuplicateName, "another rule here has this name"));
        None
    })?;
    if rules.is_empty() || rules.len() > MAX_RULES {
        let fault = Fault::invalid(format!("a rate limit has 1 to {MAX_RULES} rules"))
            .hint("write `rate_limit: off` to have none");
        reader.error(node.place, fault);
        return None;
    }
    Some(RateLimit { rules })
}

fn read_rule<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node<'a>,
    default_name: String,
    has_redis: bool,
    providers: &Providers,
) -> Option<Rule> {
    if is_one_value(node) {
        let fault = Fault::new(Code::WrongType, "a rate limit is a map, or a list of such");
        reader.error(node.place, fault.hint("rate_limit: {requests_per_minute: 60}"));
        return None;
    }
    let mut fields = reader.section(node, &RULE)?;
    let name = match fields.written("name") {
        Some(_) => fields.get("name", |reader, node, field| reader.parse(node, &field.kind, name::plain)),
        None => Some(default_name.into()),
    };
    let counting = read_counting(&mut fields);
    let by = match fields.written("by") {
        Some(_) => fields.list_of("by", |reader, node, _| key::read(reader, node)),
        None => Some(vec![Key::Ip]),
    };
    if let (Some([]), Some(entry)) = (by.as_deref(), fields.written("by")) {
        fields.reader().error(entry.value.place, Fault::invalid("this list is empty").hint("by: ip"));
    }
    let mode = fields.choice("mode", &[("enforce", Mode::Enforce), ("shadow", Mode::Shadow)]);
    let cost = fields.count("cost");
    if let (Some(cost), Some((limits, algorithm))) = (cost, &counting) {
        check_cost(&mut fields, cost, limits, *algorithm);
    }
    let methods = fields.list_of("methods", |reader, node, kind| reader.method(node, kind));
    if let (Some([]), Some(_)) = (methods.as_deref(), fields.written("methods")) {
        fields.fault("methods", Fault::invalid("this list is empty: nothing would be counted").hint("remove it"));
    }
    let (mut exempt, mut exempt_users, mut exempt_keys) = (Vec::new(), Vec::new(), Vec::new());
    let exempted = fields.list_of("exempt", |reader, node, _| {
        match exempt::read(reader, node, providers)? {
            exempt::Exempt::Network(network) => exempt.push(network),
            exempt::Exempt::User(name) => exempt_users.push(name),
            exempt::Exempt::Key(name) => exempt_keys.push(name),
        }
        Some(())
    });
    let (store, on_store_error) = read_store(&mut fields, has_redis);
    let max_keys = fields.count("max_keys");
    let ipv6_prefix = fields.count("ipv6_prefix");
    exempted?;
    let (limits, algorithm) = counting?;
    Some(Rule {
        name: name?,
        limits,
        by: by?,
        algorithm,
        mode: mode?,
        max_keys: max_keys?,
        ipv6_prefix: ipv6_prefix?,
        cost: cost?,
        methods: methods?,
        exempt,
        exempt_users,
        exempt_keys,
        store: store?,
        on_store_error: on_store_error?,
    })
}

/// The limits, and how they are counted.
fn read_counting(fields: &mut Fields<'_, '_>) -> Option<(Vec<Window>, Algorithm)> {
    let words = [
        ("sliding_window", Algorithm::SlidingWindow),
        ("token_bucket", Algorithm::TokenBucket { burst: None }),
        ("fixed_window", Algorithm::FixedWindow),
        ("concurrency", Algorithm::Concurrency { at_most: 1 }),
    ];
    let algorithm = fields.choice("algorithm", &words);
    let burst = fields.optional("burst", count);
    let concurrent = fields.optional("concurrent", count);
    let is_bucket = matches!(algorithm, Some(Algorithm::TokenBucket { .. }));
    let is_concurrency = matches!(algorithm, Some(Algorithm::Concurrency { .. }));
    if algorithm.is_some() && !is_bucket && fields.written("burst").is_some() {
        let fault = Fault::new(Code::Conflict, "`burst` is the size of a token bucket; no other algorithm has one")
            .hint("add `algorithm: token_bucket`, or remove `burst`");
        fields.fault("burst", fault);
    }
    if algorithm.is_some() && !is_concurrency && fields.written("concurrent").is_some() {
        let fault = Fault::new(
            Code::Conflict,
            "`concurrent` is the limit of `algorithm: concurrency`; the others count requests in time",
        )
        .hint("add `algorithm: concurrency`, or write `limits`");
        fields.fault("concurrent", fault);
    }
    if !is_concurrency {
        let limits =
            if fields.written("concurrent").is_some() && !has_limits(fields) { None } else { read_limits(fields) };
        let (burst, limits) = (burst?, limits?);
        return Some((limits, if is_bucket { Algorithm::TokenBucket { burst } } else { algorithm? }));
    }
    for key in ["requests_per_minute", "limits"] {
        if fields.written(key).is_some() {
            let fault = Fault::new(Code::Conflict, "`algorithm: concurrency` counts requests under way, not in time")
                .hint("write `concurrent: 10` in place of it, or a rule of its own for each");
            fields.fault(key, fault);
        }
    }
    if fields.written("concurrent").is_none() && !fields.is_misspelt("concurrent") {
        let place = fields.place;
        let fault = Fault::new(Code::MissingKey, "this rate limit says no number of requests").hint("concurrent: 10");
        fields.reader().error(place, fault);
    }
    Some((Vec::new(), Algorithm::Concurrency { at_most: concurrent?? }))
}

/// Neither a map nor a list, nor nothing.
fn is_one_value(node: &Node<'_>) -> bool {
    matches!(node.value, Value::Scalar(_)) && !node.is_null()
}

fn has_limits(fields: &Fields<'_, '_>) -> bool {
    fields.written("limits").is_some() || fields.written("requests_per_minute").is_some()
}

fn count(reader: &mut Reader<'_>, node: &Node<'_>, field: &'static Field) -> Option<u32> {
    reader.integer(node, &field.kind).and_then(|number| u32::try_from(number).ok())
}

/// A request that costs more than a limit has would never pass.
fn check_cost(fields: &mut Fields<'_, '_>, cost: u32, limits: &[Window], algorithm: Algorithm) {
    let smallest = limits.iter().map(|window| window.requests).min();
    let most = match algorithm {
        Algorithm::TokenBucket { burst: Some(burst) } => burst,
        Algorithm::Concurrency { .. } if cost > 1 => {
            let fault = Fault::new(Code::Conflict, "each request under way is one: `concurrency` has no `cost`");
            return fields.fault("cost", fault.hint("remove `cost`"));
        }
        Algorithm::Concurrency { .. } => return,
        Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::TokenBucket { burst: None } => {
            smallest.unwrap_or(u32::MAX)
        }
    };
    if cost > most {
        let message = format!("no request would ever pass: it costs {cost}, and the smallest limit has {most}");
        fields.fault("cost", Fault::new(Code::Conflict, message).hint("lower `cost`, or raise the limit"));
    }
}

fn read_store(fields: &mut Fields<'_, '_>, has_redis: bool) -> (Option<StateStore>, Option<OnStoreError>) {
    let store = fields.choice("store", &[("memory", StateStore::Local), ("redis", StateStore::Redis)]);
    if store == Some(StateStore::Redis) {
        redis::check_there(fields, "store", has_redis);
    }
    let words = [("local", OnStoreError::Local), ("allow", OnStoreError::Allow), ("deny", OnStoreError::Deny)];
    let on_store_error = fields.choice("on_store_error", &words);
    if store == Some(StateStore::Local) && fields.written("on_store_error").is_some() {
        let fault =
            Fault::new(Code::Unused, "`on_store_error` has no effect: this process's own memory always answers");
        fields.warn("on_store_error", fault.hint("add `store: redis`, or remove it"));
    }
    (store, on_store_error)
}

fn read_limits(fields: &mut Fields<'_, '_>) -> Option<Vec<Window>> {
    let short = fields.written("requests_per_minute");
    let mut windows = match (short, fields.written("limits")) {
        (Some(short), Some(_)) => {
            let fault = Fault::new(
                Code::Conflict,
                "`requests_per_minute` is short for one limit: it cannot stand beside `limits`",
            )
            .hint("limits: [{requests: 60, per: 1m}, {requests: 1000, per: 1h}]");
            fields.reader().error(short.key_place, fault);
            return None;
        }
        (Some(_), None) => {
            let requests = fields.count("requests_per_minute")?;
            return Some(vec![Window { requests, per: Duration::from_mins(1) }]);
        }
        (None, None) if ["requests_per_minute", "limits"].iter().any(|key| fields.is_misspelt(key)) => return None,
        (None, None) => {
            let place = fields.place;
            let fault = Fault::new(Code::MissingKey, "this rate limit says no number of requests")
                .hint("requests_per_minute: 100");
            fields.reader().error(place, fault);
            return None;
        }
        (None, Some(_)) => fields.list_of("limits", |reader, node, _| {
            if is_one_value(node) {
                let fault = Fault::new(Code::WrongType, "a limit is a map");
                reader.error(node.place, fault.hint("write it like `limits: [{requests: 60, per: 1m}]`"));
                return None;
            }
            let mut fields = reader.section(node, &LIMIT)?;
            let requests = fields.get("requests", |reader, node, field| reader.integer(node, &field.kind));
            let per = fields.get("per", |reader, node, field| reader.duration(node, &field.kind));
            Some(Window { requests: u32::try_from(requests?).ok()?, per: per? })
        })?,
    };
    let place = fields.written("limits").map_or(fields.place, |entry| entry.value.place);
    if windows.is_empty() || windows.len() > MAX_LIMITS {
        fields.reader().error(place, Fault::invalid(format!("a rule has 1 to {MAX_LIMITS} limits")));
        return None;
    }
    windows.sort_by_key(|window| window.per);
    if windows.windows(2).any(|pair| matches!(pair, [a, b] if a.per == b.per)) {
        fields.reader().error(
            place,
            Fault::new(Code::Conflict, "two limits of this rule have the same length").hint("keep the smaller one"),
        );
        return None;
    }
    Some(windows)
}
