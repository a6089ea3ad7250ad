//! Whom a rule counts: what is known of a request, as a key and as words for operators.

use std::fmt::Write as _;
use std::net::IpAddr;

use shared::audit::Mask;
use shared::config::policy::{Key, Rule};
use shared::decide::limit::counted_address;

use crate::exchange::{Exchange, Headers, KeyMark, Name, Principal};

/// Words for operators are not longer: a header's value may be.
const MAX_LABEL: usize = 120;

/// A way of a rule to tell its clients apart.
#[derive(Debug)]
pub(super) enum By {
    Ip,
    User,
    ApiKey,
    /// What the client's certificate is called.
    Certificate,
    Header {
        name: Name,
        /// Its values are not for showing.
        secret: bool,
    },
}

impl By {
    pub(super) fn compile(key: &Key, mask: &Mask) -> Option<Self> {
        Some(match key {
            Key::Ip => Self::Ip,
            Key::User => Self::User,
            Key::ApiKey => Self::ApiKey,
            Key::Certificate => Self::Certificate,
            Key::Header(name) => Self::Header { name: Name::parse(name)?, secret: mask.hides_header(name) },
        })
    }
}

/// Who was counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who<'a> {
    /// With how many leading bits of IPv6.
    Address(IpAddr, u8),
    Certificate(&'a str),
    Header {
        name: &'a str,
        value: &'a [u8],
        secret: bool,
    },
    User(&'a Principal),
    ApiKey(&'a KeyMark, &'a str),
    /// A user's name or an API key's id, whoever has it.
    Named(Kind, &'a str),
    /// A user, as operators name it, of this provider.
    OfProvider(&'a str, &'a str),
}

/// What tells keys of one kind from those of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Header = 1,
    Certificate = 2,
    User = 3,
    ApiKey = 5,
    Ipv4 = 4,
    Ipv6 = 6,
}

impl<'a> Who<'a> {
    /// The first of them that is known; the address where none is.
    pub(super) fn find(by: &'a [By], rule: &Rule, exchange: &'a Exchange, headers: &'a Headers) -> Self {
        let principal = exchange.finish.principal.as_deref();
        for by in by {
            match by {
                By::Ip => break,
                By::User => {
                    if let Some(principal) = principal {
                        return Self::User(principal);
                    }
                }
                By::ApiKey => {
                    if let Some(principal) = principal
                        && let Some(key) = &principal.key
                    {
                        return Self::ApiKey(key, &principal.user);
                    }
                }
                By::Certificate => {
                    if let Some(certificate) = &exchange.peer.certificate {
                        return Self::Certificate(certificate.called());
                    }
                }
                By::Header { name, secret } => {
                    if let Some(value) = headers.get(name).filter(|value| !value.is_empty()) {
                        return Self::Header { name: name.as_str(), value, secret: *secret };
                    }
                }
            }
        }
        Self::Address(exchange.client, rule.ipv6_prefix)
    }

    /// The limit that an API key has of its own, where that is who is counted.
    pub(super) fn own_limit(&self) -> Option<(u32, u64)> {
        match self {
            Self::ApiKey(key, _) => key.limit,
            Self::User(Principal { key: Some(key), .. }) if key.is_user => key.limit,
            Self::User(_)
            | Self::Address(..)
            | Self::Certificate(_)
            | Self::Header { .. }
            | Self::Named(..)
            | Self::OfProvider(..) => None,
        }
    }

    /// Says it in bytes that nobody else's are.
    pub(super) fn write(&self, mut out: impl FnMut(&[u8])) {
        match self {
            Self::Address(address, prefix) => match counted_address(*address, *prefix) {
                IpAddr::V4(address) => {
                    out(&[Kind::Ipv4 as u8]);
                    out(&address.octets());
                }
                IpAddr::V6(address) => {
                    out(&[Kind::Ipv6 as u8, *prefix]);
                    out(&address.octets());
                }
            },
            Self::Header { name, value, .. } => {
                out(&[Kind::Header as u8]);
                out(name.as_bytes());
                out(&[0]);
                out(value);
            }
            Self::Certificate(called) => {
                out(&[Kind::Certificate as u8]);
                out(called.as_bytes());
            }
            Self::User(principal) => {
                // Two providers may know one name, and mean two people.
                out(&[Kind::User as u8]);
                out(principal.provider.as_bytes());
                out(&[0]);
                out(principal.counted_user().as_bytes());
            }
            Self::ApiKey(key, _) => {
                out(&[Kind::ApiKey as u8]);
                out(key.id.as_bytes());
            }
            Self::OfProvider(provider, user) => {
                out(&[Kind::User as u8]);
                out(provider.as_bytes());
                out(&[0]);
                out(user.as_bytes());
            }
            Self::Named(kind, text) => {
                out(&[*kind as u8]);
                out(text.as_bytes());
            }
        }
    }

    /// For operators. `number` tells those apart whose values are not shown.
    pub(super) fn label(&self, number: u128) -> Box<str> {
        let mut label = match self {
            Self::Address(address, prefix) => match counted_address(*address, *prefix) {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) if *prefix < 128 => format!("{address}/{prefix}"),
                IpAddr::V6(address) => address.to_string(),
            },
            Self::Certificate(called) => format!("certificate {called}"),
            Self::Header { name, value, secret: true } => {
                format!("header {name} [{}] #{:08x}", Mask::hidden(value.len()), number as u32)
            }
            Self::Header { name, value, secret: false } => format!("header {name} {}", String::from_utf8_lossy(value)),
            Self::User(Principal { key: Some(key), user, .. }) if key.is_user => key_label(key, user),
            Self::User(principal) => format!("user {}", principal.user),
            Self::ApiKey(key, user) => key_label(key, user),
            Self::Named(_, text) | Self::OfProvider(_, text) => (*text).to_owned(),
        };
        if label.chars().any(char::is_control) {
            label = label.replace(char::is_control, "\u{fffd}");
        }
        if label.len() > MAX_LABEL {
            label.truncate(label.floor_char_boundary(MAX_LABEL));
            let _ = write!(label, "… #{:08x}", number as u32);
        }
        label.into()
    }
}

