//! Why somebody was not recognised, or not let in: stable codes, the same in the answer, the log, the metrics and the audit row.

use std::sync::Arc;

use super::Value;

/// Why credentials recognise nobody. The answer gives no more away than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// None that any provider in question reads.
    Missing,
    /// Two of one kind: whoever sent them may mean one, and a server behind us read the other.
    Ambiguous,
    /// Longer than any that we read.
    TooLarge,
    TokenMalformed,
    /// None of the key's: `none`, or another family's.
    TokenAlgorithm,
    /// No key with its `kid`, or none at all.
    TokenKeyUnknown,
    TokenSignature,
    TokenExpired,
    TokenNotYetValid,
    TokenIssuer,
    TokenAudience,
    /// A claim is not there, or has not the value that it must have.
    TokenClaims,
    TokenRevoked,
    /// Its issuer says that it is not good (RFC 7662).
    TokenInactive,
    KeyUnknown,
    KeyExpired,
    KeyRevoked,
    /// No such name, or not its password: which of the two is not told.
    PasswordWrong,
    SessionInvalid,
    SessionExpired,
    CertificateMissing,
    /// Verified when the connection began; its time is over since.
    CertificateExpired,
    /// Verified when the connection began; whoever signed it is not trusted any more.
    CertificateUntrusted,
    /// Another service said no (forward-auth); its own answer is the client's.
    ForwardRefused,
}

impl Denial {
    /// Its stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "auth_required",
            Self::Ambiguous => "credentials_ambiguous",
            Self::TooLarge => "credentials_too_large",
            Self::TokenMalformed => "token_malformed",
            Self::TokenAlgorithm => "token_algorithm",
            Self::TokenKeyUnknown => "token_key_unknown",
            Self::TokenSignature => "token_signature",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenIssuer => "token_issuer",
            Self::TokenAudience => "token_audience",
            Self::TokenClaims => "token_claims",
            Self::TokenRevoked => "token_revoked",
            Self::TokenInactive => "token_inactive",
            Self::KeyUnknown => "key_unknown",
            Self::KeyExpired => "key_expired",
            Self::KeyRevoked => "key_revoked",
            Self::PasswordWrong => "password_wrong",
            Self::SessionInvalid => "session_invalid",
            Self::SessionExpired => "session_expired",
            Self::CertificateMissing => "certificate_required",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateUntrusted => "certificate_untrusted",
            Self::ForwardRefused => "auth_refused",
        }
    }

    /// One sentence for whoever sent the request.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "Credentials are needed here.",
            Self::Ambiguous => "The request brings several credentials of one kind.",
            Self::TooLarge => "The credentials are too large.",
            Self::TokenMalformed => "The token is malformed.",
            Self::TokenAlgorithm => "The token is signed in a way that is not taken here.",
            Self::TokenKeyUnknown => "The key that the token is signed with is not known here.",
            Self::TokenSignature => "The token's signature does not hold.",
            Self::TokenExpired => "The token has expired.",
            Self::TokenNotYetValid => "The token is not valid yet.",
            Self::TokenIssuer => "The token is of another issuer.",
            Self::TokenAudience => "The token is meant for somebody else.",
            Self::TokenClaims => "The token lacks a claim that is needed here.",
            Self::TokenRevoked => "The token was revoked.",
            Self::TokenInactive => "The token is not active.",
            Self::KeyUnknown => "The API key is not known.",
            Self::KeyExpired => "The API key has expired.",
            Self::KeyRevoked => "The API key was revoked.",
            Self::PasswordWrong => "The name or the password is wrong.",
            Self::SessionInvalid => "The session is not known here.",
            Self::SessionExpired => "The session has ended.",
            Self::CertificateMissing => "A client certificate is needed here.",
            Self::CertificateExpired => "The client certificate has expired.",
            Self::CertificateUntrusted => "The client certificate is not trusted here any more.",
            Self::ForwardRefused => "The request was refused.",
        }
    }
}

/// The values of `WWW-Authenticate` (RFC 9110 section 11.6.1) with which a 401 says what would be taken, and a 403 what more is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges(pub Arc<[Value]>);

/// What somebody who was recognised lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// One of these.
    Role(Arc<[Arc<str>]>),
    Scope(Arc<str>),
    /// The provider knows it, and `allow` does not let it in.
    NotAllowed,
}

impl Lack {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Role(_) => "role_missing",
            Self::Scope(_) => "scope_missing",
            Self::NotAllowed => "login_refused",
        }
    }

    /// One sentence for whoever sent the request.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Role(_) => "A role is missing that is needed here.",
            Self::Scope(_) => "A scope is missing that is needed here.",
            Self::NotAllowed => "This account may not come in.",
        }
    }
}
