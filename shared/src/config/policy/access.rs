//! The policy `access`: which addresses may come in.

use ipnet::IpNet;

/// `deny` wins; with an allow list, everyone else is refused (403).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
}
