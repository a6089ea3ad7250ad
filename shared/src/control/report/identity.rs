//! What the commands about API keys, revoked tokens, accounts and bans answer. Times are RFC 3339, UTC.

use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::control::secret;

/// One key of `keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    pub id: String,
    pub name: String,
    /// The part of the key that may be seen: `pk_xxxxxxxx`.
    pub prefix: String,
    /// Whom it acts for.
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// `100/1m`.
    pub limit: Option<String>,
    pub created: String,
    pub expires: Option<String>,
    pub revoked: Option<String>,
    /// When it was last used, to the minute.
    pub used: Option<String>,
    pub state: KeyState,
    /// While it is rotating: until when the earlier secret is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_until: Option<String>,
    /// Who made it.
    pub by: String,
}

/// Whether a key is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    #[default]
    Active,
    /// Two secrets are good.
    Rotating,
    Expired,
    Revoked,
}

impl KeyState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Answer of `keys_create` and `keys_rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMade {
    pub id: String,
    pub name: String,
    pub prefix: String,
    /// The whole key. It is told here, and never again.
    #[serde(with = "secret")]
    pub key: Secret,
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub limit: Option<String>,
    pub created: String,
    pub expires: Option<String>,
    /// Of a rotation: until when the earlier secret is good; absent where it no longer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_until: Option<String>,
    /// What its maker should know: that nothing in the config looks for it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of a rotation: the prefix of a still earlier secret that was good until now, and is no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_ended: Option<String>,
    pub changes: KeyChange,
    pub audited: bool,
}

/// Answer of `keys_revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    pub id: String,
    pub name: String,
    pub prefix: String,
    pub changes: KeyChange,
    pub audited: bool,
}

/// Which key is good, and which was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    pub before: Option<KeyFacts>,
    pub after: Option<KeyFacts>,
}

/// What names a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    pub id: String,
    pub name: String,
    pub prefix: String,
}

/// One revoked token of `tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenLine {
    /// `*`: whoever's.
    pub provider: String,
    pub jti: String,
    /// Until when it is remembered.
    pub expires: String,
    pub revoked: String,
    pub by: String,
    /// Whether the config has no provider of this name: the revocation refuses nothing now.
    pub idle: bool,
}

/// Answer of `tokens_revoke`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    pub provider: String,
    pub jti: String,
    pub expires: String,
    /// Whether it is on disk. If not it holds as long as the process runs, which tries again.
    pub kept: bool,
    /// With `revocations: redis`: one word for why other proxies do not know it yet.
    #[serde(default)]
    pub unshared: Option<String>,
    pub changes: TokenChange,
    pub audited: bool,
}

/// What was revoked before, and is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenChange {
    pub before: Option<TokenFacts>,
    pub after: Option<TokenFacts>,
}

/// A token, and until when it is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    pub provider: String,
    pub jti: String,
    pub expires: String,
}

/// One account of `users`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLine {
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub roles: Vec<String>,
    pub verified: bool,
    pub disabled: bool,
    /// Whether it can log in without a reset.
    pub has_password: bool,
    pub created: String,
    /// The newest login.
    pub login: Option<String>,
}

/// Answer of `users_add`, `users_set`, `users_password` and `users_remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChanged {
    pub id: String,
    pub name: String,
    /// What its maker should know: that nothing in the config looks for it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub changes: UserChange,
    pub audited: bool,
}

/// How an account is, and was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    pub before: Option<UserFacts>,
    pub after: Option<UserFacts>,
}

/// What is set of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    pub email: Option<String>,
    pub roles: Vec<String>,
    pub verified: bool,
    pub disabled: bool,
    pub has_password: bool,
}

/// One ban of `bans`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanLine {
    /// An address, or a network.
    pub network: String,
    pub until: String,
    pub since: String,
    /// A refusal's code, or an operator's words.
    pub reason: String,
    /// How often it was banned, this time included.
    pub times: u64,
    /// `proxyd`, or who.
    pub by: String,
    /// Whether it keeps anybody out, as the config is now.
    pub holds: bool,
    /// It is over, and the next one will be the longer for it.
    #[serde(default)]
    pub remembered: bool,
}

/// Answer of `bans_add` and `bans_lift`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanChanged {
    pub network: String,
    pub changes: BanChange,
    /// The part of the config that spares all of it, so that the ban keeps nobody out.
    #[serde(default)]
    pub spared: Option<String>,
    pub audited: bool,
}

/// What is banned, and was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanChange {
    pub before: Option<BanFacts>,
    pub after: Option<BanFacts>,
}

/// Until when, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanFacts {
    pub until: String,
    pub reason: String,
}
