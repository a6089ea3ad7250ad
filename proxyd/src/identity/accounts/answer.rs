//! What the endpoints say: answers of ours, and failures with stable codes in the house's envelope.

use serde_json::{Value as Json, json};

use super::guesses::Refused;
use super::page;
use crate::exchange::{Body, Challenges, Denial, Exchange, Name, Rejection, Response, ResponseHead, Value, name};

static WWW_AUTHENTICATE: Name = Name::known("www-authenticate");

/// Why a request to one of the endpoints fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// With what is expected, in a sentence.
    InvalidRequest(&'static str),
    /// A form that another site's page sent; or nobody knows which.
    OriginRefused,
    PasswordWeak(&'static str),
    NameTaken,
    RefreshInvalid,
    RefreshReused,
    /// Of a mail: not known, used, or too old.
    TokenInvalid,
    RegistrationOff,
    MailUnavailable,
    NotVerified,
    /// One that every room of ours knows, and that counts for bans.
    Rejected(Rejection),
}

impl Failure {
    /// No such account, or not its password.
    pub(super) fn password_wrong() -> Self {
        refused(Denial::PasswordWrong)
    }

    /// Too many attempts; whole seconds until there may be another.
    pub(super) fn locked(retry_after_s: u64) -> Self {
        Self::Rejected(Rejection::Locked { retry_after_s })
    }

    /// An attempt that was not made.
    pub(super) fn refused(why: Refused) -> Self {
        match why {
            Refused::Locked(retry_after_s) => Self::locked(retry_after_s),
            Refused::Busy => Self::Rejected(Rejection::AuthUnavailable),
        }
    }
}

/// A token that is not good, or none (RFC 6750 section 3).
pub(super) fn refused(why: Denial) -> Failure {
    let has_token = !matches!(why, Denial::Missing | Denial::PasswordWrong);
    let challenge = Value::known(if has_token { "Bearer error=\"invalid_token\"" } else { "Bearer" });
    Failure::Rejected(Rejection::Unauthenticated { why, challenges: Challenges([challenge].into()) })
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Failure {
    /// Its stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::OriginRefused => "origin_refused",
            Self::PasswordWeak(_) => "password_weak",
            Self::NameTaken => "name_taken",
            Self::RefreshInvalid => "refresh_invalid",
            Self::RefreshReused => "refresh_reused",
            Self::TokenInvalid => "token_invalid",
            Self::RegistrationOff => "registration_off",
            Self::MailUnavailable => "mail_unavailable",
            Self::NotVerified => "not_verified",
            Self::Rejected(rejection) => rejection.code(),
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::InvalidRequest(_) | Self::PasswordWeak(_) | Self::TokenInvalid => 400,
            Self::RefreshInvalid | Self::RefreshReused => 401,
            Self::OriginRefused | Self::RegistrationOff | Self::NotVerified => 403,
            Self::NameTaken => 409,
            Self::MailUnavailable => 503,
            Self::Rejected(rejection) => rejection.status(),
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::InvalidRequest(expected) => expected,
            Self::OriginRefused => "Forms are taken from this site's own pages only; programs send JSON.",
            Self::PasswordWeak(why) => why,
            Self::NameTaken => "There is an account with this name or e-mail address.",
            Self::RefreshInvalid => "The refresh token is not known, or has expired.",
            Self::RefreshReused => "The refresh token was used before; log in again.",
            Self::TokenInvalid => "The token is not known, was used, or has expired.",
            Self::RegistrationOff => "Accounts are not made by registering here.",
            Self::MailUnavailable => "Mail cannot be sent now.",
            Self::NotVerified => "The e-mail address is not verified yet.",
            Self::Rejected(_) => "",
        }
    }

    /// Its answer, in the form that the client reads.
    pub(super) fn response(&self, exchange: &mut Exchange, as_page: bool) -> Result<Response, Rejection> {
        if let Self::Rejected(rejection) = self {
            return Err(rejection.clone());
        }
        exchange.finish.refused(self.code());
        let mut response = if as_page {
            page::said(self.status(), self.message())
        } else {
            let envelope = json!({"error": {
                "code": self.code(), "message": self.message(), "status": self.status(), "request_id": exchange.id(),
            }});
            told(self.status(), &envelope)
        };
        let headers = response.head.headers_mut();
        match self.status() {
            // RFC 9110 section 15.5.2 wants one; this one makes no browser ask.
            401 => headers.set(&WWW_AUTHENTICATE, Value::known("Bearer")),
            503 => headers.set_number(&name::RETRY_AFTER, 1),
            _ => {}
        }
        Ok(response)
    }
}

/// An answer in JSON.
pub(super) fn told(status: u16, json: &Json) -> Response {
    let mut response = Response::new(ResponseHead::new(status), Body::text(format!("{json}\n")));
    response.head.headers_mut().set(&name::CONTENT_TYPE, Value::known("application/json"));
    unstored(response)
}

/// On to a page of the same origin; the form was sent, and is not sent again (RFC 9110 section 15.4.4).
pub(super) fn sent_on(to: &str) -> Option<Response> {
    let mut response = Response::empty(303);
    response.head.headers_mut().set(&name::LOCATION, Value::parse(to)?);
    Some(unstored(response))
}

/// Kept by nobody on the way.
pub(super) fn unstored(mut response: Response) -> Response {
    response.head.headers_mut().set(&name::CACHE_CONTROL, Value::known("no-store"));
    response
}
