//! How an endpoint does, as all workers see it: its probes' verdict, whether it is ejected, its breaker. Written when
//! something changes; a request that goes well reads one clean number here, and writes none.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use shared::config::Initial;
use shared::decide::breaker::{Breaker, BreakerRules, Pass, Trip};
use shared::decide::eligible::{Checked, Circuit};
use shared::decide::probe::Streak;

use super::window::{Seen, Sums, Window};

/// What could be told all the time is told so often.
const TOLD_EVERY_US: u64 = 10_000_000;

/// Never: a time that no clock reaches, and that none begins with.
const NEVER: u64 = 0;

/// See the module. Times are microseconds since the daemon's start, plus one.
#[derive(Debug)]
pub struct Health {
    checked: AtomicU8,
    ejected_until_us: AtomicU64,
    /// When it came back, or came at all: a slow start begins there.
    ready_since_us: AtomicU64,
    /// Failures without a success between.
    consecutive: AtomicU32,
    /// Whether the breaker is anything but closed: only then it is asked.
    circuit_is_open: AtomicU8,
    breaker: Mutex<Breaker>,
    /// One for each worker; there from the first time that it counts in them.
    windows: OnceLock<Box<[OnceLock<Box<Windows>>]>>,
    workers: usize,
    probes_passed: AtomicU64,
    probes_failed: AtomicU64,
    /// When something was told that could be told all the time.
    told_us: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Windows {
    breaker: Window,
    ejection: Window,
}

/// Whose window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    Breaker,
    Ejection,
}

impl Windows {
    fn of(&self, judge: Judge) -> &Window {
        match judge {
            Judge::Breaker => &self.breaker,
            Judge::Ejection => &self.ejection,
        }
    }
}

/// What is told about it. Times are microseconds since the epoch.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub probe: Option<ProbeNote>,
    /// When the probes' verdict last changed.
    pub checked_at_us: Option<i64>,
    pub ejected: Option<Note>,
    pub tripped: Option<Note>,
    pub ejections: u64,
    pub trips: u64,
}

/// Something that happened, and why.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub at_us: i64,
    pub why: &'static str,
}

/// What the newest probe brought.
#[derive(Clone, Debug)]
pub struct ProbeNote {
    pub at_us: i64,
    pub ok: bool,
    pub took_us: u64,
    /// In a few words of ours.
    pub text: String,
}

