//! What runs: compiled from a checked config and the snapshot before, whose live state it takes over. Immutable; only
//! `reload` puts one in force.

use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use shared::audit::{Door, Mask};
use shared::config::{self, Checked, ForwardHost, Respond, Rewrite, Share, policy};
use shared::routing::Table;

use crate::exchange::{Name, Value};
use crate::filter::{self, Chain, Limiter, Limiters};
use crate::fleet::Engine;
use crate::identity::{self, Identities};
use crate::registry::Registry;
use crate::tls::{Material, ServerTls};
use crate::upstream::{self, StickyKey, Upstream};

/// When, by whom and from what a generation was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub generation: u64,
    /// Microseconds since the epoch.
    pub applied_us: i64,
    pub actor: String,
    pub door: Door,
}

/// What a snapshot is compiled amid, besides its config and its predecessor.
#[derive(Debug)]
pub struct Amid {
    pub workers: usize,
    /// What was set and registered at run time.
    pub registry: Arc<Registry>,
    /// For the cookies of upstreams whose config gives no secret.
    pub sticky_key: StickyKey,
    /// API keys, accounts, bans, and what else is known of who somebody is.
    pub identity: Arc<identity::State>,
}

/// See the module.
#[derive(Debug)]
pub struct Snapshot {
    pub stamp: Stamp,
    pub checked: Checked,
    pub table: Arc<Table>,
    /// By index of `Config::routes`.
    pub routes: Box<[Route]>,
    /// For requests that no route matches.
    pub unmatched: Chain,
    /// By index of `Config::upstreams`.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// In the order of the config.
    pub limiters: Vec<Arc<Limiter>>,
    /// What several proxies share, where the config has it.
    pub redis: Option<Arc<Engine>>,
    pub mask: Mask,
    /// Every listener, ready to be served.
    listeners: Box<[Arc<Listening>]>,
    pub tls: Material,
    /// Who recognises.
    pub identities: Arc<Identities>,
    /// Whether some upstream is told where connections were made to.
    pub tells_where: bool,
    /// What is in force, by name: workers and metrics forget what is not.
    pub names: Names,
}

/// A listener, as whoever comes in by it is served.
#[derive(Debug)]
pub struct Listening {
    pub settings: config::Listen,
    pub tls: Option<Arc<ServerTls>>,
}

/// The names in force.
#[derive(Debug)]
pub struct Names {
    hasher: DefaultHashBuilder,
    /// By index of `Snapshot::routes`, which holds the names.
    routes: HashTable<u32>,
    /// With the addresses of their endpoints.
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// Scope and rule.
    limits: HashSet<(Arc<str>, Arc<str>)>,
}

impl Names {
    pub fn has_upstream(&self, name: &str) -> bool {
        self.upstreams.contains_key(name)
    }

    pub fn has_endpoint(&self, upstream: &str, address: &str) -> bool {
        let upstream = self.upstreams.get(upstream);
        upstream.is_some_and(|upstream| upstream.members().find(address).is_some())
    }

    pub fn has_limit(&self, scope: &str, rule: &str) -> bool {
        self.limits.contains(&(scope.into(), rule.into()))
    }
}

/// A route, ready to serve.
#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    pub chain: Chain,
    pub action: Action,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    Forward(Forward),
    Redirect(config::Redirect),
    Respond(Fixed),
    /// Pages of our own.
    Serve(config::Serve),
}

/// Where and how a request is forwarded.
#[derive(Debug)]
pub struct Forward {
    pub shares: Box<[Share]>,
    pub rewrite: Option<Rewrite>,
    pub host: ForwardHost,
    pub timeouts: config::RouteTimeouts,
    /// What is sent again: none, the upstream's own; none within, nothing.
    pub retry: Option<Option<Arc<config::Retry>>>,
    /// What few routes have.
    pub beside: Option<Box<Beside>>,
}

/// What a route has beside its upstream.
#[derive(Debug)]
pub struct Beside {
    /// A shadow that sees a share of the requests.
    pub mirror: Option<Arc<policy::Mirror>>,
    /// What is answered where nothing came of forwarding.
    pub fallback: Option<Fallback>,
}

