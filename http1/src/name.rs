//! Field names. Those that a proxy itself reads, and those that most messages have, are numbered: a message tells at once which
//! of them it has, and they need not be looked at byte by byte.

use std::borrow::Cow;

use crate::grammar;

/// Declares the numbered names.
macro_rules! names {
    ($($constant:ident = $text:literal),+ $(,)?) => {
        /// The numbered names.
        pub mod known {
            use super::Name;
            $(
                #[doc = concat!("`", $text, "`")]
                pub static $constant: Name = Name::known($text);
            )+
        }
        const NAMES: &[&str] = &[$($text),+];
    };
}

names! {
    ACCEPT = "accept",
    ACCEPT_ENCODING = "accept-encoding",
    ACCEPT_LANGUAGE = "accept-language",
    ACCEPT_RANGES = "accept-ranges",
    ACCESS_CONTROL_REQUEST_HEADERS = "access-control-request-headers",
    ACCESS_CONTROL_REQUEST_METHOD = "access-control-request-method",
    AGE = "age",
    ALLOW = "allow",
    AUTHORIZATION = "authorization",
    CACHE_CONTROL = "cache-control",
    CLIENT_CERT = "client-cert",
    CLIENT_CERT_CHAIN = "client-cert-chain",
    CONNECTION = "connection",
    CONTENT_ENCODING = "content-encoding",
    CONTENT_LENGTH = "content-length",
    CONTENT_TYPE = "content-type",
    COOKIE = "cookie",
    DATE = "date",
    ETAG = "etag",
    EXPECT = "expect",
    FORWARDED = "forwarded",
    HOST = "host",
    IF_MODIFIED_SINCE = "if-modified-since",
    IF_NONE_MATCH = "if-none-match",
    KEEP_ALIVE = "keep-alive",
    LAST_MODIFIED = "last-modified",
    LOCATION = "location",
    ORIGIN = "origin",
    PROXY_AUTHENTICATE = "proxy-authenticate",
    PROXY_AUTHORIZATION = "proxy-authorization",
    PROXY_CONNECTION = "proxy-connection",
    RATE_LIMIT = "ratelimit",
    RATE_LIMIT_POLICY = "ratelimit-policy",
    REFERER = "referer",
    RETRY_AFTER = "retry-after",
    SERVER = "server",
    SET_COOKIE = "set-cookie",
    TE = "te",
    TRAILER = "trailer",
    TRANSFER_ENCODING = "transfer-encoding",
    UPGRADE = "upgrade",
    USER_AGENT = "user-agent",
    VARY = "vary",
    VIA = "via",
    X_FORWARDED_CLIENT_CERT = "x-forwarded-client-cert",
    X_FORWARDED_FOR = "x-forwarded-for",
    X_FORWARDED_HOST = "x-forwarded-host",
    X_FORWARDED_PROTO = "x-forwarded-proto",
    X_RATE_LIMIT_LIMIT = "x-ratelimit-limit",
    X_RATE_LIMIT_REMAINING = "x-ratelimit-remaining",
    X_RATE_LIMIT_RESET = "x-ratelimit-reset",
    X_REAL_IP = "x-real-ip",
    X_REQUEST_ID = "x-request-id",
    X_RESPONSE_TIME = "x-response-time",
}

/// The number of a name: 0 where it has none, else its place in [`NAMES`] plus one.
pub(crate) type Number = u8;

/// A bit that stands for no one name: some line of the forwarding family is there, of another name or spelt with
/// underscores.
pub(crate) const OTHER_FORWARDED: Number = 63;

/// A bit that stands for no one name: some line is there whose name, spelt with underscores, a server behind may take for one
/// of the numbered names.
pub(crate) const TWIN: Number = 62;
/// No numbered name with a hyphen is longer.
const LONGEST_TWIN: usize = 32;

const _: () = assert!(NAMES.len() < TWIN as usize, "numbers are bits of a u64");

