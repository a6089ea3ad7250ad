//! Fuzzes `websocket_tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxyd_fuzz::websocket_tracker(bytes));
