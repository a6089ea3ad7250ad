//! The HTTP form of every command: one table that the daemon routes and describes by and that `proxyctl --url` speaks.
//! Turns a command into a request and back; sends and serves nothing.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Command, ControlError, ErrorCode};

/// One way to ask for a command over HTTP. A command may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpForm {
    /// The command's name on the wire.
    pub command: &'static str,
    pub method: &'static str,
    /// With `{name}` where a parameter stands: always a whole segment.
    pub path: &'static str,
    /// The arguments that travel in the path and the query.
    pub params: &'static [Param],
    pub body: BodyForm,
    pub reply: ReplyForm,
}

/// An argument in the path (where the template names it) or in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// In the URL.
    pub name: &'static str,
    /// Among the arguments.
    pub argument: &'static str,
    pub kind: ParamKind,
}

/// How an argument is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    Text,
    /// A whole number, not negative.
    Number,
    /// `true` or `false`; without a value `true`.
    Flag,
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    None,
    /// The arguments as a JSON object; empty: all defaults.
    Arguments,
    /// The config's text itself, which becomes the argument `text`.
    Config,
}

/// What a successful answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyForm {
    /// One JSON document: the `ok` body.
    Document,
    /// `application/x-ndjson`: a line per event, then `{"end":{…}}`.
    Lines,
    /// `text/event-stream`: a `data:` line per event, without end.
    Events,
}

/// A request to be sent, for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub form: &'static HttpForm,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Empty where the form has none.
    pub body: String,
}

const fn text(name: &'static str) -> Param {
    named(name, name)
}

/// A text that the URL calls otherwise than the arguments do.
const fn named(name: &'static str, argument: &'static str) -> Param {
    Param { name, argument, kind: ParamKind::Text }
}

const fn number(name: &'static str) -> Param {
    Param { name, argument: name, kind: ParamKind::Number }
}

const fn flag(name: &'static str) -> Param {
    Param { name, argument: name, kind: ParamKind::Flag }
}

const fn form(
    command: &'static str,
    method: &'static str,
    path: &'static str,
    params: &'static [Param],
    body: BodyForm,
    reply: ReplyForm,
) -> HttpForm {
    HttpForm { command, method, path, params, body, reply }
}

/// The filters of `audit`, but for `follow`, which is a path of its own.
const AUDIT_PARAMS: &[Param] = &[
    number("last"),
    text("since"),
    text("until"),
    number("before"),
    number("after"),
    text("kind"),
    text("status"),
    text("route"),
    text("upstream"),
    text("client"),
    text("path"),
    text("method"),
    text("outcome"),
    text("principal"),
    text("credential"),
    text("actor"),
    text("request_id"),
    flag("retried"),
];

/// An upstream, and an endpoint of it.
const UPSTREAM: Param = named("name", "upstream");
const ENDPOINT: Param = named("id", "endpoint");
const ENDPOINTS_PATH: &str = "/admin/upstreams/{name}/endpoints";
/// An API key, an account and a ban.
const KEY: Param = text("key");
const USER: Param = text("name");
const NETWORK: Param = text("network");
const ENDPOINT_PATH: &str = "/admin/upstreams/{name}/endpoints/{id}";

