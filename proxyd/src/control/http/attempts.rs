//! How often an address may fail to say who it is: guessing passwords must take longer than anybody has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] after which an address is not listened to.
const MOST: u32 = 10;

/// The time that failures count for.
const WINDOW: Duration = Duration::from_mins(1);

/// Addresses remembered at once.
const ADDRESSES: usize = 1024;

/// Failures by address; IPv6 by network, as one person has as many addresses as they like.
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<IpAddr, Failures>);

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// How long the address has to wait; none: it may try.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(&network(address))?;
        let end = failures.since + WINDOW;
        (failures.count >= MOST && now < end).then(|| end - now)
    }

    /// Notes a failure. False when the address had none left in this window.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.0.len() >= ADDRESSES {
            self.0.retain(|_, failures| now < failures.since + WINDOW);
        }
        if self.0.len() >= ADDRESSES {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.since).map(|(address, _)| *address);
            oldest.and_then(|address| self.0.remove(&address));
        }
        let failures = self.0.entry(network(address)).or_insert(Failures { since: now, count: 0 });
        if now >= failures.since + WINDOW {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
        failures.count <= MOST
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_ten_failures_a_minute() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        let (one, other): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        for _ in 0..MOST {
            assert_eq!(attempts.wait(other, start), None);
            assert!(attempts.failed(one, start));
        }
        assert_eq!(attempts.wait(other, start), Some(WINDOW));
        assert!(!attempts.failed(other, start));
        assert_eq!(attempts.wait("10.0.0.1".parse().unwrap(), start), None);
        assert_eq!(attempts.wait(one, start + WINDOW), None);
        assert!(attempts.failed(one, start + WINDOW));
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let mut attempts = Attempts::default();
        let start = Instant::now();
        for n in 0..5000u32 {
            attempts.failed(IpAddr::V4(n.into()), start);
        }
        assert!(attempts.0.len() <= ADDRESSES);
    }
}
