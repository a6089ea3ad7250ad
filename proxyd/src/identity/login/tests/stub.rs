//! A provider that says what a test tells it to: `OpenID` Connect and GitHub, over a real socket.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openidconnect::url::form_urlencoded;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does.
pub(super) struct Script {
    /// What goes into the token beside what must be there; null takes a claim out.
    pub claims: Value,
    /// The same of the token's header.
    pub header: Value,
    /// What userinfo says.
    pub user: Value,
    /// What the answer with the tokens says beside them.
    pub tokens: Value,
    /// What discovery says beside what must be there.
    pub metadata: Value,
    /// Changes one letter of the signature.
    pub breaks_signature: bool,
    /// Its keys as they are published; the last one signs.
    pub keys: Vec<(String, Arc<Ed25519KeyPair>)>,
    /// Answers every question with this status.
    pub down: Option<u16>,
    /// What it answers at a path in place of everything else: a status, and a text of any kind.
    pub over: Vec<(&'static str, u16, &'static str)>,
    /// A path that is not answered as long as this stands.
    pub holds: Option<&'static str>,
    /// The token endpoint refuses.
    pub refuses: bool,
    /// Each refresh spends its token: `r1` is good first, then `r2`.
    pub rotates: Option<usize>,
    /// What GitHub says to `/user/emails` and `/user/orgs`.
    pub emails: Value,
    pub organisations: Value,
    /// Of the last login: what it was begun with.
    pub nonce: String,
    pub challenge: String,
    /// Every request: its line, and its form.
    pub seen: Vec<(String, Vec<(String, String)>)>,
    /// The credentials of the last request.
    pub authorization: String,
}

/// The provider, as long as it lives.
#[derive(Clone)]
pub(super) struct Stub {
    pub address: String,
    script: Arc<Mutex<Script>>,
}

pub(super) fn key(id: &str) -> (String, Arc<Ed25519KeyPair>) {
    (id.to_owned(), Arc::new(Ed25519KeyPair::generate().unwrap()))
}

