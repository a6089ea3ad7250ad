//! How strict the engine is, from outside: beside hyper and httparse, and under bytes that nobody wrote by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod strict {
    mod corpus;
    mod differential;
    mod engine;
    mod fuzz;
    mod hyper_reads;
    mod mutation;
    mod targets;
}
