//! The same decision, told with its reasons: every candidate, why it lost, the policies in force, the URL upstream.

use std::net::IpAddr;

use crate::config::Config;
use crate::control::report::Explanation;
use crate::control::{ControlError, ExplainArgs};

use super::Table;

/// Explains what would become of a request, without sending anything.
///
/// # Errors
/// `invalid_arguments`: a URL, header or address that is none.
pub fn explain(
    config: &Config,
    table: &Table,
    args: &ExplainArgs,
    client: IpAddr,
) -> Result<Explanation, ControlError> {
    let _ = (config, table, args, client);
    todo!()
}
