//! Arguments of the commands about who may come in: API keys, revoked tokens, accounts and bans.

use serde::{Deserialize, Serialize};

use super::secret;
use crate::config::Secret;

/// Arguments of `keys create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct KeysCreateArgs {
    /// What it is called; no two keys that are good have the same name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    pub name: String,
    /// Its scopes, apart by commas; may be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "SCOPES", value_delimiter = ','))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Its roles, apart by commas; may be repeated
    #[cfg_attr(feature = "cli", arg(long, value_name = "ROLES", value_delimiter = ','))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    // The flag `--user` is proxyctl's own.
    /// Whom it acts for: the user that upstreams and limits see [default: nobody, it counts as itself]
    #[cfg_attr(feature = "cli", arg(id = "acts_for", long = "acts-for", value_name = "USER"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When it expires: after a time such as 30d, or at an RFC 3339 time [default: never]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Its own rate in every rule that counts by key, such as 100/m [default: what the rule says]
    #[cfg_attr(feature = "cli", arg(long, value_name = "RATE"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

/// Arguments of `keys revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct KeysRevokeArgs {
    /// The key: its name, its prefix or its id
    #[cfg_attr(feature = "cli", arg(value_name = "KEY"))]
    pub key: String,
}

/// Arguments of `keys rotate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct KeysRotateArgs {
    /// The key: its name, its prefix or its id
    #[cfg_attr(feature = "cli", arg(value_name = "KEY"))]
    pub key: String,
    /// How long the earlier secret stays good beside the new one, up to 90d [default: not at all]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
}

/// Arguments of `tokens_revoke`; one of `token` and `jti`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokensRevokeArgs {
    /// The whole token, of which `jti` and `exp` are read; its signature is not looked at.
    #[serde(with = "secret::maybe", skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Whose token it is, as `auth` names it (`jwt.main`); `*` or none: whoever's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// When the token expires: a time such as `30d`, or RFC 3339; none: as it says itself, in a year where that is not known. It is
    /// remembered for a day longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Arguments of `users_add`. Without a password an account can only be entered after a reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersAddArgs {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(default, with = "secret::maybe", skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether its e-mail address is known to be its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verified: bool,
}

/// Arguments of `users_set`; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersSetArgs {
    /// The user: name, e-mail address or id.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// All of them anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// May not log in, and what it logged in with before is good no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Arguments of `users_password`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersPasswordArgs {
    /// The user: name, e-mail address or id.
    pub name: String,
    #[serde(with = "secret")]
    pub password: Secret,
}

/// Arguments of `users remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct UsersRemoveArgs {
    /// The user: name, e-mail address or id
    #[cfg_attr(feature = "cli", arg(value_name = "USER"))]
    pub name: String,
}

/// Arguments of `bans add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct BansAddArgs {
    /// An address, or a network such as 203.0.113.0/24
    #[cfg_attr(feature = "cli", arg(value_name = "NETWORK"))]
    pub network: String,
    /// For how long, up to 365d [default: 1h]
    #[cfg_attr(feature = "cli", arg(id = "for", long = "for", value_name = "TIME"))]
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    /// Why, in a few words
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Arguments of `bans lift`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct BansLiftArgs {
    /// The address or network, as `proxyctl bans` lists it
    #[cfg_attr(feature = "cli", arg(value_name = "NETWORK"))]
    pub network: String,
}

#[cfg(test)]
mod tests {
    use crate::control::Command;

    #[test]
    fn secrets_go_over_the_wire_and_nowhere_else() {
        let args = serde_json::json!({ "name": "ada", "password": "correct horse" });
        for (name, args) in [
            ("users_password", args.clone()),
            ("users_add", args),
            ("tokens_revoke", serde_json::json!({ "token": "correct horse" })),
        ] {
            let command = Command::parse(name, args).unwrap();
            assert!(!format!("{command:?}").contains("horse"), "{command:?}");
            assert!(serde_json::to_string(&command).unwrap().contains("correct horse"));
        }
    }
}
