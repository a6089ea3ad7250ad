//! Forward-auth: another service is asked about each request, and its answer is the decision.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use shared::config::identity::ForwardAuth;

use super::recogniser::{Answer, Recognised};
use super::send::{Sends, Told};
use crate::exchange::{
    Body, Denial, Exchange, Ledger, Name, Principal, RequestHead, Response, ResponseHead, Value, name,
};
use crate::outside;

/// The most of a refusal that is handed on.
const MAX_BODY: usize = 64 * 1024;

/// What of a refusal's head is the client's business.
const HANDED_ON: [&str; 6] =
    ["content-type", "location", "set-cookie", "www-authenticate", "retry-after", "cache-control"];

/// `identity.forward`, made ready.
#[derive(Debug)]
pub struct Forward {
    config: Arc<ForwardAuth>,
    copy: Box<[(HeaderName, Name)]>,
    copy_back: Box<[(HeaderName, Name)]>,
}

/// A request, as it is told to the service.
#[derive(Clone, Debug)]
pub struct Asked {
    method: Box<str>,
    uri: Box<str>,
    host: Box<str>,
    scheme: &'static str,
    client: Box<str>,
    id: Box<str>,
    headers: HeaderMap,
}

impl Asked {
    /// What may be told of a request; which of its headers are, the config says later.
    pub fn of(exchange: &Exchange, head: &RequestHead) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in head.headers().iter() {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
                // Beyond what a map takes there is nothing that a config could name.
                let _ = headers.try_append(name, value);
            }
        }
        let query = head.query().map(|query| format!("?{query}")).unwrap_or_default();
        Self {
            method: exchange.method().into(),
            uri: format!("{}{query}", exchange.path()).into(),
            host: head.authority().or_else(|| head.headers().text(&name::HOST)).unwrap_or_default().into(),
            scheme: if exchange.https { "https" } else { "http" },
            client: exchange.client.to_string().into(),
            id: exchange.id().into(),
            headers,
        }
    }
}

impl Forward {
    /// Makes it ready. Names were checked with the config.
    pub fn new(config: &Arc<ForwardAuth>) -> Self {
        let names = |names: &[Arc<str>]| {
            let both = |name: &Arc<str>| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, Name::parse(name)?));
            names.iter().filter_map(both).collect()
        };
        Self { config: Arc::clone(config), copy: names(&config.copy), copy_back: names(&config.copy_back) }
    }

    /// Asks about a request.
    pub async fn ask(&self, asked: &Asked, sends: &Sends, ledger: &Ledger) -> Answer {
        self.exchange(asked, sends, ledger).await.unwrap_or(Answer::Unavailable)
    }

    async fn exchange(&self, asked: &Asked, sends: &Sends, ledger: &Ledger) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        for name in &self.config.send {
            for value in asked.headers.get_all(&**name) {
                headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone());
            }
        }
        let told = [
            ("x-forwarded-method", &*asked.method),
            ("x-forwarded-proto", asked.scheme),
            ("x-forwarded-host", &asked.host),
            ("x-forwarded-uri", &asked.uri),
            ("x-forwarded-for", &asked.client),
            ("x-request-id", &asked.id),
        ];
        for (name, value) in told {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        let mut request = http::Request::get(&*self.config.url).body(Vec::new()).ok()?;
        *request.headers_mut() = headers;
        let client = ledger.outside.client().ok()?;
        let answer = outside::ask(client, request, self.config.timeout, MAX_BODY).await.ok()?;
        match answer.status().as_u16() {
            200..=299 => Some(self.recognised(answer.headers(), sends)),
            status @ 300..=499 => {
                let (head, body) = answer.into_parts();
                Some(Answer::Refused(refusal(status, &head.headers, body)))
            }
            _ => None,
        }
    }

    fn recognised(&self, headers: &HeaderMap, sends: &Sends) -> Answer {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let members = |text: &str, between: fn(char) -> bool| -> Box<[Box<str>]> {
            text.split(between).map(str::trim).filter(|member| !member.is_empty()).map(Box::from).collect()
        };
        let user = text(&self.config.user_header);
        let roles = members(text(&self.config.roles_header), |c| c == ',');
        let scopes = members(text(&self.config.scopes_header), |c| c == ' ' || c == ',');
        let told = Told { user, provider: "forward", roles: &roles, scopes: &scopes, key: None };
        let Some(sent) = sends.about(&told, |_| None) else { return Answer::Denied(Denial::TokenClaims) };
        let mut sent = sent.into_vec();
        sent.extend(copied(&self.copy, headers));
        let principal = Principal {
            user: user.into(),
            provider: "forward".into(),
            roles,
            scopes,
            key: None,
            sent: sent.into(),
            ..Principal::default()
        };
        let back = copied(&self.copy_back, headers).collect();
        Answer::Who(Recognised { principal: Arc::new(principal), back })
    }
}

fn copied<'a>(names: &'a [(HeaderName, Name)], headers: &'a HeaderMap) -> impl Iterator<Item = (Name, Value)> + 'a {
    names.iter().flat_map(move |(theirs, ours)| {
        let values = headers.get_all(theirs).iter();
        values.filter_map(move |value| Some((ours.clone(), Value::from_bytes(value.as_bytes())?)))
    })
}

/// The service's own answer, for the client.
fn refusal(status: u16, headers: &HeaderMap, body: Bytes) -> Response {
    let mut head = ResponseHead::new(status);
    for name in HANDED_ON {
        for value in headers.get_all(name) {
            if let (Some(name), Some(value)) = (Name::parse(name), Value::from_bytes(value.as_bytes())) {
                head.headers_mut().add(&name, value);
            }
        }
    }
    let body = if body.is_empty() { Body::empty() } else { Body::text(body) };
    Response::new(head, body)
}
