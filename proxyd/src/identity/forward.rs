//! Forward-auth: another service is asked about each request, and its answer is the decision.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use shared::config::identity::ForwardAuth;

use super::called;
use super::recogniser::{Answer, Recognised};
use super::send::{Sends, Told};
use super::trouble::{NoAnswer, Trouble};
use crate::exchange::{
    Back, Body, Denial, Exchange, Ledger, Name, Principal, RequestHead, Response, ResponseHead, Value, name,
};
use crate::outside;

/// The most of a refusal that is handed on.
const MAX_BODY: usize = 64 * 1024;

/// What of a refusal's head is the client's business.
const HANDED_ON: [&str; 6] =
    ["content-type", "location", "set-cookie", "www-authenticate", "retry-after", "cache-control"];

/// What may come in several lines, which are one list (RFC 9110 section 5.3); cookies, though no list, too (RFC 9113 section 8.2.3).
/// Of anything else there is one, or the service might look at one line and the upstream at another.
const LISTS: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "cookie",
    "if-match",
    "if-none-match",
    "pragma",
    "via",
];

/// `identity.forward`, made ready.
#[derive(Debug)]
pub struct Forward {
    config: Arc<ForwardAuth>,
    send: Box<[(HeaderName, Name)]>,
    copy: Box<[(HeaderName, Name)]>,
    copy_back: Box<[(HeaderName, Name)]>,
    /// Over reloads.
    trouble: Arc<Trouble>,
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
    fn of(exchange: &Exchange, head: &RequestHead, headers: HeaderMap) -> Self {
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
    /// Makes it ready. Names were checked with the config. What was told of the service before is not told again.
    pub fn new(config: &Arc<ForwardAuth>, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.config.url == config.url);
        let names = |names: &[Arc<str>]| {
            let both = |name: &Arc<str>| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, Name::parse(name)?));
            names.iter().filter_map(both).collect()
        };
        Self {
            config: Arc::clone(config),
            send: names(&config.send),
            copy: names(&config.copy),
            copy_back: names(&config.copy_back),
            trouble: same.map_or_else(|| Arc::new(Trouble::of("forward")), |same| Arc::clone(&same.trouble)),
        }
    }

    /// The headers that it judges, as a whole: what a client sends there is for the service.
    pub fn judges(&self) -> impl Iterator<Item = &Name> {
        let is_list = |name: &Name| LISTS.contains(&name.as_str()) && *name != name::COOKIE;
        self.send.iter().map(|(_, ours)| ours).filter(move |name| !is_list(name))
    }

    /// What the service is told of a request; or why it is not asked.
    pub fn asked(&self, exchange: &Exchange, head: &RequestHead) -> Result<Asked, Denial> {
        Ok(Asked::of(exchange, head, self.sent(head)?))
    }

    fn sent(&self, head: &RequestHead) -> Result<HeaderMap, Denial> {
        let mut headers = HeaderMap::new();
        for (theirs, ours) in &self.send {
            for value in head.headers().all(ours) {
                if headers.contains_key(theirs) && !LISTS.contains(&theirs.as_str()) {
                    return Err(Denial::Ambiguous);
                }
                let value = HeaderValue::from_bytes(value).map_err(|_| Denial::Ambiguous)?;
                headers.try_append(theirs, value).map_err(|_| Denial::TooLarge)?;
            }
        }
        Ok(headers)
    }

    /// Asks about a request.
    pub async fn ask(&self, asked: &Asked, sends: &Sends, ledger: &Ledger) -> Answer {
        let answer = self.exchange(asked, sends, ledger).await;
        self.trouble.note(answer.as_ref().map(|_| ()));
        answer.unwrap_or(Answer::Unavailable)
    }

    async fn exchange(&self, asked: &Asked, sends: &Sends, ledger: &Ledger) -> Result<Answer, NoAnswer> {
        let mut headers = asked.headers.clone();
        let told = [
            ("x-forwarded-method", &*asked.method),
            ("x-forwarded-proto", asked.scheme),
            ("x-forwarded-host", &asked.host),
            ("x-forwarded-uri", &asked.uri),
            ("x-forwarded-for", &asked.client),
            ("x-request-id", &asked.id),
        ];
        for (name, value) in told {
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| NoAnswer::Address)?);
        }
        let mut request = http::Request::get(&*self.config.url).body(Vec::new()).map_err(|_| NoAnswer::Address)?;
        *request.headers_mut() = headers;
        let answer = outside::ask(ledger.outside.client()?, request, self.config.timeout, MAX_BODY).await?;
        match answer.status().as_u16() {
            200..=299 => self.recognised(answer.headers(), sends).map(Answer::Who),
            status @ 300..=499 => {
                let (head, body) = answer.into_parts();
                Ok(Answer::Refused(refusal(status, &head.headers, body)))
            }
            status => Err(NoAnswer::Status(status)),
        }
    }

    /// Somebody without a name is one of whom nothing is told, never one whose name cannot be read.
    fn recognised(&self, headers: &HeaderMap, sends: &Sends) -> Result<Recognised, NoAnswer> {
        let ForwardAuth { user_header, roles_header, scopes_header, .. } = &*self.config;
        let user = user(headers, user_header)?;
        let roles = members(headers, roles_header, |c| c == ',')?;
        let scopes = members(headers, scopes_header, |c| c == ' ' || c == ',')?;
        let told = Told { user, provider: "forward", roles: &roles, scopes: &scopes, key: None };
        let mut sent = sends.about(&told, |_| None).ok_or_else(|| unreadable(user_header))?.into_vec();
        sent.extend(copied(&self.copy, headers)?);
        let principal = Principal {
            user: user.into(),
            provider: "forward".into(),
            roles,
            scopes,
            key: None,
            sent: sent.into(),
            ..Principal::default()
        };
        let back = copied(&self.copy_back, headers)?;
        let back = back.into_iter().map(|(name, value)| Back::Now(name, value)).collect();
        Ok(Recognised { principal: Arc::new(principal), back })
    }
}

