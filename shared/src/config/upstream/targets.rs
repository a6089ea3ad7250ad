//! The upstreams that `target`s stand for, made on demand: one for each origin, with the defaults of every upstream.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Balance, Endpoint, Pool, UPSTREAM, Upstream, UpstreamProtocol, UpstreamTimeouts, pool, timeouts};
use crate::config::reader::Reader;
use crate::config::tls::UpstreamTls;
use crate::config::url::{Scheme, Url};
use crate::config::{Origin, Percent};

pub(in crate::config) struct Targets {
    timeouts: UpstreamTimeouts,
    pool: Pool,
    panic_below: Option<Percent>,
    by_origin: HashMap<(Scheme, Arc<str>), usize>,
}

impl Targets {
    /// Reads the defaults from the declaration.
    pub(in crate::config) fn new(reader: &mut Reader<'_>) -> Option<Self> {
        let timeouts = reader.defaults(&timeouts::TIMEOUTS, timeouts::read)?;
        let pool = reader.defaults(&pool::POOL, pool::read)?;
        let panic_below = reader.defaults(&UPSTREAM, |fields| fields.percent_or_off("panic_below"))?;
        Some(Self { timeouts, pool, panic_below, by_origin: HashMap::new() })
    }

    /// The index of the upstream for this target.
    pub(in crate::config) fn index(
        &mut self,
        url: &Url,
        at: impl FnOnce() -> Origin,
        upstreams: &mut Vec<Upstream>,
    ) -> usize {
        let origin = (url.scheme, Arc::clone(&url.address));
        if let Some(index) = self.by_origin.get(&origin) {
            return *index;
        }
        upstreams.push(Upstream {
            name: format!("{}://{}", url.scheme.as_str(), url.address).into(),
            endpoints: vec![Endpoint::new(url.clone(), 1, false)],
            balance: Balance::RoundRobin,
            sticky: None,
            probe: None,
            eject: None,
            breaker: None,
            retry: None,
            in_flight: None,
            slow_start: None,
            panic_below: self.panic_below,
            resolve: None,
            timeouts: self.timeouts.clone(),
            pool: self.pool.clone(),
            protocol: UpstreamProtocol::Http1,
            tls: (url.scheme == Scheme::Https).then(|| Arc::new(UpstreamTls::new())),
            proxy_protocol: None,
            at: at(),
        });
        self.by_origin.insert(origin, upstreams.len() - 1);
        upstreams.len() - 1
    }
}