impl Health {
    /// Of an endpoint that is new.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            checked: AtomicU8::new(word(Checked::NotProbed)),
            ejected_until_us: AtomicU64::new(NEVER),
            ready_since_us: AtomicU64::new(NEVER),
            consecutive: AtomicU32::new(0),
            circuit_is_open: AtomicU8::new(0),
            breaker: Mutex::default(),
            windows: OnceLock::new(),
            workers,
            probes_passed: AtomicU64::new(0),
            probes_failed: AtomicU64::new(0),
            told_us: AtomicU64::new(NEVER),
            notes: Mutex::default(),
        }
    }

    /// What the probes say.
    pub fn checked(&self) -> Checked {
        match self.checked.load(Relaxed) {
            1 => Checked::Unknown,
            2 => Checked::Healthy,
            3 => Checked::Unhealthy,
            _ => Checked::NotProbed,
        }
    }

    /// The probes say something else now. Whether it did not say so before.
    pub fn set_checked(&self, checked: Checked, now_us: u64, unix_us: i64) -> bool {
        let before = self.checked();
        if before == checked {
            return false;
        }
        self.checked.store(word(checked), Relaxed);
        self.notes().checked_at_us = Some(unix_us);
        if checked == Checked::Healthy && before == Checked::Unhealthy {
            self.begins_slowly(now_us);
        }
        true
    }

    /// A probe has ended.
    pub(super) fn probed(&self, ok: bool) {
        if ok { &self.probes_passed } else { &self.probes_failed }.fetch_add(1, Relaxed);
    }

    /// How many probes passed, and how many failed.
    pub fn probes(&self) -> (u64, u64) {
        (self.probes_passed.load(Relaxed), self.probes_failed.load(Relaxed))
    }

    /// It is asked from now on, if it was not before; this holds until the first answer. Whether that is new.
    pub(super) fn awaits_probe(&self, initial: Initial) -> bool {
        let is_new = self.checked() == Checked::NotProbed;
        if is_new {
            self.checked.store(word(Streak::new(initial).checked()), Relaxed);
        }
        is_new
    }

    /// Nobody asks it any more. Whether somebody did.
    pub(super) fn drop_probe(&self) -> bool {
        if self.checked() == Checked::NotProbed {
            return false;
        }
        self.checked.store(word(Checked::NotProbed), Relaxed);
        self.notes().probe = None;
        true
    }

    /// It serves again, or for the first time among others.
    pub fn begins_slowly(&self, now_us: u64) {
        self.ready_since_us.store(now_us + 1, Relaxed);
    }

    /// When it began, if a slow start begins there.
    pub fn ready_since_us(&self) -> Option<u64> {
        time(&self.ready_since_us).max(self.ejected_until_us())
    }

    /// Until when it is, or was, ejected.
    pub fn ejected_until_us(&self) -> Option<u64> {
        time(&self.ejected_until_us)
    }

    /// Whether it is ejected now.
    pub fn is_ejected(&self, now_us: u64) -> bool {
        self.ejected_until_us().is_some_and(|until| until > now_us)
    }

    /// It is left out. Failures in a row go on being counted: where it comes back no better, the first one is enough.
    pub(super) fn eject(&self, until_us: u64, note: Note) {
        self.forget(Judge::Ejection);
        self.ejected_until_us.store(until_us + 1, Relaxed);
        let mut notes = self.notes();
        notes.ejected = Some(note);
        notes.ejections += 1;
    }

    /// It failed: how often without a success between.
    pub(super) fn failed(&self) -> u32 {
        self.consecutive.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// It did well.
    pub(super) fn succeeded(&self) {
        if self.consecutive.load(Relaxed) != 0 {
            self.consecutive.store(0, Relaxed);
        }
    }

    /// Whether something may be told that could be told all the time: once in a while.
    pub(super) fn may_tell(&self, now_us: u64) -> bool {
        let told_us = self.told_us.load(Relaxed);
        let is_time = told_us == NEVER || now_us.saturating_sub(told_us) >= TOLD_EVERY_US;
        is_time && self.told_us.compare_exchange(told_us, now_us + 1, Relaxed, Relaxed).is_ok()
    }

    /// All that was counted for an ejection begins anew.
    pub(super) fn count_anew(&self) {
        self.consecutive.store(0, Relaxed);
        self.forget(Judge::Ejection);
    }

    /// Counts in this worker's window.
    pub(super) fn count(&self, judge: Judge, worker: usize, seen: Seen, now_us: u64, length: Duration) {
        let windows = self.windows.get_or_init(|| (0..self.workers).map(|_| OnceLock::new()).collect());
        if let Some(windows) = windows.get(worker) {
            windows.get_or_init(Box::default).of(judge).count(seen, now_us, length);
        }
    }

    /// What all workers counted of late.
    pub(super) fn sums(&self, judge: Judge, now_us: u64, length: Duration) -> Sums {
        let mut sums = Sums::default();
        for windows in self.windows.get().into_iter().flatten().filter_map(OnceLock::get) {
            windows.of(judge).add_to(&mut sums, now_us, length);
        }
        sums
    }

    fn forget(&self, judge: Judge) {
        for windows in self.windows.get().into_iter().flatten().filter_map(OnceLock::get) {
            windows.of(judge).clear();
        }
    }

    /// How the breaker stands.
    pub fn circuit(&self, now_us: u64) -> Circuit {
        if self.circuit_is_open.load(Relaxed) == 0 {
            return Circuit::Closed;
        }
        self.breaker().circuit(now_us)
    }

    /// Whether the breaker lets a request through.
    pub(super) fn try_pass(&self, rules: &BreakerRules, now_us: u64) -> Pass {
        if self.circuit_is_open.load(Relaxed) == 0 {
            return Pass::Free;
        }
        self.breaker().try_pass(rules, now_us)
    }

    /// A trial has ended: well, badly, or without a verdict. Whether the breaker stands otherwise now.
    pub(super) fn trial_ended(&self, rules: &BreakerRules, ok: Option<bool>, now_us: u64, unix_us: i64) -> bool {
        let mut breaker = self.breaker();
        let was_closed = breaker.circuit(now_us) == Circuit::Closed;
        let trip = breaker.trial_ended(rules, ok, now_us);
        let is_closed = breaker.circuit(now_us) == Circuit::Closed;
        self.circuit_is_open.store(u8::from(!is_closed), Relaxed);
        drop(breaker);
        if let Some(trip) = trip {
            self.tripped(Note { at_us: unix_us, why: trip_word(trip) });
            return true;
        }
        // One of several that ends when the matter is decided changes nothing.
        let has_closed = is_closed && !was_closed;
        if has_closed {
            self.forget(Judge::Breaker);
            self.begins_slowly(now_us);
        }
        has_closed
    }

    /// Opens the breaker, if what was counted says so.
    pub(super) fn judge(&self, rules: &BreakerRules, sums: &Sums, now_us: u64, unix_us: i64) -> Option<&'static str> {
        let mut breaker = self.breaker();
        let trip = breaker.judge(rules, sums.counts, now_us)?;
        self.circuit_is_open.store(1, Relaxed);
        drop(breaker);
        self.tripped(Note { at_us: unix_us, why: trip_word(trip) });
        Some(trip_word(trip))
    }

    fn tripped(&self, note: Note) {
        let mut notes = self.notes();
        notes.tripped = Some(note);
        notes.trips += 1;
    }

    /// There is no breaker any more: what it was open for is forgotten. Whether it was.
    pub(super) fn drop_breaker(&self) -> bool {
        let was_open = self.circuit_is_open.swap(0, Relaxed) != 0;
        if was_open {
            *self.breaker() = Breaker::default();
            self.forget(Judge::Breaker);
        }
        was_open
    }

    /// There is no ejection any more. Whether it was ejected at some time.
    pub(super) fn drop_ejection(&self) -> bool {
        self.consecutive.store(0, Relaxed);
        self.ejected_until_us.swap(NEVER, Relaxed) != NEVER
    }

    /// What is told about it.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(checked: Checked) -> u8 {
    match checked {
        Checked::NotProbed => 0,
        Checked::Unknown => 1,
        Checked::Healthy => 2,
        Checked::Unhealthy => 3,
    }
}

