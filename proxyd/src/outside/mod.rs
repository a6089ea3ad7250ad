//! What proxyd itself asks of others over HTTP: key sets, identity providers, introspection. Never a client's request on its
//! way to an upstream.

mod ask;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

pub use ask::{ask, read_bounded};

use crate::tls;

/// How long a connection may take until it stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a connection is kept for the next question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections kept with each host.
const IDLE_CONNECTIONS: usize = 4;

/// What questions are asked with: one for each runtime, for connections live on the runtime that made them.
#[derive(Debug, Default)]
pub struct Outside {
    client: OnceLock<reqwest::Client>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    #[error("no client for outgoing requests: {0}")]
    Client(String),
    #[error("{0}")]
    Asked(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

impl Outside {
    /// The client, made on first use, which must be on the runtime that it will live on. It follows no redirect and obeys no
    /// proxy of the environment: it speaks to whom the config names.
    pub fn client(&self) -> Result<reqwest::Client, OutsideError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let tls = tls::outgoing().map_err(|error| OutsideError::Client(error.to_string()))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(concat!("proxyd/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()
            .map_err(|error| OutsideError::Client(OutsideError::told(error)))?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

impl OutsideError {
    /// An error with its causes, but without the address: it may hold what is secret.
    fn told(error: reqwest::Error) -> String {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<reqwest::Error> for OutsideError {
    fn from(error: reqwest::Error) -> Self {
        Self::Asked(Self::told(error))
    }
}
