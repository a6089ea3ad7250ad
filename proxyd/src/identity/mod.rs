//! Who somebody is: what tokens, keys and passwords say, checked. What follows from it is decided in the filters.

pub mod claims;
pub mod jwt;
pub mod mint;
