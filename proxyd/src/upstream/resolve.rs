//! Names of endpoints, looked up again and again: on the control thread, by the system's name servers or those that the config
//! names, for as long as the answers say that they hold.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use shared::config;

use super::{Address, Upstream};

/// After a look-up that failed the next one follows so soon, unless all follow sooner.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// However short an answer holds.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How often a name server is asked before it is given up.
const ATTEMPTS: usize = 2;
/// Of a name more addresses than these are not used.
const MOST_ADDRESSES: usize = 1000;

/// Who is asked.
#[derive(Clone)]
pub struct Resolver(Arc<TokioResolver>);

/// What a look-up brought.
struct Found {
    addresses: Vec<Address>,
    until: Instant,
}

impl Resolver {
    /// One that asks as the config says.
    pub fn new(config: &config::Resolve) -> Result<Self, String> {
        let provider = TokioRuntimeProvider::default;
        let mut builder = if config.servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system's name servers are not known; only its file of hosts is asked");
                TokioResolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), Vec::new()), provider())
            })
        } else {
            let servers = config.servers.iter().map(|server| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                NameServerConfig::new(server.ip(), true, connections)
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, provider())
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = config.timeout;
        options.attempts = ATTEMPTS;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // How long answers hold is looked after here.
        options.cache_size = 0;
        options.edns0 = false;
        options.use_hosts_file = if config.servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
        builder.build().map(|resolver| Self(Arc::new(resolver))).map_err(|error| error.to_string())
    }

    async fn look_up(&self, endpoint: &config::Endpoint) -> Result<Found, String> {
        if endpoint.srv {
            return self.look_up_services(&endpoint.host).await;
        }
        let (addresses, until) = self.addresses(&endpoint.host).await?;
        let address = |ip| Address { at: SocketAddr::new(ip, endpoint.port), weight: None, backup: false };
        Ok(Found { addresses: addresses.into_iter().map(address).collect(), until })
    }

    async fn addresses(&self, host: &str) -> Result<(Vec<IpAddr>, Instant), String> {
        let found = self.0.lookup_ip(host).await.map_err(|error| problem(&error))?;
        Ok((found.iter().collect(), found.valid_until()))
    }

    /// Services (RFC 2782): those of the best priority are used, the others stand behind them.
    async fn look_up_services(&self, name: &str) -> Result<Found, String> {
        let found = self.0.srv_lookup(name).await.map_err(|error| problem(&error))?;
        let mut until = found.valid_until();
        let services = found.answers().iter().filter_map(|record| {
            let RData::SRV(service) = &record.data else { return None };
            Some(service)
        });
        let services: Vec<_> = services.take(MOST_ADDRESSES).collect();
        let best = services.iter().map(|service| service.priority).min();
        let (mut addresses, mut problem) = (Vec::new(), None);
        for service in services {
            let target = service.target.to_utf8();
            // A lone dot says that there is no such service.
            if target == "." {
                continue;
            }
            let (ips, holds) = match self.addresses(&target).await {
                Ok(found) => found,
                Err(error) => {
                    problem = Some(error);
                    continue;
                }
            };
            until = until.min(holds);
            addresses.extend(ips.into_iter().map(|ip| Address {
                at: SocketAddr::new(ip, service.port),
                weight: Some(u32::from(service.weight).max(1)),
                backup: Some(service.priority) != best,
            }));
        }
        // The others serve where one has no address.
        match problem {
            Some(problem) if addresses.is_empty() => Err(problem),
            Some(_) | None => Ok(Found { addresses, until }),
        }
    }
}

/// Why a look-up failed, as people say it.
fn problem(error: &NetError) -> String {
    if error.is_nx_domain() {
        return "there is no such name".to_owned();
    }
    if error.is_no_records_found() {
        return "the name has no such records".to_owned();
    }
    if matches!(error, NetError::Timeout) {
        return "no name server answered in time".to_owned();
    }
    error.to_string()
}

/// Looks a name up for as long as its upstream is there. `changed` is called when what is known of it has.
pub async fn tend(
    upstream: Weak<Upstream>,
    endpoint: config::Endpoint,
    config: Arc<config::Resolve>,
    resolver: Result<Resolver, String>,
    changed: impl Fn() + Send,
) {
    loop {
        let found = match &resolver {
            Ok(resolver) => resolver.look_up(&endpoint).await,
            Err(problem) => Err(problem.clone()),
        };
        let Some(held) = upstream.upgrade() else { return };
        let pause = match &found {
            Ok(found) => found.until.saturating_duration_since(Instant::now()).min(config.every),
            Err(_) => AFTER_FAILURE.min(config.every),
        };
        if note(&held, &endpoint, found) {
            changed();
        }
        drop(held);
        tokio::time::sleep(pause.max(LEAST_PAUSE)).await;
    }
}

/// Notes what a look-up brought: whether that is something else than before. Addresses that are known stay when one fails.
fn note(upstream: &Upstream, endpoint: &config::Endpoint, found: Result<Found, String>) -> bool {
    let mut names = upstream.names();
    let before = names.get(&endpoint.address).cloned();
    let mut known = before.clone().unwrap_or_default();
    known.problem = match found {
        Ok(Found { mut addresses, .. }) => {
            // The order says nothing.
            addresses.sort_unstable();
            addresses.dedup_by_key(|address| address.at);
            addresses.truncate(MOST_ADDRESSES);
            let is_empty = addresses.is_empty();
            known.addresses = addresses;
            is_empty.then(|| "the name has no address".to_owned())
        }
        Err(problem) => Some(problem),
    };
    let (name, address) = (&upstream.config.name, &endpoint.address);
    let changes = before.as_ref() != Some(&known);
    let count = known.addresses.len();
    if let Some(problem) = &known.problem {
        // Once for each problem.
        if before.is_none_or(|before| before.problem != known.problem) {
            tracing::warn!(upstream = %name, endpoint = %address, problem, known = count, "a name could not be resolved");
        }
    } else if changes {
        tracing::info!(upstream = %name, endpoint = %address, addresses = count, "a name was resolved");
    }
    names.insert(Arc::clone(&endpoint.address), known);
    changes
}
