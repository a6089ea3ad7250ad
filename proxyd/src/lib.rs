//! The daemon: a reverse proxy and API gateway. `ARCHITECTURE.md` says what lies where.

#![warn(clippy::indexing_slicing)]

pub mod audit;
pub mod boot;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod exchange;
pub mod filter;
pub mod fleet;
pub mod health;
pub mod identity;
pub mod inherited;
pub mod lock;
pub mod outside;
pub mod proxy;
pub mod registry;
pub mod reload;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod threads;
pub mod tls;
pub mod upgrade;
pub mod upstream;
pub mod worker;
