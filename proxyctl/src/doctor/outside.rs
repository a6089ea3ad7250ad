//! Whether those answer whom the daemon asks: the shared store, and whoever says who somebody is. Read only, and each in a short
//! time.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use serde_json::Value;
use shared::config::identity::{JwtKeys, LoginKind};
use shared::config::{Checked, Config};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Finding, Patient};

/// Of each.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is read of an answer.
const MOST_BYTES: usize = 1 << 20;

/// One line of a store's answer.
const LINE_BYTES: u64 = 4096;

/// What is asked of somebody.
enum Question {
    Store(String),
    Keys(String),
    Discovery {
        issuer: String,
    },
    /// That it accepts connections.
    Connect(String),
}

/// Asks all that the config names, from this machine.
pub(super) async fn dependencies(patient: &Patient) -> Vec<Finding> {
    let Some(checked) = &patient.checked else { return Vec::new() };
    let mut findings = Vec::new();
    let mut questions = Vec::new();
    if let Some(reference) = unknown_store(checked) {
        findings.push(Finding::warn(
            "redis",
            format!("where it is stands in {reference}, which is not set here: it was not asked"),
            "set it for this command too",
        ));
    } else {
        let redis = checked.config.redis.iter();
        questions.extend(redis.map(|redis| ("redis", Question::Store(redis.url.reveal().to_owned()))));
    }
    questions.extend(of_identity(&checked.config));
    let mut running = JoinSet::new();
    for (at, (check, question)) in questions.into_iter().enumerate() {
        running.spawn(async move { (at, ask(check, question).await) });
    }
    let mut told = running.join_all().await;
    told.sort_by_key(|(at, _)| *at);
    findings.extend(told.into_iter().map(|(_, finding)| finding));
    findings
}

/// The variable that says where the store is, where it is not set for us.
fn unknown_store(checked: &Checked) -> Option<String> {
    let effective = checked.effective();
    let written = effective.tree.pointer("/redis/url")?.as_str()?.to_owned();
    let name = written.strip_prefix("${env:")?.strip_suffix('}')?;
    std::env::var_os(name).is_none().then(|| written.clone())
}

fn of_identity(config: &Config) -> Vec<(&'static str, Question)> {
    let identity = &config.identity;
    let mut all = Vec::new();
    for jwt in &identity.jwt {
        if let JwtKeys::JwksUrl { url, .. } = &jwt.keys {
            all.push(("keys", Question::Keys(url.to_string())));
        }
    }
    for login in &identity.login {
        all.push(match &login.kind {
            LoginKind::Oidc { issuer } => ("login", Question::Discovery { issuer: issuer.to_string() }),
            LoginKind::GitHub { api_url, .. } => ("login", Question::Connect(api_url.to_string())),
        });
    }
    all.extend(identity.introspection.iter().map(|one| ("introspect", Question::Connect(one.url.to_string()))));
    all.extend(identity.forward.iter().map(|one| ("forward", Question::Connect(one.url.to_string()))));
    all
}

async fn ask(check: &'static str, question: Question) -> Finding {
    let place = question.place();
    let answer = match timeout(PATIENCE, question.answer()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    match answer {
        Ok(said) => Finding::ok(check, format!("{place} {said}")),
        Err(why) => Finding::fail(check, format!("{place}: {why}"), question.advice()),
    }
}

impl Question {
    /// Where, without anything secret.
    fn place(&self) -> String {
        match self {
            Self::Store(url) if url.starts_with("unix:") => url.split('?').next().unwrap_or_default().to_owned(),
            Self::Store(url) => Url::parse(url).ok().and_then(|url| address(&url)).unwrap_or_default(),
            Self::Keys(url) | Self::Connect(url) => url.split('?').next().unwrap_or_default().to_owned(),
            Self::Discovery { issuer } => issuer.clone(),
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Store(_) => {
                "start it, or mend `redis.url`; until it answers, rules of `store: redis` do what their `on_store_error` says"
            }
            Self::Keys(_) => {
                "mend `jwks_url`, or start whoever serves it; without keys no token of this issuer is good"
            }
            Self::Discovery { .. } => "mend `issuer`, or start the provider; until it answers nobody can log in there",
            Self::Connect(_) => "start it, or mend its address in the config",
        }
    }

    async fn answer(&self) -> Result<String, String> {
        match self {
            Self::Store(url) => greet(url).await,
            Self::Connect(url) => {
                let url = Url::parse(url).map_err(|_| "this is no URL".to_owned())?;
                let address = address(&url).ok_or("this URL has no host")?;
                TcpStream::connect(&address).await.map_err(|error| format!("cannot be reached: {error}"))?;
                Ok("accepts connections".to_owned())
            }
            Self::Keys(url) => {
                let keys = fetch(url).await?;
                match keys.get("keys").and_then(Value::as_array).map(Vec::len) {
                    None => Err("the answer is no set of keys: it has no list `keys`".to_owned()),
                    Some(0) => Err("the set of keys is empty".to_owned()),
                    Some(1) => Ok("has 1 key".to_owned()),
                    Some(count) => Ok(format!("has {count} keys")),
                }
            }
            Self::Discovery { issuer } => {
                let told = fetch(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
                match told.get("issuer").and_then(Value::as_str) {
                    Some(told) if told == issuer => Ok("answers as its issuer".to_owned()),
                    Some(_) => Err("it says that it is another issuer".to_owned()),
                    None => Err("the answer names no issuer".to_owned()),
                }
            }
        }
    }
}

/// `host:port`.
fn address(url: &Url) -> Option<String> {
    const STORE_PORT: u16 = 6379;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default().unwrap_or(STORE_PORT)))
}

