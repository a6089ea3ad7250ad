//! The filter `security_headers`: what every answer, whoever made it, tells browsers to beware of.

use shared::config::policy::SecurityHeaders;

use crate::exchange::{Exchange, Name, Response, Value};

static HSTS: Name = Name::known("strict-transport-security");

/// The lines, made ready.
#[derive(Debug)]
pub struct Compiled {
    lines: Box<[(Name, Value)]>,
    /// Sent over TLS only: over plain HTTP a browser must ignore it (RFC 6797 section 7.2).
    hsts: Option<Value>,
}

impl Compiled {
    /// Makes the lines ready. Names and values were checked with the config.
    pub fn new(policy: &SecurityHeaders) -> Self {
        let line = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
            Some((Name::parse(name)?, Value::parse(value)?))
        };
        Self {
            lines: policy.set.iter().filter_map(line).collect(),
            hsts: policy.hsts.as_deref().and_then(Value::parse),
        }
    }

    pub(super) fn on_response(&self, exchange: &Exchange, response: &mut Response) {
        let headers = response.head.headers_mut();
        for (name, value) in &self.lines {
            headers.set(name, value.clone());
        }
        if exchange.https
            && let Some(hsts) = &self.hsts
        {
            headers.set(&HSTS, hsts.clone());
        }
    }
}
