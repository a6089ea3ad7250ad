//! The HTTP mirror of a daemon, by the table that the daemon itself serves by.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use serde_json::Value;
use shared::audit::Mask;
use shared::control::http::{BodyForm, ReplyForm};
use shared::control::{Answer, Command, ControlError, ErrorCode};

use super::within;
use crate::failure::Failure;

/// No answer of an honest daemon has a longer line or document.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// A daemon's admin listener.
pub(crate) struct Remote {
    client: reqwest::Client,
    url: Url,
    token: Option<String>,
    user: Option<(String, String)>,
}

/// The body of one answer, cut into its parts.
pub(crate) struct Body {
    place: String,
    response: Response,
    reply: ReplyForm,
    /// Bytes of an unfinished line.
    rest: Vec<u8>,
    /// How much of `rest` is known to hold no line end.
    searched: usize,
    ready: VecDeque<Answer>,
    /// The name of the server-sent event that is being read.
    event: String,
    patience: Option<Duration>,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ControlError,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidArguments, message)
}

impl Remote {
    pub(super) fn new(url: &str, token: Option<&str>, user: Option<&str>) -> Result<Self, Failure> {
        let shown = Mask::userinfo(url).into_owned();
        let mut parsed = Url::parse(url).map_err(|error| usage(format!("--url {shown}: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err(usage(format!("--url {shown}: not of the form http://host:port or https://host:port")));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() || parsed.path() != "/" {
            return Err(usage(format!("--url {shown}: only scheme, host and port are meant here")));
        }
        let in_url = (!parsed.username().is_empty()).then(|| {
            let user = (parsed.username().to_owned(), parsed.password().unwrap_or_default().to_owned());
            let _ = parsed.set_username("").and_then(|()| parsed.set_password(None));
            user
        });
        let user = match user {
            None => in_url,
            Some(user) => {
                let (name, password) =
                    user.split_once(':').ok_or_else(|| usage("--user must be of the form USER:PASSWORD"))?;
                Some((name.to_owned(), password.to_owned()))
            }
        };
        let client = reqwest::Client::builder()
            .user_agent(concat!("proxyctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            // Credentials go to the daemon named and to nobody it or the environment names.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("HTTP cannot be spoken: {error}")))?;
        Ok(Self { client, url: parsed, token: token.filter(|token| !token.is_empty()).map(str::to_owned), user })
    }

    pub(super) fn place(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// Whether credentials would travel readable by anybody on the way.
    pub(crate) fn tells_secrets(&self) -> bool {
        let here = self.url.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        self.url.scheme() == "http" && !here && (self.token.is_some() || self.user.is_some())
    }

    pub(super) async fn ask(&self, command: &Command, patience: Option<Duration>) -> Result<Body, Failure> {
        let no_form = || Failure::new(ErrorCode::Failed, format!("`{}` has no HTTP form", command.name()));
        let request = command.to_http().ok_or_else(no_form)?;
        let method = Method::from_bytes(request.form.method.as_bytes()).map_err(|_| no_form())?;
        let url = self.url.join(&request.target).map_err(|_| no_form())?;
        let mut sent = self.client.request(method, url);
        sent = match (&self.token, &self.user) {
            (Some(token), _) => sent.bearer_auth(token),
            (None, Some((name, password))) => sent.basic_auth(name, Some(password)),
            (None, None) => sent,
        };
        sent = match request.form.body {
            BodyForm::None => sent,
            BodyForm::Arguments => {
                sent.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(request.body)
            }
            BodyForm::Config => {
                sent.header(CONTENT_TYPE, HeaderValue::from_static("application/yaml")).body(request.body)
            }
        };
        let accept = match request.form.reply {
            ReplyForm::Document => "application/json",
            ReplyForm::Lines => "application/x-ndjson",
            ReplyForm::Events => "text/event-stream",
        };
        let place = self.place();
        let response = within(patience, &place, sent.header(ACCEPT, HeaderValue::from_static(accept)).send())
            .await?
            .map_err(|error| unreachable(&place, &error))?;
        let status = response.status();
        let mut body = Body {
            place,
            response,
            reply: if status.is_success() { request.form.reply } else { ReplyForm::Document },
            rest: Vec::new(),
            searched: 0,
            ready: VecDeque::new(),
            event: String::new(),
            patience,
        };
        if status.is_success() {
            return Ok(body);
        }
        body.read_all().await?;
        Err(match serde_json::from_slice::<ErrorBody>(&body.rest) {
            Ok(told) => told.error.into(),
            Err(_) => foreign(&body.place, status.as_u16()),
        })
    }
}

impl Body {
    pub(super) async fn next(&mut self) -> Result<Answer, Failure> {
        if self.reply == ReplyForm::Document {
            self.read_all().await?;
            return serde_json::from_slice(&self.rest).map(Answer::Ok).map_err(|_| self.not_ours());
        }
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Ok(answer);
            }
            if !self.read_some().await? {
                let message = format!("the answer of {} ended before its end", self.place);
                return Err(Failure::new(ErrorCode::Unreachable, message)
                    .hint("The daemon may have stopped; its log says why."));
            }
            self.cut_lines()?;
        }
    }

    async fn read_all(&mut self) -> Result<(), Failure> {
        while self.read_some().await? {}
        Ok(())
    }

    async fn read_some(&mut self) -> Result<bool, Failure> {
        let chunk = within(self.patience, &self.place, self.response.chunk())
            .await?
            .map_err(|error| unreachable(&self.place, &error))?;
        let Some(chunk) = chunk else { return Ok(false) };
        if self.rest.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(self.not_ours());
        }
        self.rest.extend_from_slice(&chunk);
        Ok(true)
    }

    fn cut_lines(&mut self) -> Result<(), Failure> {
        let mut start = 0;
        let bytes = std::mem::take(&mut self.rest);
        while let Some(length) = bytes.get(start.max(self.searched)..).and_then(|tail| {
            tail.iter().position(|&byte| byte == b'\n').map(|at| at + start.max(self.searched) - start)
        }) {
            let line = bytes.get(start..start + length).unwrap_or_default();
            self.take_line(line.strip_suffix(b"\r").unwrap_or(line))?;
            start += length + 1;
        }
        self.rest = bytes.get(start..).unwrap_or_default().to_vec();
        self.searched = self.rest.len();
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        if self.reply == ReplyForm::Lines {
            if !line.is_empty() {
                let value = serde_json::from_slice(line).map_err(|_| self.not_ours())?;
                self.ready.push_back(part(value));
            }
            return Ok(());
        }
        // Server-sent events, of which the daemon writes each `data` on one line. Comments keep the connection alive.
        if line.is_empty() {
            self.event.clear();
        } else if let Some(name) = line.strip_prefix(b"event:") {
            String::from_utf8_lossy(name).trim().clone_into(&mut self.event);
        } else if let Some(text) = line.strip_prefix(b"data:") {
            let value: Value = serde_json::from_slice(text).map_err(|_| self.not_ours())?;
            self.ready.push_back(match self.event.as_str() {
                "end" => Answer::End(value),
                _ => part(value),
            });
        }
        Ok(())
    }

    fn not_ours(&self) -> Failure {
        let message = format!("what answers at {} does not speak proxyd's protocol", self.place);
        Failure::new(ErrorCode::Failed, message)
            .hint("Is it proxyd's admin listener (admin.listen), of the same version?")
    }
}

/// A line of a stream: a row, or `{"end":{…}}`, or `{"error":{…}}`.
fn part(value: Value) -> Answer {
    let sole = value.as_object().filter(|object| object.len() == 1).and_then(|object| object.iter().next());
    match sole {
        Some((key, end)) if key == "end" => Answer::End(end.clone()),
        Some((key, error)) if key == "error" => match serde_json::from_value(error.clone()) {
            Ok(error) => Answer::Error(error),
            Err(_) => Answer::Event(value),
        },
        Some(_) | None => Answer::Event(value),
    }
}

fn unreachable(place: &str, error: &reqwest::Error) -> Failure {
    let mut why = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        why = error.to_string();
        cause = error.source();
    }
    let why = if why.is_empty() { "the connection failed".to_owned() } else { why };
    Failure::new(ErrorCode::Unreachable, format!("no daemon answers at {place}: {why}"))
        .hint("Look whether proxyd runs there, and whether its `admin.listen` is this address.")
}

/// An answer that is not in our words: some other server, or one in between.
fn foreign(place: &str, status: u16) -> Failure {
    let code = match status {
        401 => ErrorCode::Unauthenticated,
        403 => ErrorCode::NotPermitted,
        _ => ErrorCode::Failed,
    };
    Failure::from(ControlError::new(code, format!("{place} answered {status}, and not in proxyd's words")))
        .hint("Is it proxyd's admin listener (admin.listen)?")
}
