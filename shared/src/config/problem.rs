//! A mistake in a config: what is wrong, where, and what to do. Always a list, never just the first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One mistake or one warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable, for programs.
    pub code: Code,
    pub severity: Severity,
    /// The config path, such as `routes[2].upstream`; empty for the whole.
    pub path: String,
    /// `config.yaml:12:5`, `environment PROXYD__…`, `--set …`.
    pub origin: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: u32,
    /// What is wrong, as a plain sentence.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The source line and how many columns of it are meant; absent where the source may not be quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A line of the source, for the marker under it. Bounded in length, secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    pub line_text: String,
    /// In characters, from 0, within `line_text`.
    pub start: usize,
    pub length: usize,
}

/// Whether it stops the config from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// Every kind of problem. A test fails when one has no case that provokes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not YAML (or not JSON).
    Syntax,
    /// A bound of the language: bytes, nesting, alias expansion.
    TooLarge,
    UnknownKey,
    DuplicateKey,
    WrongType,
    MissingKey,
    /// A value of the right type that cannot be.
    InvalidValue,
    /// A number without its unit, or of the wrong form.
    InvalidUnit,
    /// A number, duration or size beyond its bounds.
    OutOfRange,
    /// Keys that cannot stand together.
    Conflict,
    /// A name given twice where names are unique.
    DuplicateName,
    /// A name that nothing has.
    UnknownName,
    /// A thing that was named and is not used (warning).
    Unused,
    /// Two routes that no request can tell apart.
    SameRoute,
    /// A route in whose way another one stands (warning).
    Unreachable,
    /// A door open to others without a lock.
    MissingAuth,
    /// A secret written in clear, or sent so (warning).
    ClearSecret,
    /// A reference to something that is not there.
    UnsetReference,
    /// A reference that is not written as one, or not allowed here.
    InvalidReference,
    /// An environment variable or `--set` argument that leads nowhere.
    InvalidOverride,
    /// A source that cannot be read.
    Unreadable,
    /// TLS whose other side is not checked, or tokens that may be meant for others (warning).
    Unverified,
    /// A certificate that is past its time, or soon will be (warning). Only where files are looked at.
    Expires,
    /// Known, and not part of this version.
    Unsupported,
    /// Further problems, counted only.
    More,
}

impl Code {
    /// Every code, for the reference and the tests.
    pub const ALL: [Self; 25] = [
        Self::Syntax,
        Self::TooLarge,
        Self::UnknownKey,
        Self::DuplicateKey,
        Self::WrongType,
        Self::MissingKey,
        Self::InvalidValue,
        Self::InvalidUnit,
        Self::OutOfRange,
        Self::Conflict,
        Self::DuplicateName,
        Self::UnknownName,
        Self::Unused,
        Self::SameRoute,
        Self::Unreachable,
        Self::MissingAuth,
        Self::ClearSecret,
        Self::UnsetReference,
        Self::InvalidReference,
        Self::InvalidOverride,
        Self::Unreadable,
        Self::Unverified,
        Self::Expires,
        Self::Unsupported,
        Self::More,
    ];

    /// The code as programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::TooLarge => "too_large",
            Self::UnknownKey => "unknown_key",
            Self::DuplicateKey => "duplicate_key",
            Self::WrongType => "wrong_type",
            Self::MissingKey => "missing_key",
            Self::InvalidValue => "invalid_value",
            Self::InvalidUnit => "invalid_unit",
            Self::OutOfRange => "out_of_range",
            Self::Conflict => "conflict",
            Self::DuplicateName => "duplicate_name",
            Self::UnknownName => "unknown_name",
            Self::Unused => "unused",
            Self::SameRoute => "same_route",
            Self::Unreachable => "unreachable",
            Self::MissingAuth => "missing_auth",
            Self::ClearSecret => "clear_secret",
            Self::UnsetReference => "unset_reference",
            Self::InvalidReference => "invalid_reference",
            Self::InvalidOverride => "invalid_override",
            Self::Unreadable => "unreadable",
            Self::Unverified => "unverified",
            Self::Expires => "expires",
            Self::Unsupported => "unsupported",
            Self::More => "more",
        }
    }
}

/// Errors and warnings, in the order of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.0.iter().filter(|p| p.severity == Severity::Error).count();
        write!(f, "{errors} {}", if errors == 1 { "problem" } else { "problems" })
    }
}

impl std::error::Error for Problems {}
