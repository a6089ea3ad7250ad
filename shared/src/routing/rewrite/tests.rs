//! Rewritten paths and locations.
