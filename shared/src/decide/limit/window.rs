//! One limit and how it counts.

use super::seconds;

/// The state of one limit; which one it is, its rule knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Sliding window: its number. Fixed window: when it began. Token bucket: the upper half of its level.
    pub(super) high: u64,
    /// Sliding window: the count before in the upper half, the count now in the lower. Fixed window: its count. Token bucket:
    /// the lower half of its level. Concurrency: how many run.
    pub(super) low: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Distinct within the rule's header.
    pub(super) name: String,
    pub(super) requests: u32,
    /// 1 where it has no length.
    pub(super) per_us: u64,
    pub(super) kind: Kind,
}

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sliding,
    Fixed,
    Bucket { size: u32 },
    Concurrent,
}

/// How a limit stands.
pub(super) struct Standing {
    pub(super) remaining: u32,
    /// Until more is available: the end of the window, or the bucket has room for one more.
    pub(super) reset_us: u64,
    /// Until one request would pass.
    pub(super) wait_us: u64,
}

/// All products of a count (32 bits) and a time (42 bits for 30 days in microseconds) are taken in 128 bits: exact.
impl Limit {
    pub(super) fn arithmetic(&self) -> (u32, u64, Kind) {
        (self.requests, self.per_us, self.kind)
    }

    pub(super) fn per_s(&self) -> u64 {
        if self.kind == Kind::Concurrent { 0 } else { seconds(self.per_us) }
    }

    pub(super) fn settled(&self, slot: Slot, now_us: u64, elapsed_us: u64) -> Slot {
        match self.kind {
            Kind::Bucket { .. } => {
                Slot::of_level(slot.level().saturating_sub(u128::from(elapsed_us) * u128::from(self.requests)))
            }
            Kind::Sliding => {
                let number = now_us / self.per_us;
                match number.saturating_sub(slot.high) {
                    0 => slot,
                    1 => Slot::of_window(number, slot.count(), 0),
                    _ => Slot::of_window(number, 0, 0),
                }
            }
            Kind::Fixed if now_us.saturating_sub(slot.high) >= self.per_us => Slot::default(),
            Kind::Fixed | Kind::Concurrent => slot,
        }
    }

    pub(super) fn has_room(&self, slot: Slot, cost: u32, now_us: u64) -> bool {
        self.used(slot, now_us) + self.price(cost) <= self.capacity()
    }

    pub(super) fn taken(&self, slot: Slot, cost: u32, now_us: u64) -> Slot {
        match self.kind {
            Kind::Bucket { .. } => Slot::of_level(slot.level() + self.price(cost)),
            Kind::Sliding => Slot::of_window(slot.high, slot.count_before(), slot.count().saturating_add(cost)),
            Kind::Fixed if slot.low == 0 => Slot { high: now_us, low: cost.into() },
            Kind::Fixed | Kind::Concurrent => Slot { low: slot.low.saturating_add(cost.into()), ..slot },
        }
    }

    pub(super) fn given_back(&self, slot: Slot, cost: u32) -> Slot {
        match self.kind {
            Kind::Concurrent => Slot { low: slot.low.saturating_sub(cost.into()), ..slot },
            Kind::Sliding | Kind::Fixed | Kind::Bucket { .. } => slot,
        }
    }

    pub(super) fn is_unused(&self, slot: Slot) -> bool {
        match self.kind {
            Kind::Bucket { .. } => slot.level() == 0,
            Kind::Sliding | Kind::Fixed | Kind::Concurrent => slot.low == 0,
        }
    }

    /// What so many requests take of the capacity; one is `per_us`.
    fn price(&self, cost: u32) -> u128 {
        u128::from(cost) * u128::from(self.per_us)
    }

    /// What is used of the capacity.
    pub(super) fn used(&self, slot: Slot, now_us: u64) -> u128 {
        match self.kind {
            Kind::Bucket { .. } => slot.level(),
            Kind::Sliding => {
                let left_us = self.per_us - now_us % self.per_us;
                u128::from(slot.count_before()) * u128::from(left_us) + self.price(slot.count())
            }
            Kind::Fixed | Kind::Concurrent => u128::from(slot.low) * u128::from(self.per_us),
        }
    }

    fn capacity(&self) -> u128 {
        match self.kind {
            Kind::Bucket { size } => self.price(size),
            Kind::Sliding | Kind::Fixed | Kind::Concurrent => self.price(self.requests),
        }
    }

    pub(super) fn standing(&self, slot: Slot, cost: u32, now_us: u64) -> Standing {
        let used = self.used(slot, now_us);
        let left = self.capacity().saturating_sub(used) / u128::from(self.per_us);
        let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(self.requests);
        let lacking = (used + self.price(cost)).saturating_sub(self.capacity());
        let (reset_us, wait_us) = match self.kind {
            Kind::Bucket { .. } => {
                let drained_in = |level: u128| narrowed(level.div_ceil(u128::from(self.requests.max(1))));
                // One more than is left now: what is used then leaves room for that. Never sooner than a request would pass.
                let room = (left + 1) * u128::from(self.per_us);
                let over = (used + room).saturating_sub(self.capacity());
                (drained_in(if used == 0 { 0 } else { over.max(lacking) }), drained_in(lacking))
            }
            Kind::Sliding => {
                let left_us = self.per_us - now_us % self.per_us;
                let wait_us = if lacking == 0 { 0 } else { self.window_wait_us(slot, cost, left_us) };
                (if self.is_unused(slot) { 0 } else { left_us.max(wait_us) }, wait_us)
            }
            Kind::Fixed => {
                let left_us = slot.high.saturating_add(self.per_us).saturating_sub(now_us);
                let reset_us = if self.is_unused(slot) { 0 } else { left_us };
                (reset_us, if lacking == 0 { 0 } else { left_us })
            }
            Kind::Concurrent => (0, 0),
        };
        Standing { remaining, reset_us, wait_us }
    }

    /// Until the window before weighs little enough; where too much of this window is taken, until it is the one before and does.
    fn window_wait_us(&self, slot: Slot, cost: u32, left_us: u64) -> u64 {
        let free = self.requests.saturating_sub(slot.count());
        let (full_windows_us, weighing, free) = match free.checked_sub(cost) {
            None => (self.per_us, slot.count(), self.requests.saturating_sub(cost)),
            Some(free) => (0, slot.count_before(), free),
        };
        let harmless_us = u128::from(free) * u128::from(self.per_us) / u128::from(weighing.max(1));
        (left_us + full_windows_us).saturating_sub(narrowed(harmless_us))
    }
}

impl Slot {
    pub(super) fn of_level(level: u128) -> Self {
        Self { high: (level >> 64) as u64, low: level as u64 }
    }

    fn level(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    pub(super) fn of_window(number: u64, before: u32, now: u32) -> Self {
        Self { high: number, low: u64::from(before) << 32 | u64::from(now) }
    }

    fn count(self) -> u32 {
        self.low as u32
    }

    fn count_before(self) -> u32 {
        (self.low >> 32) as u32
    }
}

fn narrowed(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}
