//! Bounds of the counters.
