//! Config texts that many tests start from.

use std::net::SocketAddr;

/// Everything to one upstream.
pub fn forward_all(target: SocketAddr) -> String {
    format!("routes:\n  - {{name: all, path: /, target: 'http://{target}'}}\n")
}

/// The example of the project's specification, word for word but for its two ports.
pub fn specification(api: SocketAddr, auth: SocketAddr) -> String {
    include_str!("../fixtures/specification.yaml")
        .replace("127.0.0.1:8001", &api.to_string())
        .replace("127.0.0.1:8002", &auth.to_string())
}