impl Stub {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            claims: json!({}),
            header: json!({}),
            user: json!({"sub": "eve"}),
            tokens: json!({}),
            metadata: json!({}),
            breaks_signature: false,
            keys: vec![key("one")],
            down: None,
            over: Vec::new(),
            holds: None,
            refuses: false,
            rotates: None,
            emails: json!([{"email": "eve@a.example", "primary": true, "verified": true}]),
            organisations: json!([{"login": "acme"}]),
            nonce: String::new(),
            challenge: String::new(),
            seen: Vec::new(),
            authorization: String::new(),
        };
        let stub = Self { address, script: Arc::new(Mutex::new(script)) };
        let serving = stub.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        stub
    }

    /// Changes what it does.
    pub(super) fn set<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().unwrap())
    }

    /// How often it was asked for this.
    pub(super) fn count(&self, line: &str) -> usize {
        self.set(|script| script.seen.iter().filter(|(seen, _)| seen.starts_with(line)).count())
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = |text: &str| {
                let at = text.to_ascii_lowercase().find("content-length:").map(|at| at + 15);
                at.and_then(|at| text[at..].lines().next()?.trim().parse::<usize>().ok()).unwrap_or(0)
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let whole = text.split_once("\r\n\r\n").filter(|(head, body)| body.len() >= length(head));
            if let Some((head, body)) = whole {
                let (status, answer) = self.answer(head, body);
                let path = head.split([' ', '?']).nth(1).unwrap();
                while self.set(|script| script.holds == Some(path)) {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                if stream.write_all(format!("{head}{answer}").as_bytes()).await.is_err() {
                    return;
                }
                bytes.clear();
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn answer(&self, head: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.told(head, body);
        let path = head.split([' ', '?']).nth(1).unwrap().to_owned();
        let over = self.set(|script| script.over.iter().find(|(own, ..)| *own == path).copied());
        over.map_or_else(|| (status, answer.to_string()), |(_, status, text)| (status, text.to_owned()))
    }

    fn told(&self, head: &str, body: &str) -> (u16, Value) {
        let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let form: Vec<_> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let mut script = self.script.lock().unwrap();
        script.seen.push((line.clone(), form.clone()));
        let credentials = head.lines().find_map(|line| line.strip_prefix("authorization: "));
        script.authorization = credentials.unwrap_or_default().to_owned();
        if let Some(status) = script.down {
            return (status, json!({}));
        }
        let (method, target) = line.split_once(' ').unwrap();
        match (method, target.split('?').next().unwrap()) {
            ("GET", "/.well-known/openid-configuration") => (200, script.metadata(&self.address)),
            ("GET", "/jwks") => (200, script.jwks()),
            ("POST", "/token") => script.token(&self.address, &form),
            ("GET", "/userinfo" | "/user") => (200, script.user.clone()),
            ("POST", "/revoke") => (200, json!({})),
            ("POST", "/gh/token") => script.github_token(&form),
            ("GET", "/user/emails") => (if script.emails.is_null() { 404 } else { 200 }, script.emails.clone()),
            ("GET", "/user/orgs") => (200, script.organisations.clone()),
            _ => (404, json!({})),
        }
    }
}

impl Script {
    /// What was sent under this name, each time.
    pub(super) fn asked_with(&self, wanted: &str) -> Vec<String> {
        let forms = self.seen.iter().flat_map(|(_, form)| form);
        forms.filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
    }

    fn metadata(&self, issuer: &str) -> Value {
        let whole = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "end_session_endpoint": format!("{issuer}/end?a=b"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        });
        merged(whole, &self.metadata)
    }

    fn jwks(&self) -> Value {
        let key = |(id, pair): &(String, Arc<Ed25519KeyPair>)| {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": id, "x": x})
        };
        json!({"keys": self.keys.iter().map(key).collect::<Vec<_>>()})
    }

    /// Whether the form proves that whoever sends it began the login.
    fn proves(&self, form: &[(String, String)]) -> bool {
        let value = |wanted: &str| form.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value("code_verifier").as_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_ref()) == self.challenge && value("code") == "good"
    }

    fn token(&mut self, issuer: &str, form: &[(String, String)]) -> (u16, Value) {
        let is_refresh = form.contains(&("grant_type".to_owned(), "refresh_token".to_owned()));
        if is_refresh && let Some(good) = &mut self.rotates {
            if !form.contains(&("refresh_token".to_owned(), format!("r{good}"))) {
                return (400, json!({"error": "invalid_grant"}));
            }
            *good += 1;
            self.tokens = json!({"refresh_token": format!("r{good}"), "expires_in": 300});
            self.claims = json!({"nonce": null});
        }
        let basic = format!("Basic {}", STANDARD.encode("client:s%26cret"));
        let in_form = form.contains(&("client_secret".to_owned(), "s&cret".to_owned()));
        if self.refuses || !(self.authorization == basic || in_form) || !(is_refresh || self.proves(form)) {
            return (400, json!({"error": "invalid_grant"}));
        }
        let mut claims = json!({
            "iss": issuer, "aud": "client", "sub": "eve", "nonce": self.nonce,
            "iat": now_s(), "exp": now_s() + 60, "email": "eve@a.example", "email_verified": true,
            "roles": ["admin"], "team": "red",
        });
        claims = merged(claims, &self.claims);
        let header = merged(json!({"alg": "EdDSA", "kid": self.keys.last().unwrap().0}), &self.header);
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = match header["alg"].as_str() {
            Some("none") => Vec::new(),
            Some("HS256") => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"s&cret");
                aws_lc_rs::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            _ => self.keys.last().unwrap().1.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        if self.breaks_signature {
            signature[0] ^= 1;
        }
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        (200, merged(json!({"access_token": "at", "token_type": "Bearer", "id_token": token}), &self.tokens))
    }

    fn github_token(&self, form: &[(String, String)]) -> (u16, Value) {
        let has = |name: &str, value: &str| form.contains(&(name.to_owned(), value.to_owned()));
        let is_refresh = has("grant_type", "refresh_token");
        let good = has("client_id", "client") && has("client_secret", "s&cret") && (is_refresh || self.proves(form));
        if self.refuses || !good {
            return (200, json!({"error": "bad_verification_code"}));
        }
        (
            200,
            merged(json!({"access_token": "at", "token_type": "bearer", "scope": "read:org,user:email"}), &self.tokens),
        )
    }
}

fn merged(mut whole: Value, over: &Value) -> Value {
    for (name, value) in over.as_object().unwrap() {
        if value.is_null() {
            whole.as_object_mut().unwrap().remove(name);
        } else {
            whole[name] = value.clone();
        }
    }
    whole
}

pub(super) fn now_s() -> i64 {
    crate::telemetry::clock::unix_us() / 1_000_000
}
