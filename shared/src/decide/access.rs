//! Whether an address may come in.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::policy::Access;

/// Whether `client` may come in. IPv4-mapped IPv6 addresses count as IPv4.
#[must_use]
pub fn admits(access: &Access, client: IpAddr) -> bool {
    let client = client.to_canonical();
    let holds = |nets: &[IpNet]| nets.iter().any(|net| contains(net, client));
    !holds(&access.deny) && (access.allow.is_empty() || holds(&access.allow))
}

/// A network written as IPv4-mapped IPv6 counts as IPv4 too; `::/0` does not hold IPv4 addresses.
fn contains(net: &IpNet, client: IpAddr) -> bool {
    match (net, client) {
        (IpNet::V6(mapped), IpAddr::V4(client)) => {
            let inner = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
            inner.and_then(|(addr, prefix)| Ipv4Net::new(addr, prefix).ok()).is_some_and(|net| net.contains(&client))
        }
        (IpNet::V4(_) | IpNet::V6(_), _) => net.contains(&client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], deny: &[&str], client: &str, expected: bool) {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let access = Access { allow: nets(allow), deny: nets(deny) };
        assert_eq!(admits(&access, client.parse().unwrap()), expected, "{allow:?} {deny:?} {client}");
    }

    #[test]
    fn deny_wins_and_allow_shuts_the_others_out() {
        check(&[], &[], "1.2.3.4", true);
        check(&["10.0.0.0/8"], &[], "10.1.1.1", true);
        check(&["10.0.0.0/8"], &[], "11.1.1.1", false);
        check(&["10.0.0.0/8"], &["10.6.6.6/32"], "10.6.6.6", false);
        check(&[], &["10.6.6.6/32"], "10.6.6.7", true);
        check(&["2001:db8::/32"], &[], "2001:db8::1", true);
        check(&["2001:db8::/32"], &[], "10.0.0.1", false);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        check(&["10.0.0.0/8"], &[], "::ffff:10.1.1.1", true);
        check(&[], &["10.0.0.0/8"], "::ffff:10.1.1.1", false);
        check(&["::ffff:10.0.0.0/104"], &[], "10.1.1.1", true);
        check(&["::ffff:10.0.0.0/104"], &[], "11.1.1.1", false);
        check(&["::/0"], &[], "::ffff:10.1.1.1", false);
        check(&[], &["::/0"], "10.1.1.1", true);
    }
}
