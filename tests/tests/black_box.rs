//! The real binaries over real sockets: one module per feature, one test binary, so that it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a test reads better so, and is in no hurry"
)]

mod black_box {
    mod anomalies;
    mod audit;
    mod bounds;
    mod chaos;
    mod config;
    mod conformance;
    mod control;
    mod endpoints;
    mod failing;
    mod forwarding;
    mod grpc;
    mod identity;
    mod life;
    mod load;
    mod observability;
    mod policies;
    mod proxy_protocol;
    mod reload;
    mod routing;
    mod socket_activation;
    mod tls;
    mod tls_files;
    mod tls_upstream;
    mod upgrade;
    mod upgrade_failed;
    mod websocket;
    mod websocket_end;
    mod websocket_http2;
}
