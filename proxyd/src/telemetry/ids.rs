//! Request ids and the worker's source of cheap randomness.
//!
//! Neither is a secret: ids are told to clients and upstreams, and [`Random`] serves weights and jitter only.

use std::cell::Cell;

/// What a process draws once from the system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    prefix: u64,
    key: u64,
}

impl Seed {
    /// # Errors
    /// When the system has no randomness to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        Ok(Self { prefix: getrandom::u64()?, key: getrandom::u64()? })
    }
}

/// A worker's source of request ids.
#[derive(Debug)]
pub struct Ids {
    seed: Seed,
    /// The worker's number in the top 16 bits, a counter below: no two requests of a process share one.
    next: Cell<u64>,
}

impl Ids {
    #[must_use]
    pub fn new(seed: Seed, worker: u16) -> Self {
        Self { seed, next: Cell::new(u64::from(worker) << 48) }
    }

    /// The next id. Unique in the process; between processes as unique as 64 random bits are.
    #[must_use]
    pub fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let bits = (u128::from(self.seed.prefix) << 64) | u128::from(mix(number ^ self.seed.key));
        let mut nibbles = [0; 32];
        for (pair, byte) in nibbles.as_chunks_mut::<2>().0.iter_mut().zip(bits.to_be_bytes()) {
            *pair = [byte >> 4, byte & 15];
        }
        // All digits at once, without a branch for each: the compiler turns this into vector instructions.
        let digits = nibbles.map(|nibble| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble });
        RequestId(digits)
    }
}

/// A request's id as we make it: 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 32]);

/// The longest id that is taken from a client, in bytes.
const MAX_CLIENT_ID: usize = 128;

impl RequestId {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hex digits always are UTF-8; the empty text cannot occur.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether an id that a client sent is kept: 1 to 128 bytes of letters, digits and `. _ ~ + / = : -`. That takes in
    /// UUIDs, hex, base64 and trace ids, and nothing that needs escaping in a header, a log line or a shell.
    #[must_use]
    pub fn sane(id: &[u8]) -> bool {
        (1..=MAX_CLIENT_ID).contains(&id.len())
            && id.iter().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'-')
            })
    }
}

/// The finaliser of splitmix64: a bijection, so distinct numbers stay distinct while their order and count are hidden.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A worker's source of numbers for weights and jitter (splitmix64); never for secrets.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// A source of its own for a worker.
    #[must_use]
    pub fn of_worker(seed: Seed, worker: u16) -> Self {
        Self::new(mix(seed.key ^ seed.prefix.rotate_left(32) ^ u64::from(worker)))
    }

    #[must_use]
    pub fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mix(state)
    }

    /// A number below `bound`; 0 when `bound` is 0. Its bias is below `bound` / 2⁶⁴.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_across_workers_and_hide_the_count() {
        let seed = Seed::draw().unwrap();
        let workers: Vec<Ids> = (0..4).map(|worker| Ids::new(seed, worker)).collect();
        let ids: Vec<RequestId> = workers.iter().flat_map(|ids| (0..1000).map(|_| ids.next())).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4000);
        for pair in ids.windows(2) {
            let id = pair[0].as_str();
            assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
            assert_eq!(id[..16], pair[1].as_str()[..16]);
            assert_ne!(id[16..24], pair[1].as_str()[16..24]);
            assert!(RequestId::sane(id.as_bytes()));
        }
    }

    #[test]
    fn only_sane_ids_are_kept() {
        fn check(id: &str, expected: bool) {
            assert_eq!(RequestId::sane(id.as_bytes()), expected, "{id:?}");
        }
        check("a", true);
        check("0190b2c4-8d1e-7cc3-98c4-dc0c0c07398f", true);
        check("AZ.az_09~+/=:-", true);
        check(&"x".repeat(128), true);
        check("", false);
        check(&"x".repeat(129), false);
        for odd in ["a b", "a\"", "a\r\n", "ä", "a,b", "a\0", "<x>", "{x}", "a;b", "a'b"] {
            check(odd, false);
        }
    }

    #[test]
    fn randomness_is_spread_and_repeatable() {
        let (one, same) = (Random::new(7), Random::new(7));
        let mut hits = [0_u32; 10];
        for _ in 0..10_000 {
            let number = one.below(10);
            assert_eq!(number, same.below(10));
            hits[number as usize] += 1;
        }
        assert!(hits.iter().all(|&hits| (850..1150).contains(&hits)), "{hits:?}");
        assert_eq!(one.below(0), 0);
        assert_eq!(one.below(1), 0);
    }
}
