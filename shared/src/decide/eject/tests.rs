//! Laws of `decide::eject`.
