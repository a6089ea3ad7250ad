//! JSON Web Tokens (RFC 7519): whether a token is good, and what it then says of somebody.
//!
//! Everything a token says of how it is to be checked is a claim like any other: the algorithm, the key and where keys are
//! come from the config, and what does not fit them is refused.

mod algorithm;
mod fetch;
mod jwks;
mod key;
mod key_set;
mod pem;
pub(super) mod rules;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
mod token;
mod verified;
mod verifier;

pub use fetch::{Fetches, KeySource, tend};
pub use key_set::KeySet;
pub use token::MAX_TOKEN;
pub use verified::Verified;
pub use verifier::{Checked, Counts, Revocations, Verifier};
