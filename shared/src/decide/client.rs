//! Who the client is, behind proxies that are believed.

use std::net::IpAddr;

use ipnet::IpNet;

/// How many hops are looked at: more than any honest chain has.
const MAX_HOPS: usize = 64;

/// The client's address: from the right over the hops that trusted proxies added, the first that is not a trusted proxy
/// itself. X-Forwarded-For is looked at first; `Forwarded` (RFC 7239) only where there is no line of it, whatever it says. A
/// hop that is no address, or no text, ends the walk at the last one that was: what stands left of it cannot be trusted.
///
/// `peer` must be a trusted proxy; each line may name several hops, and is taken as it came: proxies append to lines that
/// hold anything.
#[must_use]
pub fn address(peer: IpAddr, trusted: &[IpNet], x_forwarded_for: &[&[u8]], forwarded: &[&[u8]]) -> IpAddr {
    let is_trusted = |address: &IpAddr| is_within(trusted, *address);
    let mut client = peer;
    let walk = |client: &mut IpAddr, hop: Option<IpAddr>| match hop {
        Some(address) => {
            *client = address;
            is_trusted(&address)
        }
        None => false,
    };
    if x_forwarded_for.is_empty() {
        for hop in hops(forwarded) {
            if !walk(&mut client, hop.and_then(node)) {
                break;
            }
        }
    } else {
        for hop in hops(x_forwarded_for) {
            if !walk(&mut client, hop.map(str::trim).and_then(parse)) {
                break;
            }
        }
    }
    client
}

/// Whether an address is one of these networks'.
#[must_use]
pub fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// From the right; none for one that is no text.
fn hops<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = Option<&'a str>> {
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|octet| *octet == b','));
    hops.take(MAX_HOPS).map(|hop| std::str::from_utf8(hop).ok())
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

    #[track_caller]
    fn check(x_forwarded_for: &[&'static str], forwarded: &[&'static str], expected: &str) {
        let lines = |lines: &[&'static str]| lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>();
        check_raw(&lines(x_forwarded_for), &lines(forwarded), expected);
    }

    #[track_caller]
    fn check_raw(x_forwarded_for: &[&[u8]], forwarded: &[&[u8]], expected: &str) {
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

    #[test]
    fn a_line_that_is_no_text_is_a_line() {
        let own = &b"for=10.0.0.5"[..];
        check_raw(&[b"\xff, 192.0.2.1"], &[own], "192.0.2.1");
        check_raw(&[b"\xff"], &[own], "10.0.0.1");
        check_raw(&[b""], &[own], "10.0.0.1");
        check_raw(&[b"192.0.2.1, \xff"], &[own], "10.0.0.1");
        check_raw(&[b"192.0.2.1", b"\xff"], &[], "10.0.0.1");
        check_raw(&[b"192.0.2.1, \xff, 10.2.2.2"], &[], "10.2.2.2");
        check_raw(&[], &[b"for=\xff, for=192.0.2.1"], "192.0.2.1");
        check_raw(&[], &[b"for=192.0.2.1", b"for=\xff"], "10.0.0.1");
    }
}