/// Every form, in the order of the commands. A fixed path stands before one with parameters in its place.
pub const FORMS: &[HttpForm] = &[
    form("status", "GET", "/admin/status", &[], BodyForm::None, ReplyForm::Document),
    form("routes", "GET", "/admin/routes", &[text("name")], BodyForm::None, ReplyForm::Lines),
    form("explain", "POST", "/admin/explain", &[], BodyForm::Arguments, ReplyForm::Document),
    form("reload", "POST", "/admin/reload", &[], BodyForm::Arguments, ReplyForm::Document),
    form("validate", "POST", "/admin/validate", &[text("name")], BodyForm::Config, ReplyForm::Document),
    form("config", "GET", "/admin/config", &[flag("origin")], BodyForm::None, ReplyForm::Document),
    form("history", "GET", "/admin/history", &[], BodyForm::None, ReplyForm::Lines),
    form("history", "GET", "/admin/history/{generation}", &[number("generation")], BodyForm::None, ReplyForm::Lines),
    form("rollback", "POST", "/admin/rollback", &[], BodyForm::Arguments, ReplyForm::Document),
    form("audit", "GET", "/admin/audit", AUDIT_PARAMS, BodyForm::None, ReplyForm::Lines),
    form("audit", "GET", "/admin/audit/stream", AUDIT_PARAMS, BodyForm::None, ReplyForm::Events),
    form("audit_head", "GET", "/admin/audit/head", &[], BodyForm::None, ReplyForm::Document),
    form("audit_verify", "POST", "/admin/audit/verify", &[], BodyForm::Arguments, ReplyForm::Document),
    form("upstreams", "GET", "/admin/upstreams", &[text("name")], BodyForm::None, ReplyForm::Lines),
    form("upstreams_set", "PUT", ENDPOINT_PATH, &[UPSTREAM, ENDPOINT], BodyForm::Arguments, ReplyForm::Document),
    form("upstreams_register", "POST", ENDPOINTS_PATH, &[UPSTREAM], BodyForm::Arguments, ReplyForm::Document),
    form("upstreams_deregister", "DELETE", ENDPOINT_PATH, &[UPSTREAM, ENDPOINT], BodyForm::None, ReplyForm::Document),
    form("keys", "GET", "/admin/keys", &[], BodyForm::None, ReplyForm::Lines),
    form("keys_create", "POST", "/admin/keys", &[], BodyForm::Arguments, ReplyForm::Document),
    form("keys_revoke", "DELETE", "/admin/keys/{key}", &[KEY], BodyForm::None, ReplyForm::Document),
    form("keys_rotate", "POST", "/admin/keys/{key}/rotate", &[KEY], BodyForm::Arguments, ReplyForm::Document),
    form("tokens", "GET", "/admin/tokens", &[], BodyForm::None, ReplyForm::Lines),
    form("tokens_revoke", "POST", "/admin/tokens/revoke", &[], BodyForm::Arguments, ReplyForm::Document),
    form("users", "GET", "/admin/users", &[], BodyForm::None, ReplyForm::Lines),
    form("users_add", "POST", "/admin/users", &[], BodyForm::Arguments, ReplyForm::Document),
    form("users_set", "PUT", "/admin/users/{name}", &[USER], BodyForm::Arguments, ReplyForm::Document),
    form("users_password", "PUT", "/admin/users/{name}/password", &[USER], BodyForm::Arguments, ReplyForm::Document),
    form("users_remove", "DELETE", "/admin/users/{name}", &[USER], BodyForm::None, ReplyForm::Document),
    form("bans", "GET", "/admin/bans", &[], BodyForm::None, ReplyForm::Lines),
    form("bans_add", "POST", "/admin/bans", &[], BodyForm::Arguments, ReplyForm::Document),
    form("bans_lift", "DELETE", "/admin/bans/{network}", &[NETWORK], BodyForm::None, ReplyForm::Document),
    form("limits", "GET", "/admin/limits", &[text("key"), text("rule")], BodyForm::None, ReplyForm::Lines),
    form("limits_top", "GET", "/admin/limits/top", &[text("rule"), number("last")], BodyForm::None, ReplyForm::Lines),
    form(
        "limits_reset",
        "DELETE",
        "/admin/limits/{key}",
        &[text("key"), text("rule")],
        BodyForm::None,
        ReplyForm::Document,
    ),
    form("log_level", "PUT", "/admin/log-level", &[], BodyForm::Arguments, ReplyForm::Document),
    form("upgrade", "POST", "/admin/upgrade", &[], BodyForm::None, ReplyForm::Document),
    form("shutdown", "POST", "/admin/shutdown", &[], BodyForm::None, ReplyForm::Document),
];

