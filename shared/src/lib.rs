//! What proxyd and proxyctl share: the config language, the routing decision, the arithmetic of policies, the control
//! protocol and the shape of audit rows.
//!
//! Everything here is pure: no runtime, no sockets, no clock, no randomness but what is handed in. Only
//! [`config::source`] reads files. The data path, `explain`, replay and what-if all call this same code.

pub mod audit;
pub mod config;
pub mod control;
pub mod decide;
pub mod routing;
