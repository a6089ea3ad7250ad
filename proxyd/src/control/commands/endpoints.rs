//! `upstreams_set`, `upstreams_register` and `upstreams_deregister`: what is said of endpoints beside the config. Checks that
//! what is named is there; the registry keeps it.

use std::sync::Arc;
use std::time::Duration;

use shared::config::{self, Config, EndpointAddress};
use shared::control::report::{
    EndpointGone, EndpointRegistered, EndpointSet, EndpointSetting, RegistrationChange, RegistrationFacts,
    SettingChange,
};
use shared::control::{
    ControlError, ErrorCode, MAX_WEIGHT, UpstreamsDeregisterArgs, UpstreamsRegisterArgs, UpstreamsSetArgs,
};

use super::rfc3339;
use crate::daemon::Daemon;
use crate::registry::{Overlay, Registration, Registry, RegistryError, Setting};
use crate::telemetry::clock::unix_us;

/// How long a registration may last.
const LEAST_TTL: Duration = Duration::from_secs(1);
const MOST_TTL: Duration = Duration::from_hours(24);

/// How many names are told to whoever named none of them.
const NAMES_TOLD: usize = 10;

pub(super) async fn set(daemon: &Daemon, args: UpstreamsSetArgs) -> Result<EndpointSet, ControlError> {
    let config = Arc::clone(&daemon.snapshot().checked.config);
    let upstream = named(&config, &args.upstream)?;
    let EndpointAddress { address, .. } = endpoint(upstream, &args.endpoint)?;
    if args.state.is_none() && args.weight.is_none() {
        return Err(invalid("say a `state` (ready, drain or down), a `weight`, or both"));
    }
    if args.weight.is_some_and(|weight| weight > MAX_WEIGHT) {
        return Err(invalid(format!("`weight` must be between 0 and {MAX_WEIGHT}")));
    }
    let overlay = daemon.amid.registry.overlay(&upstream.name);
    // An address that a name stands for is an endpoint too.
    let resolved = || Some(daemon.member(&upstream.name, &address)?.weight);
    let own = own_weight(upstream, &overlay, &address).or_else(resolved);
    // What was set of an endpoint that has gone since can still be undone.
    let Some(weight) = own.or_else(|| overlay.set.iter().any(|set| set.address == address).then_some(1)) else {
        return Err(unknown_endpoint(upstream, &overlay, &address));
    };
    let name = Arc::clone(&upstream.name);
    let told = Arc::clone(&address);
    let change =
        on_disk(daemon, &upstream.name, move |registry| registry.set(&name, &told, args.state, args.weight)).await?;
    let setting = |setting: Setting| EndpointSetting {
        state: setting.state.unwrap_or_default(),
        weight: setting.weight.unwrap_or(weight),
    };
    Ok(EndpointSet {
        upstream: upstream.name.to_string(),
        endpoint: address.to_string(),
        changes: SettingChange { before: setting(change.before), after: setting(change.after) },
        audited: true,
    })
}

pub(super) async fn register(daemon: &Daemon, args: UpstreamsRegisterArgs) -> Result<EndpointRegistered, ControlError> {
    let config = Arc::clone(&daemon.snapshot().checked.config);
    let upstream = named(&config, &args.upstream)?;
    let EndpointAddress { host, port, address } = endpoint(upstream, &args.endpoint)?;
    let weight = args.weight.unwrap_or(1);
    if weight == 0 || weight > MAX_WEIGHT {
        return Err(invalid(format!("`weight` must be between 1 and {MAX_WEIGHT}")));
    }
    let ttl = args.ttl.map(|ttl| config::time(&ttl, LEAST_TTL, MOST_TTL)).transpose();
    let ttl = ttl.map_err(|message| invalid(format!("`ttl`: {message}")))?;
    if in_config(upstream, &address).is_some() {
        return Err(invalid(format!(
            "{address} is an endpoint of {} by the config: it is not registered",
            upstream.name
        )));
    }
    let (name, now_us) = (Arc::clone(&upstream.name), daemon.now_us().cast_signed());
    let wanted = Registration { host, port, address: Arc::clone(&address), weight, backup: args.backup, ttl };
    let after = facts(&wanted);
    let outcome = on_disk(daemon, &upstream.name, move |registry| registry.register(&name, &wanted, now_us)).await?;
    let before = outcome.before.as_ref().map(facts);
    Ok(EndpointRegistered {
        upstream: upstream.name.to_string(),
        endpoint: address.to_string(),
        renewed: outcome.renewed,
        expires: outcome.expires_us.map(|expires| rfc3339(unix_us() + expires - now_us)),
        changes: (!outcome.renewed).then_some(RegistrationChange { before, after: Some(after) }),
        audited: true,
    })
}

