//! How rows are asked for: the filters of `proxyctl audit`, `GET /admin/audit` and the socket command.

use serde::{Deserialize, Serialize};

/// Which rows are wanted. Filters are joined by "and"; an absent one lets everything through. Filters that only
/// requests can meet (status, route, client, path, method, principal, request id, retried and such) leave actions out, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct AuditQuery {
    /// The newest N rows that match, oldest first (default 50, at most 10000)
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Rows since then: a duration back from now (15m, 2h, 7d) or an RFC 3339 time
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Rows until then, in the same forms
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Rows with a smaller sequence number, to page backwards
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEQ"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// With --follow: rows with a greater sequence number, to go on where an earlier stream broke off
    #[cfg_attr(feature = "cli", arg(long, value_name = "SEQ"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Only requests, or only actions (gaps are always told)
    #[cfg_attr(feature = "cli", command(flatten))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// A status (404), a class (5xx) or a range (400-499)
    #[cfg_attr(feature = "cli", arg(long, value_name = "STATUS"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A route's name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// An upstream's name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// A client's address, or a network (10.0.0.0/8)
    #[cfg_attr(feature = "cli", arg(long, value_name = "ADDRESS"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// A path, or the beginning of one with a final *
    #[cfg_attr(feature = "cli", arg(long, value_name = "PATH"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A method
    #[cfg_attr(feature = "cli", arg(long, value_name = "METHOD"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// An outcome: served, answered, or a rejection's code
    #[cfg_attr(feature = "cli", arg(long, value_name = "CODE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Who was recognised, by name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Part of how they were recognised: a provider's name (jwt.main), an API key's prefix
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Part of an actor's description
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// A request id
    #[cfg_attr(feature = "cli", arg(long, value_name = "ID"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Requests that were sent upstream more than once
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
    /// Go on with new rows as they are written
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Which kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Requests,
    Actions,
}

/// On a command line a kind is a flag of its own: `--requests` or `--actions`.
#[cfg(feature = "cli")]
mod flags {
    use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, Error, FromArgMatches, Id};

    use super::Kind;

    const GROUP: &str = "kind";

    impl Args for Kind {
        fn group_id() -> Option<Id> {
            Some(Id::from(GROUP))
        }

        fn augment_args(command: Command) -> Command {
            let flag = |name: &'static str, help: &'static str| {
                Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
            };
            command
                .arg(flag("requests", "Only requests (gaps are always told)"))
                .arg(flag("actions", "Only actions of operators (gaps are always told)"))
                .group(ArgGroup::new(GROUP).args(["requests", "actions"]).multiple(false))
        }

        fn augment_args_for_update(command: Command) -> Command {
            Self::augment_args(command)
        }
    }

    impl FromArgMatches for Kind {
        fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
            Ok(if matches.get_flag("actions") { Self::Actions } else { Self::Requests })
        }

        fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
            *self = Self::from_arg_matches(matches)?;
            Ok(())
        }
    }
}
