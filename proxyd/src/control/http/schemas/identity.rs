//! The shapes of arguments and answers about keys, tokens, users and bans.

use super::Shape;

pub(super) const SHAPES: &[Shape] = &[
    (
        "KeyLine",
        &[
            ("id", "string"),
            ("name", "string"),
            ("prefix", "string"),
            ("user", "string?"),
            ("roles", "[string]"),
            ("scopes", "[string]"),
            ("limit", "string?"),
            ("created", "time"),
            ("expires", "time?"),
            ("revoked", "time?"),
            ("used", "time?"),
            ("state", "active|rotating|expired|revoked"),
            ("earlier_until", "time?"),
            ("by", "string"),
        ],
    ),
    (
        "KeyMade",
        &[
            ("id", "string"),
            ("name", "string"),
            ("prefix", "string"),
            ("key", "string"),
            ("user", "string?"),
            ("roles", "[string]"),
            ("scopes", "[string]"),
            ("limit", "string?"),
            ("created", "time"),
            ("expires", "time?"),
            ("earlier_until", "time?"),
            ("note", "string?"),
            ("earlier_ended", "string?"),
            ("changes", "KeyChange"),
            ("audited", "boolean"),
        ],
    ),
    (
        "KeyRevoked",
        &[("id", "string"), ("name", "string"), ("prefix", "string"), ("changes", "KeyChange"), ("audited", "boolean")],
    ),
    ("KeyChange", &[("before", "KeyFacts?"), ("after", "KeyFacts?")]),
    ("KeyFacts", &[("id", "string"), ("name", "string"), ("prefix", "string")]),
    (
        "TokenLine",
        &[
            ("provider", "string"),
            ("jti", "string"),
            ("expires", "time"),
            ("revoked", "time"),
            ("by", "string"),
            ("idle", "boolean"),
        ],
    ),
    (
        "TokenRevoked",
        &[
            ("provider", "string"),
            ("jti", "string"),
            ("expires", "time"),
            ("kept", "boolean"),
            ("unshared", "string?"),
            ("changes", "TokenChange"),
            ("audited", "boolean"),
        ],
    ),
    ("TokenChange", &[("before", "TokenFacts?"), ("after", "TokenFacts?")]),
    ("TokenFacts", &[("provider", "string"), ("jti", "string"), ("expires", "time")]),
    (
        "UserLine",
        &[
            ("id", "string"),
            ("name", "string"),
            ("email", "string?"),
            ("roles", "[string]"),
            ("verified", "boolean"),
            ("disabled", "boolean"),
            ("has_password", "boolean"),
            ("created", "time"),
            ("login", "time?"),
        ],
    ),
    (
        "UserChanged",
        &[("id", "string"), ("name", "string"), ("note", "string?"), ("changes", "UserChange"), ("audited", "boolean")],
    ),
    ("UserChange", &[("before", "UserFacts?"), ("after", "UserFacts?")]),
    (
        "UserFacts",
        &[
            ("email", "string?"),
            ("roles", "[string]"),
            ("verified", "boolean"),
            ("disabled", "boolean"),
            ("has_password", "boolean"),
        ],
    ),
    (
        "BanLine",
        &[
            ("network", "string"),
            ("until", "time"),
            ("since", "time"),
            ("reason", "string"),
            ("times", "integer"),
            ("by", "string"),
            ("holds", "boolean"),
            ("remembered", "boolean"),
        ],
    ),
    ("BanChanged", &[("network", "string"), ("changes", "BanChange"), ("spared", "string?"), ("audited", "boolean")]),
    ("BanChange", &[("before", "BanFacts?"), ("after", "BanFacts?")]),
    ("BanFacts", &[("until", "time"), ("reason", "string")]),
    (
        "KeysCreateArgs",
        &[
            ("name", "string"),
            ("scopes", "[string]?"),
            ("roles", "[string]?"),
            ("user", "string?"),
            ("expires", "string?"),
            ("limit", "string?"),
        ],
    ),
    ("KeysRotateBody", &[("overlap", "string?")]),
    ("TokensRevokeArgs", &[("token", "string?"), ("jti", "string?"), ("provider", "string?"), ("expires", "string?")]),
    (
        "UsersAddArgs",
        &[
            ("name", "string"),
            ("email", "string?"),
            ("roles", "[string]?"),
            ("password", "string?"),
            ("verified", "boolean?"),
        ],
    ),
    (
        "UsersSetBody",
        &[("email", "string?"), ("roles", "[string]?"), ("verified", "boolean?"), ("disabled", "boolean?")],
    ),
    ("UsersPasswordBody", &[("password", "string")]),
    ("BansAddArgs", &[("network", "string"), ("for", "string?"), ("reason", "string?")]),
];

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::config::Secret;
    use shared::control::report;

    use crate::control::http::openapi::tests::check;

    #[test]
    fn shapes_are_what_is_sent() {
        let some = || Some(String::new());
        check("KeyLine", &report::KeyLine { earlier_until: some(), ..Default::default() });
        let made = report::KeyMade {
            id: String::new(),
            name: String::new(),
            prefix: String::new(),
            key: Secret::new(""),
            user: None,
            roles: Vec::new(),
            scopes: Vec::new(),
            limit: None,
            created: String::new(),
            expires: None,
            earlier_until: some(),
            note: some(),
            earlier_ended: some(),
            changes: report::KeyChange::default(),
            audited: true,
        };
        check("KeyMade", &made);
        check("KeyRevoked", &report::KeyRevoked::default());
        check("KeyChange", &report::KeyChange::default());
        check("KeyFacts", &report::KeyFacts::default());
        check("TokenLine", &report::TokenLine::default());
        check("TokenRevoked", &report::TokenRevoked::default());
        check("TokenChange", &report::TokenChange::default());
        check("TokenFacts", &report::TokenFacts::default());
        check("UserLine", &report::UserLine::default());
        check("UserChanged", &report::UserChanged { note: some(), ..Default::default() });
        check("UserChange", &report::UserChange::default());
        check("UserFacts", &report::UserFacts::default());
        check("BanLine", &report::BanLine::default());
        check("BanChanged", &report::BanChanged::default());
        check("BanChange", &report::BanChange::default());
        check("BanFacts", &report::BanFacts::default());
        check("LimitTop", &report::LimitTop::default());
    }

    /// What the bodies say can be asked so.
    #[test]
    fn arguments_are_what_is_taken() {
        for (command, args) in [
            (
                "keys_create",
                json!({ "name": "a", "scopes": [], "roles": [], "user": "b", "expires": "1h", "limit": "1/s" }),
            ),
            ("keys_rotate", json!({ "key": "a", "overlap": "1h" })),
            ("tokens_revoke", json!({ "token": "a", "jti": "b", "provider": "c", "expires": "1h" })),
            ("users_add", json!({ "name": "a", "email": "b", "roles": [], "password": "c", "verified": true })),
            ("users_set", json!({ "name": "a", "email": "b", "roles": [], "verified": true, "disabled": true })),
            ("users_password", json!({ "name": "a", "password": "c" })),
            ("bans_add", json!({ "network": "::1", "for": "1h", "reason": "x" })),
        ] {
            let shape = super::super::arguments(command).unwrap();
            let fields = super::SHAPES.iter().find(|(name, _)| *name == shape).unwrap().1;
            for (field, _) in fields {
                assert!(args.get(field).is_some(), "{shape}.{field}");
            }
            shared::control::Command::parse(command, args).unwrap();
        }
    }
}
