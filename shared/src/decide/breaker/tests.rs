//! Laws of `decide::breaker`.