async fn fetch(url: &str) -> Result<Value, String> {
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build();
    let client = client.map_err(|_| "HTTP cannot be spoken here".to_owned())?;
    let mut answer = client.get(url).send().await.map_err(|error| {
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(" ({cause})"));
        format!("cannot be asked: {error}{cause}")
    })?;
    if !answer.status().is_success() {
        return Err(format!("the answer has status {}", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|_| "the answer broke off".to_owned())? {
        body.extend_from_slice(&part);
        if body.len() > MOST_BYTES {
            return Err("the answer is larger than 1 MiB".to_owned());
        }
    }
    serde_json::from_slice(&body).map_err(|_| "the answer is no JSON".to_owned())
}

/// Connects as the daemon would, logs in and asks for a sign of life.
async fn greet(url: &str) -> Result<String, String> {
    let unreached = |error: std::io::Error| format!("cannot be reached: {error}");
    if let Some(rest) = url.strip_prefix("unix:") {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let of = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let stream = UnixStream::connect(path).await.map_err(unreached)?;
        return ping(stream, &decoded(of("user").unwrap_or_default()), &decoded(of("pass").unwrap_or_default())).await;
    }
    let url = Url::parse(url).map_err(|_| "its address is none".to_owned())?;
    let stream = TcpStream::connect(address(&url).ok_or("its address has no host")?).await.map_err(unreached)?;
    if url.scheme() == "rediss" {
        return Ok("accepts connections; TLS and the password were not tried".to_owned());
    }
    ping(stream, &decoded(url.username()), &decoded(url.password().unwrap_or_default())).await
}

async fn ping(stream: impl AsyncRead + AsyncWrite + Unpin, user: &str, password: &str) -> Result<String, String> {
    let mut stream = BufReader::new(stream);
    if !password.is_empty() {
        let login: &[&str] = if user.is_empty() { &["AUTH", password] } else { &["AUTH", user, password] };
        let said = exchange(&mut stream, login).await?;
        if !said.starts_with("+OK") {
            return Err(format!("it does not let us in: {}", code(&said)));
        }
    }
    let said = exchange(&mut stream, &["PING"]).await?;
    // A user that has only the rights it needs may not ask this: then it has answered all the same.
    if said.starts_with("+PONG") || said.starts_with("-NOPERM") {
        return Ok("answers".to_owned());
    }
    Err(format!("it answers with an error: {}", code(&said)))
}

async fn exchange(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    words: &[&str],
) -> Result<String, String> {
    let broken = |_| "the connection broke".to_owned();
    let mut question = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(question, "${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(question.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut line = String::new();
    tokio::io::AsyncReadExt::take(stream, LINE_BYTES).read_line(&mut line).await.map_err(broken)?;
    if line.is_empty() { Err("it hung up".to_owned()) } else { Ok(line) }
}

/// The store's own word for an error; nothing else that it says, which may be anything.
fn code(said: &str) -> &str {
    let word = said.trim_start_matches('-').split(' ').next().unwrap_or_default().trim_end();
    let is_code = !word.is_empty() && word.len() <= 32 && word.bytes().all(|octet| octet.is_ascii_uppercase());
    if is_code { word } else { "not in its protocol" }
}

/// Without percent-encoding.
fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let octet = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        octets.push(octet.unwrap_or(*first));
        rest = behind.get(if octet.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&octets).into_owned()
}
