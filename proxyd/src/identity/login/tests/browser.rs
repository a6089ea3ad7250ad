//! A browser, as far as logins see one: it keeps cookies and goes where it is told.

use openidconnect::url::Url;
use shared::config::identity::{Allow, Identity, Login, LoginKind};
use shared::config::{Config, Input, References, Secret};

use super::stub::{Stub, now_s};
use super::*;
use crate::exchange::{Headers, Value};
use crate::outside::Outside;

/// Two logins by `OpenID` Connect and one of GitHub's, all at one provider.
pub(super) fn config(stub: &Stub) -> Identity {
    let login = |name: &str, kind: LoginKind, scopes: &[&str], claim: &str| {
        Arc::new(Login {
            name: name.into(),
            kind,
            client_id: "client".into(),
            client_secret: Some(Secret::new("s&cret")),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            public_url: None,
            allow: Allow::default(),
            user_claim: claim.into(),
            roles_claim: "roles".into(),
            asks_roles: false,
            roles: vec!["user".into()],
            timeout: std::time::Duration::from_secs(5),
        })
    };
    let oidc = || LoginKind::Oidc { issuer: stub.address.as_str().into() };
    let github = LoginKind::GitHub {
        authorize_url: format!("{}/gh/authorize", stub.address).into(),
        token_url: format!("{}/gh/token", stub.address).into(),
        api_url: format!("{}/", stub.address).into(),
    };
    let mut identity = Identity {
        login: vec![
            login("corp", oidc(), &["openid", "email"], "sub"),
            login("other", oidc(), &["openid"], "sub"),
            login("github", github, &["read:org", "user:email"], "login"),
        ],
        ..Identity::default()
    };
    identity.session.after_logout = "/bye".into();
    identity.send.claims = vec![("x-team".into(), "team".into())];
    identity
}

pub(super) fn logins_of(stub: &Stub, change: impl FnOnce(&mut Identity)) -> Arc<Logins> {
    let mut identity = config(stub);
    change(&mut identity);
    compile(identity, None).unwrap()
}

pub(super) fn compile(identity: Identity, before: Option<&Logins>) -> Result<Arc<Logins>, String> {
    compile_with(identity, &State::in_memory(), before)
}

/// The same over what another process may know too.
pub(super) fn compile_with(
    identity: Identity,
    state: &Arc<State>,
    before: Option<&Logins>,
) -> Result<Arc<Logins>, String> {
    let text = "routes: [{path: /, respond: {status: 200}}]\n";
    let checked = shared::config::load(&Input::text("t.yaml", text), &References::Refuse);
    let whole = checked.unwrap_or_else(|problems| panic!("{problems:?}")).config;
    Logins::compile(&Config { identity, ..(*whole).clone() }, state, None, before)
}

#[derive(Clone)]
pub(super) struct Browser {
    pub logins: Arc<Logins>,
    pub cookies: Vec<(String, String)>,
    pub host: String,
    pub site: &'static str,
    pub now_s: i64,
    reach: Reach,
}

impl Browser {
    pub(super) fn new(logins: Arc<Logins>) -> Self {
        let reach = Reach { client: Outside::default().client().unwrap(), store: Way::default() };
        let host = "app.example".to_owned();
        Self { logins, cookies: Vec::new(), host, site: "same-origin", now_s: now_s(), reach }
    }

    fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert!(headers.push(b"cookie", cookies.join("; ").as_bytes()));
        assert!(headers.push(b"accept", b"text/html"));
        assert!(headers.push(b"sec-fetch-site", self.site.as_bytes()));
        headers
    }

    pub(super) async fn try_send(&mut self, method: &str, page: &str) -> Result<Answer, Rejection> {
        let (page, query) = page.split_once('?').unwrap_or((page, ""));
        let headers = self.headers();
        let visit = Visit {
            method,
            page,
            query,
            headers: &headers,
            https: true,
            host: &self.host,
            request_id: "id",
            now_s: self.now_s,
        };
        let answer = self.logins.answer(visit, &self.reach).await?;
        for cookie in &answer.cookies {
            self.take(cookie);
        }
        Ok(answer)
    }

    pub(super) fn take(&mut self, cookie: &Value) {
        let text = String::from_utf8(cookie.as_bytes().to_vec()).unwrap();
        let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
        self.cookies.retain(|(known, _)| known != name);
        if !text.contains("; Max-Age=0;") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) async fn send(&mut self, method: &str, page: &str) -> Answer {
        self.try_send(method, page).await.unwrap()
    }

    pub(super) async fn go(&mut self, page: &str) -> Answer {
        self.send("GET", page).await
    }

    /// Is sent to the provider, which takes down what it is told. The state.
    pub(super) async fn begin(&mut self, stub: &Stub, login: &str, to: &str) -> String {
        let answer = self.go(&format!("login/{login}{}", target::query(to))).await;
        let url = Url::parse(answer.location.as_deref().unwrap_or_else(|| panic!("{answer:?}"))).unwrap();
        let value = |wanted: &str| {
            url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        stub.set(|script| (script.nonce, script.challenge) = (value("nonce"), value("code_challenge")));
        value("state")
    }

    /// Goes all the way.
    pub(super) async fn log_in(&mut self, stub: &Stub, login: &str, to: &str) -> Answer {
        let state = self.begin(stub, login, to).await;
        self.go(&format!("login/{login}/callback?code=good&state={state}")).await
    }

    /// What its cookie stands for, as a route asks.
    pub(super) async fn answered(&self) -> Answered {
        self.answered_for("corp").await
    }

    /// The same on a route that wants this login.
    pub(super) async fn answered_for(&self, login: &str) -> Answered {
        let opened = self.logins.sessions.open(&self.headers(), true, &self.reach.store, self.now_s);
        let provider = self.logins.provider(login).unwrap();
        match self.logins.asked(opened, provider, || Some(self.reach.clone()), self.now_s) {
            Opened::None => Answered::Denied(crate::exchange::Denial::Missing),
            Opened::Good(session) => Answered::Good(session),
            Opened::Denied(denial) => Answered::Denied(denial),
            Opened::Ask(question) => question.await,
        }
    }

    pub(super) async fn session(&self) -> Option<Arc<Session>> {
        match self.answered().await {
            Answered::Good(session) => Some(session),
            Answered::Denied(_) | Answered::Unavailable => None,
        }
    }

    pub(super) async fn session_of(self) -> Option<Arc<Session>> {
        self.session().await
    }

    pub(super) async fn answered_of(self) -> Answered {
        self.answered().await
    }

    /// What the answer tells it of its session, once it leaves.
    pub(super) fn news(&self, session: &Arc<Session>) -> Option<crate::exchange::Back> {
        let provider = Arc::clone(self.logins.provider(session.login()).unwrap());
        let (logins, way) = (Arc::clone(&self.logins), self.reach.store.clone());
        Ours { logins, provider, https: true, way, now_s: self.now_s }.news(session)
    }

    /// Takes the cookie that the answer sets, if it does.
    pub(super) fn renew(&mut self, session: &Arc<Session>) -> bool {
        let cookie = self.logins.sessions.renew(session, true, &self.reach.store, self.now_s);
        let is_set = cookie.is_some();
        if let Some(cookie) = &cookie {
            self.take(cookie);
        }
        is_set
    }
}
