//! Laws of `decide::budget`.