impl HttpForm {
    /// The parameters of a request path (still percent-encoded) of this form, by name; none where the path is another
    /// form's.
    fn matches<'a>(&self, path: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
        let mut given = path.split('/');
        let mut found = Vec::new();
        for expected in self.path.split('/') {
            let segment = given.next()?;
            match parameter(expected) {
                Some(_) if segment.is_empty() => return None,
                Some(name) => found.push((name, segment)),
                None if segment == expected => {}
                None => return None,
            }
        }
        given.next().is_none().then_some(found)
    }

    /// The form that a request path and method mean. The error is 404 or, with the methods that the path takes, 405.
    pub fn find(method: &str, path: &str) -> Result<&'static Self, Vec<&'static str>> {
        let at_path = || FORMS.iter().filter(|form| form.matches(path).is_some());
        match at_path().find(|form| form.method == method) {
            Some(form) => Ok(form),
            None => Err(at_path().map(|form| form.method).collect()),
        }
    }

    /// Reads a request of this form. `path` and `query` (without `?`) are as received.
    ///
    /// # Errors
    /// `invalid_arguments` or `malformed_request`.
    pub fn command(&self, path: &str, query: &str, body: &[u8]) -> Result<Command, ControlError> {
        let invalid = |message: String| ControlError::new(ErrorCode::InvalidArguments, message);
        let mut args = match self.body {
            BodyForm::None => Map::new(),
            BodyForm::Arguments if body.iter().all(u8::is_ascii_whitespace) => Map::new(),
            BodyForm::Arguments => serde_json::from_slice(body).map_err(|error| {
                ControlError::new(ErrorCode::MalformedRequest, format!("the body is not a JSON object: {error}"))
            })?,
            BodyForm::Config => {
                let config = std::str::from_utf8(body)
                    .map_err(|_| ControlError::new(ErrorCode::MalformedRequest, "the body is not UTF-8"))?;
                Map::from_iter([("text".to_owned(), Value::String(config.to_owned()))])
            }
        };
        let twice = |name: &str| invalid(format!("`{name}` is given twice"));
        for (name, value) in self.matches(path).unwrap_or_default() {
            let (argument, value) = self.value(name, &decoded(value, false).map_err(invalid)?)?;
            if args.insert(argument.to_owned(), value).is_some() {
                return Err(twice(argument));
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name, true).map_err(invalid)?, decoded(value, true).map_err(invalid)?);
            let (argument, value) = self.value(&name, &value)?;
            if args.insert(argument.to_owned(), value).is_some() {
                return Err(twice(argument));
            }
        }
        if self.reply == ReplyForm::Events {
            args.insert("follow".to_owned(), Value::Bool(true));
        }
        Command::parse(self.command, Value::Object(args))
    }

    /// A parameter's argument and what it says.
    fn value(&self, name: &str, value: &str) -> Result<(&'static str, Value), ControlError> {
        let invalid = |message: String| ControlError::new(ErrorCode::InvalidArguments, message);
        let Some(param) = self.params.iter().find(|param| param.name == name) else {
            let known = self.params.iter().map(|param| param.name).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "it takes none".to_owned() } else { format!("known are {known}") };
            return Err(invalid(format!("unknown parameter `{name}` of {}; {known}", self.path)));
        };
        let value = match (param.kind, value) {
            (ParamKind::Text, _) => Value::String(value.to_owned()),
            (ParamKind::Number, _) => value
                .parse::<u64>()
                .map(Value::from)
                .map_err(|_| invalid(format!("`{name}` must be a whole number, not negative")))?,
            (ParamKind::Flag, "" | "true") => Value::Bool(true),
            (ParamKind::Flag, "false") => Value::Bool(false),
            (ParamKind::Flag, _) => return Err(invalid(format!("`{name}` must be true or false"))),
        };
        Ok((param.argument, value))
    }
}

impl Command {
    /// The form in which this command is sent over HTTP; `None` only for one that has none, which a test forbids.
    #[must_use]
    pub fn http(&self) -> Option<&'static HttpForm> {
        let follow = matches!(self, Self::Audit(query) if query.follow);
        let one = matches!(self, Self::History(history) if history.generation.is_some());
        FORMS.iter().filter(|form| form.command == self.name()).find(|form| {
            (form.reply == ReplyForm::Events) == follow && (form.command != "history" || form.params.is_empty() != one)
        })
    }

    /// The request that asks for this command over HTTP.
    #[must_use]
    pub fn to_http(&self) -> Option<HttpRequest> {
        let form = self.http()?;
        let mut whole = serde_json::to_value(self).ok()?;
        let args = whole.as_object_mut()?.remove("args");
        let args = args.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let mut target = form.path.to_owned();
        let mut query = String::new();
        for param in form.params {
            let Some(value) = args.get(param.argument) else { continue };
            let value = value.as_str().map_or_else(|| value.to_string(), encoded);
            let place = format!("{{{}}}", param.name);
            if target.contains(&place) {
                target = target.replacen(&place, &value, 1);
            } else {
                let separator = if query.is_empty() { '?' } else { '&' };
                let _ = write!(query, "{separator}{}={value}", param.name);
            }
        }
        let body = match form.body {
            BodyForm::None => String::new(),
            BodyForm::Arguments => {
                // What the URL says, the body does not say again.
                let in_url = |name: &str| form.params.iter().any(|param| param.argument == name);
                Value::Object(args.into_iter().filter(|(name, _)| !in_url(name)).collect()).to_string()
            }
            BodyForm::Config => args.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        Some(HttpRequest { form, target: target + &query, body })
    }
}

/// The name of the parameter that this segment of a template stands for.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Undoes percent-encoding; in a query `+` is a space.
fn decoded(text: &str, in_query: bool) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'%' => {
                let byte = tail
                    .get(..2)
                    .filter(|two| two.iter().all(u8::is_ascii_hexdigit))
                    .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok())
                    .ok_or_else(|| "a `%` in the URL is not followed by two hex digits".to_owned())?;
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            b'+' if in_query => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| "the URL's parameters are not UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
