//! Who the client is, behind proxies that are believed.

use std::net::IpAddr;

use ipnet::IpNet;

/// How many hops are looked at: more than any honest chain has.
const MAX_HOPS: usize = 64;

/// The client's address: from the right over the hops that trusted proxies added, the first that is not a trusted proxy
/// itself. X-Forwarded-For is looked at first; `Forwarded` (RFC 7239) where there is none. A hop that is no address ends
/// the walk at the last one that was: what stands left of it cannot be trusted.
///
/// `peer` must be a trusted proxy; each line may name several hops.
#[must_use]
pub fn address(peer: IpAddr, trusted: &[IpNet], x_forwarded_for: &[&str], forwarded: &[&str]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    let walk = |client: &mut IpAddr, hop: Option<IpAddr>| match hop {
        Some(address) => {
            *client = address;
            is_trusted(&address)
        }
        None => false,
    };
    if x_forwarded_for.is_empty() {
        let hops = forwarded.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            if !walk(&mut client, node(hop)) {
                break;
            }
        }
    } else {
        let hops = x_forwarded_for.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            if !walk(&mut client, parse(hop.trim())) {
                break;
            }
        }
    }
    client
}

/// The `for` of one element of `Forwarded`.
fn node(element: &str) -> Option<IpAddr> {
    element
        .split(';')
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
        })
        .and_then(parse)
}

/// An address, maybe with a port, maybe in brackets.
fn parse(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').and_then(|(literal, _)| literal.parse().ok()).map(|ip: IpAddr| ip.to_canonical());
    }
    let bare: Option<IpAddr> = text.parse().ok();
    let with_port =
        || text.rsplit_once(':').and_then(|(host, _)| host.parse::<std::net::Ipv4Addr>().ok()).map(IpAddr::V4);
    bare.or_else(with_port).map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(x_forwarded_for: &[&str], forwarded: &[&str], expected: &str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let client = address("10.0.0.1".parse().unwrap(), &trusted, x_forwarded_for, forwarded);
        assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{x_forwarded_for:?} {forwarded:?}");
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_is_the_client() {
        check(&[], &[], "10.0.0.1");
        check(&["192.0.2.1"], &[], "192.0.2.1");
        check(&["6.6.6.6, 192.0.2.1"], &[], "192.0.2.1");
        check(&["6.6.6.6, 192.0.2.1, 10.1.1.1"], &[], "192.0.2.1");
        check(&["6.6.6.6", "192.0.2.1"], &[], "192.0.2.1");
        check(&["192.0.2.1:4711"], &[], "192.0.2.1");
        check(&["[2001:db8::1]:80"], &[], "2001:db8::1");
        check(&["2001:db8::1"], &[], "2001:db8::1");
        check(&["192.0.2.1, nonsense"], &[], "10.0.0.1");
        check(&["192.0.2.1, nonsense, 10.2.2.2"], &[], "10.2.2.2");
        check(&["10.3.3.3, 10.2.2.2"], &[], "10.3.3.3");
        check(&[], &["for=192.0.2.1;proto=https"], "192.0.2.1");
        check(&[], &["for=6.6.6.6, For=\"[2001:db8::7]:80\""], "2001:db8::7");
        check(&[], &["for=unknown"], "10.0.0.1");
        check(&["192.0.2.1"], &["for=6.6.6.6"], "192.0.2.1");
    }
}