pub(super) async fn deregister(daemon: &Daemon, args: UpstreamsDeregisterArgs) -> Result<EndpointGone, ControlError> {
    let config = Arc::clone(&daemon.snapshot().checked.config);
    let upstream = named(&config, &args.upstream)?;
    let EndpointAddress { address, .. } = endpoint(upstream, &args.endpoint)?;
    let overlay = daemon.amid.registry.overlay(&upstream.name);
    if !overlay.registered.iter().any(|registered| registered.address == address) {
        return Err(match in_config(upstream, &address) {
            Some(_) => ControlError::new(
                ErrorCode::NotFound,
                format!(
                    "{address} was not registered, it stands in the config: set it down or drain it, or change the config"
                ),
            ),
            None => unknown_endpoint(upstream, &overlay, &address),
        });
    }
    let (name, told) = (Arc::clone(&upstream.name), Arc::clone(&address));
    let before = on_disk(daemon, &upstream.name, move |registry| registry.deregister(&name, &told)).await?;
    Ok(EndpointGone {
        upstream: upstream.name.to_string(),
        endpoint: address.to_string(),
        changes: RegistrationChange { before: Some(facts(&before)), after: None },
        audited: true,
    })
}

/// How an endpoint is registered, as answers and the audit tell it.
pub(in crate::control) fn facts(registration: &Registration) -> RegistrationFacts {
    RegistrationFacts {
        weight: registration.weight,
        backup: registration.backup,
        ttl: registration.ttl.map(config::show_time),
    }
}

fn named<'a>(config: &'a Config, name: &str) -> Result<&'a config::Upstream, ControlError> {
    let found = config.upstreams.iter().map(|upstream| &**upstream).find(|upstream| *upstream.name == *name);
    found.ok_or_else(|| {
        let names = || config.upstreams.iter().map(|upstream| &*upstream.name);
        let more = match (config::closest(name, names()), names().count()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, 0) => "the config has none".to_owned(),
            (None, count) => {
                let told = names().take(NAMES_TOLD).collect::<Vec<_>>().join(", ");
                format!("there are {told}{}", if count > NAMES_TOLD { " and more" } else { "" })
            }
        };
        ControlError::new(ErrorCode::NotFound, format!("no upstream is called `{name}`; {more}"))
    })
}

fn endpoint(upstream: &config::Upstream, text: &str) -> Result<EndpointAddress, ControlError> {
    config::endpoint_address(text, upstream.tls.is_some())
        .map_err(|message| invalid(format!("the endpoint cannot be used: {message}")))
}

fn in_config<'a>(upstream: &'a config::Upstream, address: &str) -> Option<&'a config::Endpoint> {
    upstream.endpoints.iter().find(|endpoint| *endpoint.address == *address)
}

/// The weight that an endpoint has by the config or its registration; none where there is no such endpoint.
fn own_weight(upstream: &config::Upstream, overlay: &Overlay, address: &str) -> Option<u32> {
    let registered = || overlay.registered.iter().find(|registered| *registered.address == *address);
    in_config(upstream, address).map(|endpoint| endpoint.weight).or_else(|| registered().map(|one| one.weight))
}

fn unknown_endpoint(upstream: &config::Upstream, overlay: &Overlay, address: &str) -> ControlError {
    let file = upstream.endpoints.iter().map(|endpoint| &*endpoint.address);
    let all: Vec<&str> = file.chain(overlay.registered.iter().map(|registered| &*registered.address)).collect();
    let told = all.iter().take(NAMES_TOLD).copied().collect::<Vec<_>>().join(", ");
    let more = if all.len() > NAMES_TOLD { " and more" } else { "" };
    let message = format!("{address} is no endpoint of {}; there are {told}{more}", upstream.name);
    ControlError::new(ErrorCode::NotFound, message)
}

/// Lets the registry make a change where waiting for the disk holds nobody up, and puts it in force.
async fn on_disk<T: Send + 'static>(
    daemon: &Daemon,
    upstream: &str,
    change: impl FnOnce(&Registry) -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, ControlError> {
    let registry = Arc::clone(&daemon.amid.registry);
    let changed = super::off_thread(move || change(&registry)).await?;
    if changed.is_ok() {
        daemon.gather(upstream);
    }
    changed.map_err(|error| {
        let code = match error {
            RegistryError::NotRegistered => ErrorCode::NotFound,
            RegistryError::Elsewhere => ErrorCode::Busy,
            RegistryError::TooMany | RegistryError::TooLarge | RegistryError::Write { .. } => ErrorCode::Failed,
        };
        ControlError::new(code, error.to_string())
    })
}

fn invalid(message: impl Into<String>) -> ControlError {
    ControlError::new(ErrorCode::InvalidArguments, message)
}
