//! The randomness of the simulations: the same for the same seed, so that a failure names its seed and comes again.

/// `SplitMix64`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::balance::mix(self.0)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        super::draw::below(bound, self.next())
    }

    /// From `least` to `most`, both reached.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
