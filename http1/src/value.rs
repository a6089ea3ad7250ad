//! Field values.

use bytes::Bytes;

use crate::grammar;

/// A field's value: bytes that may stand in a field line. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// A value known when this was written.
    #[must_use]
    pub const fn known(value: &'static str) -> Self {
        Self(Bytes::from_static(value.as_bytes()))
    }

    /// A value from elsewhere; none where it holds a byte that may not stand in a field line.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        Self::from_bytes(value.as_bytes())
    }

    /// Bytes from elsewhere; none where one may not stand in a field line.
    #[must_use]
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        (grammar::value_length(value) == value.len()).then(|| Self(Bytes::copy_from_slice(value)))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_refused() {
        for bad in ["a\r\nb: c", "a\n", "\0", "\u{7f}"] {
            assert_eq!(Value::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Value::parse("a\tb").as_ref().map(Value::as_bytes), Some(&b"a\tb"[..]));
    }
}