const SLOTS: usize = 256;
/// For each hash the first name's number, and for each number the next with the same hash.
static TABLE: ([Number; SLOTS], [Number; 64]) = table();

#[expect(clippy::indexing_slicing, reason = "the loop bounds the index; a constant cannot call `get`")]
const fn table() -> ([Number; SLOTS], [Number; 64]) {
    let mut first = [0; SLOTS];
    let mut next = [0; 64];
    let mut index = NAMES.len();
    while index > 0 {
        let text = NAMES[index - 1].as_bytes();
        let slot = slot(text.len(), text[0], text[text.len() - 1]);
        next[index] = first[slot];
        first[slot] = index as Number;
        index -= 1;
    }
    (first, next)
}

const fn slot(length: usize, first: u8, last: u8) -> usize {
    (length * 7 + (first | 0x20) as usize * 3 + (last | 0x20) as usize * 11) % SLOTS
}

/// How the names of the forwarding family begin.
const FORWARDED: &[u8] = b"x-forwarded-";
/// And those that belong to it by their meaning.
const ORIGINS: [&[u8]; 3] = [b"x-real-ip", b"client-cert", b"client-cert-chain"];

/// The number of a name, in any case. It must hold no control bytes.
pub(crate) fn number(name: &[u8]) -> Number {
    let found = numbered(name);
    if found != 0 {
        return found;
    }
    let is_family = name.get(..FORWARDED.len()).is_some_and(|start| reads_as(start, FORWARDED));
    if is_family || ORIGINS.iter().any(|origin| reads_as(name, origin)) {
        return OTHER_FORWARDED;
    }
    if name.contains(&b'_') && is_twin(name) { TWIN } else { 0 }
}

/// Whether with hyphens it were a numbered name.
fn is_twin(name: &[u8]) -> bool {
    let mut spelt = [0; LONGEST_TWIN];
    let Some(room) = spelt.get_mut(..name.len()) else { return false };
    for (to, &from) in room.iter_mut().zip(name) {
        *to = if from == b'_' { b'-' } else { from };
    }
    numbered(room) != 0
}

fn numbered(name: &[u8]) -> Number {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return 0 };
    let (heads, next) = &TABLE;
    let mut candidate = heads.get(slot(name.len(), first, last)).copied().unwrap_or(0);
    while candidate != 0 {
        let text = NAMES.get(usize::from(candidate) - 1).map_or(&[][..], |text| text.as_bytes());
        if text.len() == name.len() && is_lower_of(text, name) {
            return candidate;
        }
        candidate = next.get(usize::from(candidate)).copied().unwrap_or(0);
    }
    0
}

/// Whether somebody behind may take `name` for this one: servers that make variables of names make one of hyphens and
/// underscores (RFC 3875 section 4.1.18).
fn reads_as(name: &[u8], text: &[u8]) -> bool {
    name.len() == text.len()
        && name
            .iter()
            .zip(text)
            .all(|(&byte, &wanted)| byte.eq_ignore_ascii_case(&wanted) || (byte, wanted) == (b'_', b'-'))
}

/// Whether `text`, of lower-case letters and hyphens, is `name` in lower case. But for control bytes, setting the bit 0x20
/// makes a letter only of a letter, and a hyphen only of a hyphen. Eight bytes at a time.
fn is_lower_of(text: &[u8], name: &[u8]) -> bool {
    const BITS: u64 = 0x2020_2020_2020_2020;
    let (texts, text_rest) = text.as_chunks::<8>();
    let (names, name_rest) = name.as_chunks::<8>();
    let same = |text: &[u8; 8], name: &[u8; 8]| u64::from_ne_bytes(*text) == u64::from_ne_bytes(*name) | BITS;
    if !texts.iter().zip(names).all(|(text, name)| same(text, name)) {
        return false;
    }
    // The last eight bytes once more in one piece, where there are as many.
    match (text.last_chunk(), name.last_chunk()) {
        (Some(text), Some(name)) => same(text, name),
        _ => text_rest.iter().zip(name_rest).all(|(text, name)| *text == *name | 0x20),
    }
}

