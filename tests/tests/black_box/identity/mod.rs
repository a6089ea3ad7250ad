//! Who may come in: recognised by what, for what, how often, and what is said of it while the daemon runs.

mod accounts;
mod asked;
mod bans;
mod certificates;
mod combining;
mod control;
mod examples;
mod limits;
mod login;
mod mail;
mod moves;
mod places;
mod recorded;
mod redis;
mod revoked;
mod sessions;
mod signing;
mod threats;
mod tokens;
mod tunnels;
mod waiting;