fn trip_word(trip: Trip) -> &'static str {
    match trip {
        Trip::ErrorRate => "too many errors",
        Trip::SlowRate => "too many slow calls",
        Trip::Trial => "a trial failed",
    }
}

fn time(cell: &AtomicU64) -> Option<u64> {
    cell.load(Relaxed).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use shared::config::Percent;
    use shared::decide::breaker::Counts;

    use super::*;

    #[test]
    fn trials_that_end_after_the_verdict_open_nothing_again() {
        let (health, second) = (Health::new(1), 1_000_000);
        let rules = BreakerRules {
            error_rate: Some(Percent::of(5000)),
            slow_rate: None,
            min_requests: 1,
            open_for_us: second,
            trials: 3,
        };
        let counts = Counts { total: 2, failed: 2, slow: 0 };
        assert!(health.judge(&rules, &Sums { counts, took_us: 0 }, 0, 0).is_some());
        for _ in 0..3 {
            assert_eq!(health.try_pass(&rules, second), Pass::Trial);
        }
        assert!(health.trial_ended(&rules, Some(false), second, 7));
        assert!(!health.trial_ended(&rules, Some(false), second, 8));
        // Its client left.
        assert!(!health.trial_ended(&rules, None, 0, 0));
        let notes = health.notes().clone();
        assert_eq!((notes.trips, notes.tripped.map(|note| note.at_us)), (2, Some(7)));
        for _ in 0..3 {
            assert_eq!(health.try_pass(&rules, 2 * second), Pass::Trial);
        }
        let ended: Vec<bool> = (0..3).map(|_| health.trial_ended(&rules, Some(true), 2 * second, 9)).collect();
        assert_eq!((ended, health.notes().trips), (vec![false, false, true], 2));
    }

    #[test]
    fn one_that_comes_back_no_better_is_not_given_as_many_failures_again() {
        let health = Health::new(1);
        assert_eq!([health.failed(), health.failed(), health.failed()], [1, 2, 3]);
        health.eject(1_000_000, Note { at_us: 0, why: "consecutive errors" });
        assert!(health.is_ejected(999_999) && !health.is_ejected(1_000_000));
        assert_eq!(health.failed(), 4);
        health.succeeded();
        assert_eq!(health.failed(), 1);
    }
}
