//! What load balancers and orchestrators ask: alive, ready, and a little more. The same answers on the admin listener and,
//! where `server.health_path` is set, on the traffic listeners.

use serde_json::json;

use crate::daemon::{Daemon, Life};

/// The answer for what follows the health path (empty, `/`, `/live`, `/ready`, `/info`): status and JSON body. None for
/// anything else.
pub fn answer(daemon: &Daemon, asked: &str) -> Option<(u16, String)> {
    let (status, body) = match asked {
        "/live" => (200, json!({"status": "ok"})),
        "" | "/" | "/ready" => ready(daemon),
        "/info" => {
            let info = json!({
                "name": "proxyd",
                "version": env!("CARGO_PKG_VERSION"),
                "uptime": daemon.started_at.elapsed().as_secs(),
                "generation": daemon.committed(),
            });
            (200, info)
        }
        _ => return None,
    };
    Some((status, format!("{body}\n")))
}

/// Not ready while starting or draining, and while the audit store cannot be written: what happens now could not be proved
/// afterwards.
fn ready(daemon: &Daemon) -> (u16, serde_json::Value) {
    let state = match daemon.life() {
        Life::Starting => "starting",
        // Whoever asks next, and over a new connection, asks the process that took over.
        Life::Draining if daemon.is_succeeded() => return (200, json!({"status": "ok"})),
        Life::Draining | Life::Stopping => "draining",
        Life::Serving if !daemon.audit.is_writable() => "audit_unwritable",
        Life::Serving => return (200, json!({"status": "ok"})),
    };
    (503, json!({"status": state}))
}
