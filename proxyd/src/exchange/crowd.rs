//! How many connections each client address has, over all workers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that are locked apart: connections come and go on all workers.
const SHARDS: usize = 64;

/// See the module. Memory is bounded by the number of open connections.
#[derive(Debug)]
pub struct Crowd {
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<IpAddr, usize>>]>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Crowd {
    /// One more connection of this address, as long as there are not yet `most`.
    pub fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Seat> {
        let address = whose(address);
        let mut shard = self.shard(address)?.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: Arc::clone(self), address })
    }

    fn shard(&self, address: IpAddr) -> Option<&Mutex<HashMap<IpAddr, usize>>> {
        let index = self.hasher.hash_one(address) as usize % SHARDS;
        self.shards.get(index)
    }
}

/// Whoever has one address of IPv6 has a network of them: /64 counts as one.
fn whose(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// A connection's place among those of its address.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(shard) = self.crowd.shard(self.address) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_seats() {
        let crowd = Arc::<Crowd>::default();
        let enter = |address: &str| crowd.enter(address.parse().unwrap(), 2);
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop((second, third));
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::ffff").unwrap());
        assert!(enter("2001:db8::2").is_none());
        assert!(enter("2001:db8:0:1::2").is_some());
        let left: usize = crowd.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(left, 2);
    }
}
