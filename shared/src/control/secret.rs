//! Secrets on the wire: told to the other side, masked wherever else they might be shown.

use serde::{Deserialize, Deserializer, Serializer};

use crate::config::Secret;

pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.reveal())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// A secret that may be absent.
pub(super) mod maybe {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::config::Secret;

    #[expect(clippy::ref_option, reason = "the form that serde asks for")]
    pub(in crate::control) fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => to.serialize_some(secret.reveal()),
            None => to.serialize_none(),
        }
    }

    pub(in crate::control) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
