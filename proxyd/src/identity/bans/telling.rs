//! What the log says of bans that were earned: each by a line of its own, and of a flood only how many.

use std::sync::{Mutex, PoisonError};

use directory::BanRow;

/// Lines in one second.
const MOST_LINES: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Telling(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    at_s: i64,
    lines: u32,
    /// Bans without a line, in this second and those before.
    untold: u64,
}

impl Telling {
    /// A ban was earned just now.
    pub(super) fn earned(&self, row: &BanRow, lasts_s: i64, now_s: i64) {
        if self.has_line(now_s) {
            let BanRow { network, reason, times, .. } = row;
            tracing::info!(network, reason, times, lasts_s, "an address has earned a ban");
        }
    }

    /// Tells how many bans had no line of their own, once their second is over.
    pub(super) fn untold(&self, now_s: i64) {
        let bans = self.take_untold(now_s);
        if bans > 0 {
            tracing::info!(bans, "more addresses have earned a ban than are told one by one");
        }
    }

    fn has_line(&self, now_s: i64) -> bool {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second.at_s != now_s {
            *second = Second { at_s: now_s, lines: 0, untold: second.untold };
        }
        if second.lines >= MOST_LINES {
            second.untold += 1;
            return false;
        }
        second.lines += 1;
        true
    }

    fn take_untold(&self, now_s: i64) -> u64 {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if second.at_s == now_s { 0 } else { std::mem::take(&mut second.untold) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_by_its_number() {
        let telling = Telling::default();
        assert_eq!((0..1000).filter(|_| telling.has_line(7)).count(), 10);
        assert_eq!(telling.take_untold(7), 0, "the second goes on");
        assert!(telling.has_line(8));
        assert_eq!((telling.take_untold(9), telling.take_untold(9)), (990, 0));
    }
}
