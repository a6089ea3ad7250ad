//! A token in its three parts (RFC 7515 section 7.1), and what is read of its header.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use shared::config::identity::JwtAlgorithm;

use super::algorithm;
use super::key::MAX_KID;
use crate::exchange::Denial;
use crate::identity::claims::Claims;

/// A longer token is refused unread.
pub const MAX_TOKEN: usize = 16 * 1024;

/// A longer header is refused unread; in base64url it is a third longer.
const MAX_HEADER: usize = 4 * 1024;

/// What it says that it is (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typ {
    /// It says nothing, or just that it is a token.
    Plain,
    /// An access token (RFC 9068).
    Access,
}

/// See the module. Nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Typ,
    /// What is signed.
    pub(super) message: &'a [u8],
    claims: &'a str,
    /// In base64url, well-formed.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes it apart.
    pub(super) fn split(token: &'a [u8]) -> Result<Self, Denial> {
        if token.len() > MAX_TOKEN {
            return Err(Denial::TooLarge);
        }
        let text = std::str::from_utf8(token).map_err(|_| Denial::TokenMalformed)?;
        let (message, signature) = text.rsplit_once('.').ok_or(Denial::TokenMalformed)?;
        let (header, claims) = message.split_once('.').ok_or(Denial::TokenMalformed)?;
        // Five parts are an encrypted token, which nobody here could open.
        if claims.contains('.') {
            return Err(Denial::TokenMalformed);
        }
        if header.len() > MAX_HEADER.div_ceil(3) * 4 {
            return Err(Denial::TooLarge);
        }
        let header = Header::read(&decode(header)?)?;
        decode(signature)?;
        let Header { algorithm, kid, typ } = header;
        Ok(Self { algorithm, kid, typ, message: message.as_bytes(), claims, signature })
    }

    /// What it claims. To be read only once its signature holds.
    pub(super) fn claims(&self) -> Result<Claims, Denial> {
        Claims::parse(&decode(self.claims)?).map_err(|_| Denial::TokenMalformed)
    }
}

struct Header {
    algorithm: JwtAlgorithm,
    kid: Option<String>,
    typ: Typ,
}

impl Header {
    /// `jku`, `x5u`, `jwk`, `x5c` and the like are passed over: a token has no say in which keys are good.
    fn read(json: &[u8]) -> Result<Self, Denial> {
        let Claims(mut header) = Claims::parse(json).map_err(|_| Denial::TokenMalformed)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => algorithm::parse(name).ok_or(Denial::TokenAlgorithm)?,
            Some(_) | None => return Err(Denial::TokenMalformed),
        };
        // Extensions that must be understood (RFC 7515 section 4.1.11): none is. One of them is `b64` (RFC 7797).
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Denial::TokenAlgorithm);
        }
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid),
            Some(_) => return Err(Denial::TokenMalformed),
        };
        let typ = match header.get("typ") {
            None => Typ::Plain,
            Some(Value::String(typ)) => Typ::parse(typ)?,
            Some(_) => return Err(Denial::TokenMalformed),
        };
        Ok(Self { algorithm, kid, typ })
    }
}

impl Typ {
    /// A provider signs other things with the same keys, such as logout tokens and proofs of possession (`dpop+jwt`): they
    /// say so here, and are not taken for somebody's credentials.
    fn parse(typ: &str) -> Result<Self, Denial> {
        // RFC 7515 section 4.1.9: media types, of which `application/` may be left out.
        let short = match typ.get(..12) {
            Some(prefix) if prefix.eq_ignore_ascii_case("application/") => typ.get(12..).unwrap_or_default(),
            Some(_) | None => typ,
        };
        if short.eq_ignore_ascii_case("JWT") {
            Ok(Self::Plain)
        } else if short.eq_ignore_ascii_case("at+jwt") {
            Ok(Self::Access)
        } else {
            Err(Denial::TokenMalformed)
        }
    }
}

/// Strictly: no padding, no white space, no bits left over, so that a token is written in one way only.
fn decode(part: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Denial::TokenMalformed)
}
