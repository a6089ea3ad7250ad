//! How many frames of each kind a client may send. What costs the client nothing and us something is counted: frames
//! that open, close and ask without end (RFC 9113 section 10.5).
//!
//! The time is an argument, in milliseconds from anywhere, never backwards.

use super::{Frame, flag, kind};

/// So many at once, and so many more each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub burst: u32,
    pub per_second: u32,
}

/// What a client may do on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodLimits {
    /// `RST_STREAM`: a request that is begun and taken back at once costs its sender nothing (CVE-2023-44487).
    pub resets: Budget,
    /// PING: each asks for an answer (CVE-2019-9512). Answers to ours are counted too; we ask rarely.
    pub pings: Budget,
    /// SETTINGS: each asks for an answer (CVE-2019-9515).
    pub settings: Budget,
    /// DATA, HEADERS and CONTINUATION that carry nothing and end nothing (CVE-2019-9518).
    pub empty_frames: Budget,
    /// PRIORITY and `PRIORITY_UPDATE`: each rearranges what nobody looks at (CVE-2019-9513).
    pub priorities: Budget,
    /// `WINDOW_UPDATE`: many are in order, for a large body that is read in small pieces.
    pub window_updates: Budget,
    /// CONTINUATION frames of one field block (CVE-2024-27316): so many, one behind the other.
    pub continuations: u32,
}

impl Default for FloodLimits {
    fn default() -> Self {
        let budget = |burst, per_second| Budget { burst, per_second };
        Self {
            resets: budget(200, 100),
            pings: budget(50, 10),
            settings: budget(20, 5),
            empty_frames: budget(100, 20),
            priorities: budget(200, 100),
            window_updates: budget(10_000, 5_000),
            continuations: 16,
        }
    }
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodKind {
    Resets,
    Pings,
    Settings,
    EmptyFrames,
    Continuations,
    Priorities,
    WindowUpdates,
}

impl FloodKind {
    /// Its name in logs, metrics and the record.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Resets => "h2_rapid_reset",
            Self::Pings => "h2_ping_flood",
            Self::Settings => "h2_settings_flood",
            Self::EmptyFrames => "h2_empty_frames",
            Self::Continuations => "h2_continuation_flood",
            Self::Priorities => "h2_priority_flood",
            Self::WindowUpdates => "h2_window_flood",
        }
    }
}

/// What is left of a budget, in thousandths: so many come back each millisecond as whole ones each second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    budget: Budget,
    left: u64,
    /// When that was so.
    at_ms: u64,
}

impl Bucket {
    const WHOLE: u64 = 1000;

    fn full(budget: Budget) -> Self {
        Self { budget, left: u64::from(budget.burst) * Self::WHOLE, at_ms: 0 }
    }

    /// Takes one, if there is one.
    fn take(&mut self, now_ms: u64) -> bool {
        let back = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(self.budget.per_second));
        self.left = self.left.saturating_add(back).min(u64::from(self.budget.burst) * Self::WHOLE);
        self.at_ms = self.at_ms.max(now_ms);
        let taken = self.left.checked_sub(Self::WHOLE);
        self.left = taken.unwrap_or(self.left);
        taken.is_some()
    }
}

/// Judges one client's frames on one connection.
#[derive(Clone, Debug)]
pub struct Flood {
    resets: Bucket,
    pings: Bucket,
    settings: Bucket,
    empty_frames: Bucket,
    priorities: Bucket,
    window_updates: Bucket,
    most_continuations: u32,
    /// CONTINUATION frames since the last frame of another kind.
    continuations: u32,
}

impl Flood {
    pub fn new(limits: FloodLimits) -> Self {
        Self {
            resets: Bucket::full(limits.resets),
            pings: Bucket::full(limits.pings),
            settings: Bucket::full(limits.settings),
            empty_frames: Bucket::full(limits.empty_frames),
            priorities: Bucket::full(limits.priorities),
            window_updates: Bucket::full(limits.window_updates),
            most_continuations: limits.continuations,
            continuations: 0,
        }
    }

    /// A frame has come. Some: it is one too many, and the connection should end.
    pub fn judge(&mut self, frame: &Frame, now_ms: u64) -> Option<FloodKind> {
        let in_a_row = if frame.kind == kind::CONTINUATION { self.continuations.saturating_add(1) } else { 0 };
        self.continuations = in_a_row;
        if in_a_row > self.most_continuations {
            return Some(FloodKind::Continuations);
        }
        let (bucket, kind) = match frame.kind {
            kind::RST_STREAM => (&mut self.resets, FloodKind::Resets),
            kind::PING => (&mut self.pings, FloodKind::Pings),
            kind::SETTINGS => (&mut self.settings, FloodKind::Settings),
            kind::PRIORITY | kind::PRIORITY_UPDATE => (&mut self.priorities, FloodKind::Priorities),
            kind::WINDOW_UPDATE => (&mut self.window_updates, FloodKind::WindowUpdates),
            _ if carries_nothing(frame) => (&mut self.empty_frames, FloodKind::EmptyFrames),
            _ => return None,
        };
        (!bucket.take(now_ms)).then_some(kind)
    }
}

/// Whether it is one of those that carry and end nothing. CONTINUATION has no `END_STREAM` (RFC 9113 section 6.10).
fn carries_nothing(frame: &Frame) -> bool {
    let ends = frame.flags & flag::END_STREAM != 0;
    frame.length == 0
        && match frame.kind {
            kind::DATA | kind::HEADERS => !ends,
            kind::CONTINUATION => true,
            _ => false,
        }
}

#[cfg(test)]
mod tests;
