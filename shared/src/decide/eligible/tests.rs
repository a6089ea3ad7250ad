//! Laws of `decide::eligible`.
