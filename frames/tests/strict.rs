//! The PROXY header beside another reader of it, and everything here under bytes that nobody wrote by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod strict {
    #[path = "../../../http1/tests/strict/corpus.rs"]
    mod corpus;
    mod differential;
    mod fuzz;
    #[path = "../../../http1/tests/strict/mutation.rs"]
    mod mutation;
    mod targets;
}
