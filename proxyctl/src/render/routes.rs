//! `routes`: in the order in which they are tried.

use shared::control::report::RouteLine;

use super::table::table;
use crate::screen::Look;

pub(super) fn routes(routes: &[RouteLine], look: &Look) -> String {
    if routes.is_empty() {
        return "no routes\n".to_owned();
    }
    let rows: Vec<Vec<String>> = routes
        .iter()
        .map(|route| {
            vec![
                route.name.clone(),
                if route.priority == 0 { String::new() } else { route.priority.to_string() },
                route.hosts.join(", "),
                route.path.clone(),
                route.methods.join(", "),
                route.conditions.join(", "),
                route.action.clone(),
                route.policies.join(", "),
                route.origin.clone(),
            ]
        })
        .collect();
    let headings = ["ROUTE", "PRIORITY", "HOSTS", "PATH", "METHODS", "CONDITIONS", "ACTION", "POLICIES", "FROM"];
    table(&headings, &rows, look)
}