/// Of a header of the service's answer it cannot be told what it says: nobody is let in.
fn unreadable(header: &str) -> NoAnswer {
    NoAnswer::Unreadable(format!("the header {header}").into())
}

/// Who it is: one line that can be read and is no longer than names are. None at all is nobody's name.
fn user<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, NoAnswer> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok("") };
    let text = std::str::from_utf8(line.as_bytes()).ok().map(str::trim);
    text.filter(|text| lines.next().is_none() && (text.is_empty() || called::is_name(text)))
        .ok_or_else(|| unreadable(name))
}

/// The members of a list, of all its lines together.
fn members(headers: &HeaderMap, name: &str, between: fn(char) -> bool) -> Result<Box<[Box<str>]>, NoAnswer> {
    let mut all = Vec::new();
    for line in headers.get_all(name) {
        let text = std::str::from_utf8(line.as_bytes()).map_err(|_| unreadable(name))?;
        all.extend(text.split(between).map(str::trim).filter(|member| !member.is_empty()).map(Box::from));
    }
    Ok(all.into())
}

fn copied(names: &[(HeaderName, Name)], headers: &HeaderMap) -> Result<Vec<(Name, Value)>, NoAnswer> {
    let mut all = Vec::new();
    for (theirs, ours) in names {
        for value in headers.get_all(theirs) {
            let value = Value::from_bytes(value.as_bytes()).ok_or_else(|| unreadable(theirs.as_str()))?;
            all.push((ours.clone(), value));
        }
    }
    Ok(all)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_name_is_read_whole_or_nobody_is_let_in() {
        fn check(lines: &[&[u8]], expected: Option<&str>) {
            let lines: Vec<_> = lines.iter().map(|line| ("x-user", *line)).collect();
            assert_eq!(user(&answer(&lines), "x-user").ok(), expected, "{lines:?}");
        }
        check(&[], Some(""));
        check(&[b""], Some(""));
        check(&[b"alice"], Some("alice"));
        check(&["jürgen".as_bytes()], Some("jürgen"));
        check(&[b"j\xfcrgen"], None);
        check(&[b"alice", b"bob"], None);
        check(&[b"alice", b"alice"], None);
        check(&[b"a\tb"], None);
        check(&[&[b'a'; called::LONGEST]], Some(&"a".repeat(called::LONGEST)));
        check(&[&[b'a'; called::LONGEST + 1]], None);
    }

    #[test]
    fn the_lines_of_a_list_are_one() {
        let lines: &[(&str, &[u8])] = &[("x-roles", b"user, dev"), ("x-roles", b"admin"), ("x-scopes", b"\xff")];
        let headers = answer(lines);
        let roles = members(&headers, "x-roles", |c| c == ',').ok().unwrap();
        assert_eq!(roles.iter().map(|role| &**role).collect::<Vec<_>>(), ["user", "dev", "admin"]);
        assert!(members(&headers, "x-scopes", |c| c == ' ').is_err());
    }

    fn forward() -> Forward {
        let config = ForwardAuth {
            url: "http://127.0.0.1:1/".into(),
            send: ["authorization", "cookie", "accept", "x-key"].map(Into::into).into(),
            copy: Vec::new(),
            copy_back: Vec::new(),
            user_header: "x-user".into(),
            roles_header: "x-roles".into(),
            scopes_header: "x-scopes".into(),
            timeout: std::time::Duration::from_secs(1),
        };
        Forward::new(&Arc::new(config), None)
    }

    #[test]
    fn what_the_service_judges_stands_once() {
        let forward = forward();
        let check = |lines: &[(&str, &str)], expected: Option<usize>| {
            let mut head = RequestHead::new("GET", "/", http1::Version::Http11).unwrap();
            for (name, value) in lines {
                assert!(head.headers_mut().push(name.as_bytes(), value.as_bytes()));
            }
            let sent = forward.sent(&head).map(|headers| headers.len()).ok();
            assert_eq!(sent, expected, "{lines:?}");
        };
        check(&[("Authorization", "Bearer a"), ("x-other", "1"), ("x-other", "2")], Some(1));
        check(&[("Authorization", "Bearer a"), ("authorization", "Bearer b")], None);
        check(&[("x-key", "a"), ("x-key", "a")], None);
        check(&[("cookie", "a=1"), ("cookie", "b=2"), ("accept", "x/y"), ("accept", "z/z")], Some(4));
    }
}