fn key_label(key: &KeyMark, user: &str) -> String {
    format!("key {} ({user})", key.prefix)
}

/// Whether a label is of the API key with this prefix, or of one that is called this or acts for a user of this name.
pub(super) fn is_key_called(label: &str, text: &str) -> bool {
    let Some((prefix, user)) = label.strip_prefix("key ").and_then(|rest| rest.split_once(' ')) else { return false };
    prefix == text || user.strip_prefix('(').and_then(|user| user.strip_suffix(')')) == Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(is_user: bool, limit: Option<(u32, u64)>) -> Principal {
        Principal {
            user: "alice".into(),
            provider: "api_key".into(),
            key: Some(KeyMark { id: "00ff".into(), prefix: "pk_abcd1234".into(), name: "ci".into(), is_user, limit }),
            ..Principal::default()
        }
    }

    fn bytes(who: Who<'_>) -> Vec<u8> {
        let mut all = Vec::new();
        who.write(|bytes| all.extend_from_slice(bytes));
        all
    }

    #[test]
    fn labels_say_who_and_no_secrets() {
        let check = |who: Who<'_>, expected: &str| assert_eq!(&*who.label(0x1234_5678), expected);
        let header = |value, secret| Who::Header { name: "x-api-key", value, secret };
        check(Who::Address("10.0.0.1".parse().unwrap(), 64), "10.0.0.1");
        check(Who::Address("2001:db8::1".parse().unwrap(), 64), "2001:db8::/64");
        check(Who::Certificate("billing"), "certificate billing");
        check(header(b"s3cret", true), "header x-api-key [present, masked, 6 bytes] #12345678");
        check(header(b"a\nb\xff", false), "header x-api-key a\u{fffd}b\u{fffd}");
        check(Who::User(&principal(false, None)), "user alice");
        check(Who::User(&principal(true, None)), "key pk_abcd1234 (alice)");
        let long = "ä".repeat(200);
        let label = header(long.as_bytes(), false).label(7);
        assert!(label.len() < 140 && label.ends_with("… #00000007"), "{label}");
    }

    #[test]
    fn keys_are_found_by_what_operators_call_them() {
        let check =
            |label: &str, text: &str, expected| assert_eq!(is_key_called(label, text), expected, "{label} {text}");
        check("key pk_abcd1234 (alice)", "pk_abcd1234", true);
        check("key pk_abcd1234 (alice)", "alice", true);
        check("key pk_abcd1234 (a b)", "a b", true);
        check("key pk_abcd1234 (alice)", "pk_abcd123", false);
        check("key pk_abcd1234 (alice)", "", false);
        check("user alice", "alice", false);
        check("header key pk_abcd1234 (alice)", "alice", false);
    }

    #[test]
    fn no_two_share_a_key() {
        let (user, key) = (principal(false, None), principal(true, None));
        let mark = key.key.clone().unwrap();
        let all = [
            bytes(Who::User(&user)),
            bytes(Who::User(&key)),
            bytes(Who::ApiKey(&mark, "alice")),
            bytes(Who::Certificate("alice")),
            bytes(Who::Header { name: "a", value: b"alice", secret: false }),
            bytes(Who::Address("1.2.3.4".parse().unwrap(), 64)),
            bytes(Who::Address("::1".parse().unwrap(), 64)),
            bytes(Who::Address("::1".parse().unwrap(), 63)),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| one != other), "{index}");
        }
        assert_eq!(bytes(Who::OfProvider(&user.provider, "alice")), bytes(Who::User(&user)));
        assert_ne!(bytes(Who::OfProvider("accounts", "alice")), bytes(Who::User(&user)));
        assert_eq!(bytes(Who::OfProvider(&key.provider, "00ff")), bytes(Who::User(&key)));
        assert_eq!(bytes(Who::Named(Kind::ApiKey, "00ff")), bytes(Who::ApiKey(&mark, "")));
    }

    #[test]
    fn only_keys_have_limits_of_their_own() {
        let limit = Some((5, 60));
        assert_eq!(Who::User(&principal(true, limit)).own_limit(), limit);
        assert_eq!(Who::User(&principal(false, limit)).own_limit(), None);
        assert_eq!(Who::ApiKey(&principal(false, limit).key.unwrap(), "").own_limit(), limit);
    }
}