/// Some of the numbered names.
#[derive(Clone, Copy, Debug)]
pub struct NameSet(u64);

impl NameSet {
    /// These. A name without a number is left out.
    #[must_use]
    pub const fn of(names: &[&str]) -> Self {
        let mut bits = 0;
        let mut rest = names;
        while let [name, others @ ..] = rest {
            bits |= 1 << Name::known_number(name.as_bytes());
            rest = others;
        }
        Self(bits & !1)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// A field's name, without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    text: Cow<'static, str>,
    number: Number,
}

/// Whether a server that makes underscores of hyphens may take one name for the other: case and everything that is neither
/// letter nor digit aside.
pub(crate) fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    one.len() == other.len() && one.iter().map(plain).eq(other.iter().map(plain))
}

impl Name {
    /// Whether a server may take this text for the name: case and everything that is neither letter nor digit aside.
    #[must_use]
    pub fn is_alike(&self, found: &[u8]) -> bool {
        are_alike(found, self.as_str().as_bytes())
    }

    /// A name known when this was written: lower case, a token.
    #[must_use]
    pub const fn known(name: &'static str) -> Self {
        Self { text: Cow::Borrowed(name), number: Self::known_number(name.as_bytes()) }
    }

    #[expect(clippy::indexing_slicing, reason = "the loop bounds the index; a constant cannot call `get`")]
    const fn known_number(name: &[u8]) -> Number {
        let mut index = 0;
        while index < NAMES.len() {
            if same(NAMES[index].as_bytes(), name) {
                return index as Number + 1;
            }
            index += 1;
        }
        0
    }

    /// A name from elsewhere; none where it is no token.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() || name.len() > usize::from(u16::MAX) || !name.bytes().all(grammar::is_token) {
            return None;
        }
        let number = match number(name.as_bytes()) {
            OTHER_FORWARDED | TWIN => 0,
            number => number,
        };
        Some(Self { text: Cow::Owned(name.to_ascii_lowercase()), number })
    }

    /// Lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn number(&self) -> Number {
        self.number
    }
}

#[expect(clippy::indexing_slicing, reason = "the loop bounds the index; a constant cannot call `get`")]
const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_number() {
        for (index, name) in NAMES.iter().enumerate() {
            assert_eq!(number(name.as_bytes()), index as Number + 1);
            assert_eq!(number(name.to_ascii_uppercase().as_bytes()), index as Number + 1);
            assert_eq!(Name::parse(name).map(|name| name.number), Some(index as Number + 1));
        }
        assert_eq!(number(b"x-other"), 0);
        for family in [
            "X-Forwarded-Port",
            "X_Forwarded_For",
            "x-forwarded_proto",
            "X_FORWARDED-X",
            "X_Real_IP",
            "x-real_ip",
            "Client_Cert",
            "client_cert-CHAIN",
        ] {
            assert_eq!(number(family.as_bytes()), OTHER_FORWARDED, "{family}");
        }
        for other in ["X_Forwarded", "XX_Forwarded_For", "X_Real_IPs", "X.Forwarded.For", "Content__Length"] {
            assert_eq!(number(other.as_bytes()), 0, "{other}");
        }
        for twin in ["Content_Length", "transfer_Encoding", "X_Request-ID"] {
            assert_eq!(number(twin.as_bytes()), TWIN, "{twin}");
        }
        assert_eq!(known::HOST.number(), number(b"HOST"));
    }

    #[test]
    fn names_are_tokens() {
        for bad in ["", "a b", "a:", "a\r", "ä", "a/b"] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
        assert_eq!(Name::parse("X-Y").as_ref().map(Name::as_str), Some("x-y"));
    }
}