/// On which causes what is answered instead.
#[derive(Debug)]
pub struct Fallback {
    pub on: config::Causes,
    pub to: Instead,
}

/// What is answered instead.
#[derive(Debug)]
pub enum Instead {
    Respond(Fixed),
    /// By index of `Snapshot::upstreams`.
    Upstream(usize),
}

/// A fixed response, ready to be sent.
#[derive(Debug)]
pub struct Fixed {
    pub status: u16,
    pub headers: Box<[(Name, Value)]>,
    pub body: Arc<str>,
}

/// The timeouts of one forwarded request: the route's over the upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    pub tls: Duration,
    pub write: Duration,
    pub response_headers: Duration,
    pub idle: Duration,
    pub total: Option<Duration>,
    /// How long a tunnel may be silent.
    pub tunnel: Option<Duration>,
}

impl Forward {
    /// The timeouts when this upstream serves.
    pub fn timeouts(&self, upstream: &config::UpstreamTimeouts) -> Timeouts {
        Timeouts {
            connect: self.timeouts.connect.unwrap_or(upstream.connect),
            tls: self.timeouts.tls.unwrap_or(upstream.tls),
            write: self.timeouts.write.unwrap_or(upstream.write),
            response_headers: self.timeouts.response_headers.unwrap_or(upstream.response_headers),
            idle: self.timeouts.idle.unwrap_or(upstream.idle),
            total: self.timeouts.total.unwrap_or(upstream.total),
            tunnel: self.timeouts.tunnel.unwrap_or(upstream.tunnel),
        }
    }
}

impl Snapshot {
    /// Compiles. Everything that could be wrong was found by the check; state is taken from `previous` by name.
    pub fn compile(
        checked: Checked,
        tls: Material,
        identities: Arc<Identities>,
        stamp: Stamp,
        previous: Option<&Self>,
        amid: &Amid,
        now_us: u64,
    ) -> Self {
        let config = Arc::clone(&checked.config);
        let tls = match previous {
            Some(previous) => tls.inherit(&previous.tls),
            None => tls,
        };
        let before: HashMap<&str, &Arc<Upstream>> = previous
            .iter()
            .flat_map(|snapshot| &snapshot.upstreams)
            .map(|upstream| (&*upstream.config.name, upstream))
            .collect();
        let upstreams = config.upstreams.iter().map(|upstream| {
            let name = &upstream.name;
            let amid = upstream::Amid {
                workers: amid.workers,
                now_us,
                overlay: &amid.registry.overlay(name),
                sticky_key: &amid.sticky_key,
            };
            Upstream::compile(upstream, tls.upstream(name), before.get(&**name).copied(), amid)
        });
        let mask = Mask::new(&config.log.redact.headers, &config.log.redact.query);
        // One for all: a worker has one connection.
        let redis = identities.engine.clone();
        let before = previous.map_or(&[][..], |snapshot| &snapshot.limiters);
        let mut limiters = Limiters::new(before, &mask, redis.as_ref(), now_us);
        let mut chains = Chains::default();
        let unmatched = chains.of(&config.policies, &mut limiters, &identities);
        let routes = config.routes.iter().map(|route| Route {
            name: Arc::clone(&route.name),
            chain: chains.of(&route.policies, &mut limiters, &identities),
            action: Action::compile(route),
        });
        let routes: Box<[Route]> = routes.collect();
        let upstreams: Box<[Arc<Upstream>]> = upstreams.collect();
        let limiters = limiters.finish();
        let named = |limiter: &Arc<Limiter>| (Arc::clone(limiter.scope_name()), Arc::clone(&limiter.rule.name));
        let hasher = DefaultHashBuilder::default();
        let names = Names {
            routes: index(&routes, &hasher),
            hasher,
            upstreams: upstreams
                .iter()
                .map(|upstream| (Arc::clone(&upstream.config.name), Arc::clone(upstream)))
                .collect(),
            limits: limiters.iter().map(named).collect(),
        };
        let listeners = config.server.listen.iter().map(|settings| {
            Arc::new(Listening { settings: settings.clone(), tls: tls.listener(settings.address).map(Arc::clone) })
        });
        Self {
            listeners: listeners.collect(),
            tells_where: config.upstreams.iter().any(|upstream| upstream.proxy_protocol.is_some()),
            tls,
            identities,
            table: Arc::new(Table::compile(&config)),
            routes,
            unmatched,
            upstreams,
            limiters,
            names,
            redis,
            mask,
            stamp,
            checked,
        }
    }

