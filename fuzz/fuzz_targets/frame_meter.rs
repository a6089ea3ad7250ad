//! Fuzzes `frame_meter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxyd_fuzz::frame_meter(bytes));
