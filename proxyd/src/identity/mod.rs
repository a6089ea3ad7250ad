//! Who somebody is: what tokens, keys and passwords say, checked. What follows from it is decided in the filters.

pub mod accounts;
pub mod bans;
mod cache;
pub mod called;
pub mod claims;
pub mod forward;
mod identities;
pub mod introspect;
pub mod jwt;
mod key_file;
pub mod keys;
pub mod login;
pub mod mint;
pub mod password;
mod recogniser;
pub mod revoked;
pub mod seal;
mod send;
pub mod session;
mod signing_keys;
pub mod state;
pub mod trouble;
mod tunnels;

pub use self::identities::{Around, Identities, IdentityError};
pub use self::recogniser::{Answer, Asking, Question, Recognised, Recogniser, Said};
pub use self::send::Sends;
pub use self::state::{State, StateError};
pub use self::tunnels::{Look, Open, Taken, Tunnel, Tunnels};
