//! `routes` and `explain`: which routes there are, and what they would do.

use std::net::IpAddr;
use std::sync::Arc;

use shared::config::{Action, Config, HostPattern, PathPattern, Route, ValueMatch};
use shared::control::report::{Explanation, RouteLine, Verdict};
use shared::control::{ControlError, ErrorCode, ExplainArgs, RoutesArgs};
use shared::routing;

use super::bans::shown;
use super::known::{moment, now_s};
use crate::control::Reply;
use crate::identity::State;
use crate::identity::bans::Terms;
use crate::snapshot::Snapshot;

/// The routes in order of precedence.
pub(super) fn list(snapshot: Arc<Snapshot>, args: RoutesArgs) -> Reply {
    Reply::stream(false, |sink| async move {
        // A hundred thousand routes are sorted off this thread; but no thread waits for a caller that reads slowly.
        let sorted = Arc::clone(&snapshot);
        let sort = move || routing::in_precedence(&sorted.checked.config.routes);
        let Ok(order) = tokio::task::spawn_blocking(sort).await else { return };
        let config = &snapshot.checked.config;
        let mut count = 0u64;
        for route in order.into_iter().filter_map(|index| config.routes.get(index)) {
            if args.name.as_ref().is_some_and(|part| !route.name.contains(part.as_str())) {
                continue;
            }
            count += 1;
            if !sink.event(&line(config, route)).await {
                return;
            }
        }
        sink.end(&serde_json::json!({ "routes": count })).await;
    })
}

/// What would become of a request.
pub(super) async fn explain(
    state: &Arc<State>,
    snapshot: Arc<Snapshot>,
    args: ExplainArgs,
    client: IpAddr,
) -> Result<Reply, ControlError> {
    let state = Arc::clone(state);
    let explained = tokio::task::spawn_blocking(move || {
        let config = &snapshot.checked.config;
        let mut explained = routing::explain::explain(config, &snapshot.table, &args, client)?;
        if let Some(banned) = banned(&state, config, &explained) {
            explained.verdict = banned;
        }
        Ok::<_, ControlError>(Explanation { generation: Some(snapshot.generation()), ..explained })
    });
    let explained = explained.await.map_err(|error| {
        tracing::error!(%error, "an explanation broke off");
        ControlError::new(ErrorCode::Failed, "the explanation broke off; the log says more")
    })?;
    Reply::one(&explained?)
}

/// Of a client that is kept out nothing else is looked at, but whether it asks for health.
fn banned(state: &State, config: &Config, explained: &Explanation) -> Option<Verdict> {
    let health = config.server.health_path.as_deref();
    if health.is_some_and(|health| explained.path.starts_with(health)) {
        return None;
    }
    let client = explained.client.parse().ok()?;
    let row = state.bans.of_address(client, now_s(), &Terms::of(config))?;
    let until = moment(row.until_s);
    let message = format!("{} is banned until {until} by {}: {}", shown(&row.network), row.by, row.reason);
    Some(Verdict::Reject { code: "banned".to_owned(), status: 403, message })
}

fn line(config: &Config, route: &Route) -> RouteLine {
    let headers = route.headers.iter().map(|header| condition("header", &header.name, &header.value));
    let query = route.query.iter().map(|query| condition("query", &query.name, &query.value));
    RouteLine {
        name: route.name.to_string(),
        hosts: route.hosts.iter().map(host).collect(),
        path: match &route.path {
            PathPattern::Prefix(prefix) => prefix.to_string(),
            PathPattern::Exact(path) => format!("= {path}"),
            PathPattern::Regex(pattern) => format!("~ {}", pattern.text),
        },
        methods: route.methods.iter().map(ToString::to_string).collect(),
        conditions: headers.chain(query).collect(),
        priority: route.priority,
        action: action(config, &route.action),
        policies: policies(route),
        origin: route.at.to_string(),
    }
}

fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}

fn condition(kind: &str, name: &str, value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(text) => format!("{kind} {name}: {text}"),
        ValueMatch::Present(true) => format!("{kind} {name} present"),
        ValueMatch::Present(false) => format!("{kind} {name} absent"),
        ValueMatch::Regex(pattern) => format!("{kind} {name} ~ {}", pattern.text),
    }
}

fn action(config: &Config, action: &Action) -> String {
    match action {
        Action::Forward(shares) => {
            let name = |index: usize| config.upstreams.get(index).map_or("?", |upstream| &*upstream.name);
            let targets = shares.iter().map(|share| {
                let target = format!("{}{}", name(share.upstream), share.path_prefix);
                if shares.len() > 1 { format!("{target} ({})", share.weight) } else { target }
            });
            format!("→ {}", targets.collect::<Vec<_>>().join(", "))
        }
        Action::Redirect(redirect) => format!("redirect {}", redirect.status),
        Action::Respond(respond) => format!("respond {}", respond.status),
        Action::Serve(serve) => format!("serve {}", serve.name()),
    }
}

fn policies(route: &Route) -> Vec<String> {
    route.policies.each().into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}