    /// The listener of this address.
    pub fn listening(&self, address: SocketAddr) -> Option<&Arc<Listening>> {
        self.listeners.iter().find(|listening| listening.settings.address == address)
    }

    /// Whether a route of this name is in force.
    pub fn has_route(&self, name: &str) -> bool {
        let is_it = |index: &u32| self.routes.get(*index as usize).is_some_and(|route| *route.name == *name);
        self.names.routes.find(self.names.hasher.hash_one(name), is_it).is_some()
    }

    /// The upstream of this name.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| *upstream.config.name == *name)
    }

    /// The generation's number.
    pub fn generation(&self) -> u64 {
        self.stamp.generation
    }
}

/// Routes by their names, which are unique.
fn index(routes: &[Route], hasher: &DefaultHashBuilder) -> HashTable<u32> {
    let hash = |index: &u32| routes.get(*index as usize).map_or(0, |route| hasher.hash_one(&*route.name));
    let mut table = HashTable::with_capacity(routes.len());
    for index in 0..routes.len() as u32 {
        table.insert_unique(hash(&index), index, hash);
    }
    table
}

impl Action {
    fn compile(route: &config::Route) -> Self {
        match &route.action {
            config::Action::Forward(shares) => Self::Forward(Forward {
                shares: shares.clone().into(),
                rewrite: route.rewrite.clone(),
                host: route.forward_host.clone(),
                timeouts: route.timeouts.clone(),
                retry: route.retry.clone(),
                beside: Beside::compile(&route.policies),
            }),
            config::Action::Redirect(redirect) => Self::Redirect(redirect.clone()),
            config::Action::Respond(respond) => Self::Respond(Fixed::compile(respond)),
            config::Action::Serve(serve) => Self::Serve(*serve),
        }
    }
}

impl Beside {
    fn compile(policies: &config::Policies) -> Option<Box<Self>> {
        let mirror = policies.mirror.value.clone();
        let fallback = policies.fallback.value.as_deref().map(|fallback| Fallback {
            on: fallback.on.clone(),
            to: match &fallback.to {
                policy::FallbackTo::Respond(respond) => Instead::Respond(Fixed::compile(respond)),
                policy::FallbackTo::Upstream(index) => Instead::Upstream(*index),
            },
        });
        (mirror.is_some() || fallback.is_some()).then(|| Box::new(Self { mirror, fallback }))
    }
}

impl Fixed {
    fn compile(respond: &Respond) -> Self {
        let header = |(name, value): &(Arc<str>, Arc<str>)| Some((Name::parse(name)?, Value::parse(value)?));
        Self {
            status: respond.status,
            headers: respond.headers.iter().filter_map(header).collect(),
            body: Arc::clone(&respond.body),
        }
    }
}

/// Filter chains made so far. Routes that inherit the same policies share one chain: with a hundred thousand routes
/// there are still only as many chains as there are distinct sets of policies.
#[derive(Default)]
struct Chains(HashMap<[usize; 9], Chain>);

impl Chains {
    fn of(&mut self, policies: &config::Policies, limiters: &mut Limiters<'_>, identities: &Identities) -> Chain {
        let key = [
            identity(&policies.access),
            identity(&policies.cors),
            identity(&policies.threats),
            identity(&policies.auth),
            identity(&policies.rate_limit),
            identity(&policies.body_limit),
            identity(&policies.headers),
            identity(&policies.security_headers),
            identity(&policies.fault),
        ];
        Arc::clone(self.0.entry(key).or_insert_with(|| filter::compile(policies, limiters, identities)))
    }
}

/// A policy's identity: the same object, hence written at the same place. The config outlives the compilation, so that
/// no address is used twice.
fn identity<T>(setting: &config::Setting<T>) -> usize {
    setting.value.as_ref().map_or(0, |value| Arc::as_ptr(value) as usize)
}
