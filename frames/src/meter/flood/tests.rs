//! Budgets, used up and coming back.

use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, length: u32) -> Frame {
    Frame { kind, flags, length, stream: 1, code: None }
}

/// So many at once pass, the next does not; a second later so many more do.
#[track_caller]
fn check(frames: &[Frame], burst: usize, per_second: usize, expected: FloodKind) {
    let mut flood = Flood::new(FloodLimits::default());
    let mut passing = |most: usize, now_ms: u64| {
        let passed = frames.iter().cycle().take(most).take_while(|frame| flood.judge(frame, now_ms).is_none()).count();
        (passed, flood.judge(&frames[passed % frames.len()], now_ms))
    };
    assert_eq!(passing(burst + 1, 5_000), (burst, Some(expected)));
    assert_eq!(passing(burst + 1, 5_000 + 1_000), (per_second, Some(expected)));
    assert_eq!(passing(burst + 1, 5_000 + 1_000_000), (burst, Some(expected)));
    // A clock that goes backwards gives nothing.
    assert_eq!(passing(burst + 1, 0), (0, Some(expected)));
    assert_eq!(passing(burst + 1, 5_000 + 1_000_000), (0, Some(expected)));
}

#[test]
fn each_kind_has_its_budget() {
    check(&[frame(kind::RST_STREAM, 0, 4)], 200, 100, FloodKind::Resets);
    check(&[frame(kind::PING, 0, 8), frame(kind::PING, flag::ACK, 8)], 50, 10, FloodKind::Pings);
    check(&[frame(kind::SETTINGS, 0, 6), frame(kind::SETTINGS, flag::ACK, 0)], 20, 5, FloodKind::Settings);
    check(&[frame(kind::PRIORITY, 0, 5), frame(kind::PRIORITY_UPDATE, 0, 9)], 200, 100, FloodKind::Priorities);
    check(&[frame(kind::WINDOW_UPDATE, 0, 4)], 10_000, 5_000, FloodKind::WindowUpdates);
    let empty = [
        frame(kind::DATA, 0, 0),
        frame(kind::HEADERS, flag::END_HEADERS, 0),
        // What is END_STREAM elsewhere means nothing here.
        frame(kind::CONTINUATION, flag::END_STREAM, 0),
    ];
    check(&empty, 100, 20, FloodKind::EmptyFrames);
}

#[test]
fn what_carries_or_ends_something_is_free() {
    let mut flood = Flood::new(FloodLimits::default());
    for _ in 0..100_000 {
        for free in [
            frame(kind::DATA, 0, 1),
            frame(kind::DATA, flag::END_STREAM, 0),
            frame(kind::HEADERS, flag::END_STREAM, 0),
            frame(kind::HEADERS, flag::END_HEADERS, 20),
            frame(kind::GOAWAY, 0, 8),
            frame(0xfa, 0, 0),
        ] {
            assert_eq!(flood.judge(&free, 0), None);
        }
    }
}

#[test]
fn a_field_block_has_so_many_continuations() {
    let mut flood = Flood::new(FloodLimits::default());
    let more = frame(kind::CONTINUATION, 0, 16_384);
    for _ in 0..3 {
        assert_eq!(flood.judge(&frame(kind::HEADERS, 0, 16_384), 0), None);
        for _ in 0..16 {
            assert_eq!(flood.judge(&more, 0), None);
        }
    }
    assert_eq!(flood.judge(&more, 1_000_000), Some(FloodKind::Continuations));
    assert_eq!(flood.judge(&frame(kind::HEADERS, 0, 1), 1_000_000), None);
}

#[test]
fn codes_are_stable() {
    use FloodKind::{Continuations, EmptyFrames, Pings, Priorities, Resets, Settings, WindowUpdates};
    let codes = [Resets, Pings, Settings, EmptyFrames, Continuations, Priorities, WindowUpdates].map(FloodKind::code);
    let expected = [
        "h2_rapid_reset",
        "h2_ping_flood",
        "h2_settings_flood",
        "h2_empty_frames",
        "h2_continuation_flood",
        "h2_priority_flood",
        "h2_window_flood",
    ];
    assert_eq!(codes, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// In no stretch of time pass more than the burst and what comes back in it; who keeps to the rate always passes.
    #[test]
    fn no_more_than_burst_and_rate(burst in 1..50_u32, rate in 1..2000_u32, waits in prop::collection::vec(0..40_u64, 1..300)) {
        let limits = FloodLimits { resets: Budget { burst, per_second: rate }, ..FloodLimits::default() };
        let reset = frame(kind::RST_STREAM, 0, 4);
        let mut flood = Flood::new(limits);
        let (mut now, mut passed) = (0, 0);
        for wait in waits {
            now += wait;
            passed += u64::from(flood.judge(&reset, now).is_none());
            prop_assert!(passed * 1000 <= u64::from(burst) * 1000 + now * u64::from(rate));
        }
        let mut calm = Flood::new(limits);
        for step in 0..200 {
            prop_assert_eq!(calm.judge(&reset, step * 1000_u64.div_ceil(u64::from(rate))), None);
        }
    }

    #[test]
    fn no_time_and_no_limit_overflows(burst: u32, per_second: u32, now: u64) {
        let limits = FloodLimits { pings: Budget { burst, per_second }, ..FloodLimits::default() };
        let mut flood = Flood::new(limits);
        for now in [0, now, u64::MAX, 0] {
            prop_assert_eq!(flood.judge(&frame(kind::PING, 0, 8), now).is_none(), burst > 0);
            if burst < 4 {
                break;
            }
        }
    }
}
