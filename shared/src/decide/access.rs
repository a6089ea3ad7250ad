//! Whether an address may come in.

use std::net::IpAddr;

use crate::config::policy::Access;

/// Whether `client` may come in. IPv4-mapped IPv6 addresses count as IPv4.
#[must_use]
pub fn admits(access: &Access, client: IpAddr) -> bool {
    let _ = (access, client);
    todo!()
}
