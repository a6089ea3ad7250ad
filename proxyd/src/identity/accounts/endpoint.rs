//! What is served below the prefix, and with which methods. Pure.

use std::sync::Arc;

/// One of the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Register,
    Login,
    Refresh,
    Me,
    ChangePassword,
    Forgot,
    Reset,
    Verify,
    ResendVerification,
    Logout,
    LogoutAll,
}

impl Endpoint {
    /// The one at this path below the prefix.
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/register" => Self::Register,
            "/login" => Self::Login,
            "/refresh" => Self::Refresh,
            "/me" => Self::Me,
            "/change-password" => Self::ChangePassword,
            "/forgot" => Self::Forgot,
            "/reset" => Self::Reset,
            "/verify" => Self::Verify,
            "/resend-verification" => Self::ResendVerification,
            "/logout" => Self::Logout,
            "/logout-all" => Self::LogoutAll,
            _ => return None,
        })
    }

    /// The methods that it takes.
    pub(super) fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Me => &["GET", "HEAD"],
            // The links of mails lead there.
            Self::Reset | Self::Verify => &["GET", "HEAD", "POST"],
            Self::Register
            | Self::Login
            | Self::Refresh
            | Self::ChangePassword
            | Self::Forgot
            | Self::ResendVerification
            | Self::Logout
            | Self::LogoutAll => &["POST"],
        }
    }

    /// The same, as a refusal tells them.
    pub(super) fn allowed(self) -> Vec<Arc<str>> {
        self.methods().iter().map(|method| Arc::from(*method)).collect()
    }

    /// Whether it is for those alone who bring an access token.
    pub(super) fn needs_token(self) -> bool {
        match self {
            Self::Me | Self::ChangePassword | Self::LogoutAll => true,
            Self::Register
            | Self::Login
            | Self::Refresh
            | Self::Forgot
            | Self::Reset
            | Self::Verify
            | Self::ResendVerification
            | Self::Logout => false,
        }
    }
}
