//! Whether somebody accepts connections at each endpoint. Nothing is sent to them.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Finding, Patient};

/// Endpoints tried; a config may name many thousand.
const MOST: usize = 200;

/// Tried at the same time.
const AT_ONCE: usize = 32;

/// Connects to every endpoint of the config, from this machine.
pub(super) async fn endpoints(patient: &Patient) -> Vec<Finding> {
    let Some(checked) = &patient.checked else { return Vec::new() };
    let all = checked.config.upstreams.iter().flat_map(|upstream| {
        upstream.endpoints.iter().map(move |endpoint| {
            (upstream.name.to_string(), endpoint.host.to_string(), endpoint.port, upstream.timeouts.connect)
        })
    });
    let all: Vec<_> = all.collect();
    let untried = all.len().saturating_sub(MOST);
    let mut tried: Vec<Option<Finding>> = Vec::new();
    let mut running = JoinSet::new();
    for (at, (name, host, port, patience)) in all.into_iter().take(MOST).enumerate() {
        tried.push(None);
        if running.len() >= AT_ONCE {
            keep(running.join_next().await, &mut tried);
        }
        running.spawn(async move { (at, endpoint(&name, &host, port, patience).await) });
    }
    while let Some(done) = running.join_next().await {
        keep(Some(done), &mut tried);
    }
    let mut findings: Vec<Finding> = tried.into_iter().flatten().collect();
    if untried > 0 {
        findings.push(Finding::warn(
            "upstream",
            format!("{untried} more endpoints were not tried"),
            "see `proxyctl upstreams`",
        ));
    }
    findings
}

fn keep(done: Option<Result<(usize, Finding), tokio::task::JoinError>>, tried: &mut [Option<Finding>]) {
    if let Some(Ok((at, finding))) = done
        && let Some(slot) = tried.get_mut(at)
    {
        *slot = Some(finding);
    }
}

async fn endpoint(name: &str, host: &str, port: u16, patience: Duration) -> Finding {
    const CHECK: &str = "upstream";
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let shown = if name.ends_with(&address) { name.to_owned() } else { format!("{name} at {address}") };
    let patience = patience.clamp(Duration::from_millis(100), Duration::from_secs(5));
    let error = match tokio::time::timeout(patience, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => return Finding::ok(CHECK, format!("{shown} accepts connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", patience.as_millis()),
    };
    Finding::fail(CHECK, format!("{shown} cannot be reached: {error}"), "start it, or mend its address in the config")
}
