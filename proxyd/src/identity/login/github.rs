//! GitHub: OAuth 2.0 without an `id_token`. Who it is, its API says; what it says is told as claims.

use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, RedirectUrl, TokenUrl};
use openidconnect::url::Url;
use openidconnect::{
    CsrfToken, EndpointNotSet, EndpointSet, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RefreshToken,
    Scope,
};
use serde_json::{Map, Value, json};
use shared::config::identity::Login;

use super::provider::{Brought, Calls, Failure, Recognised, Refreshed, Start, failed, given, refused};
use crate::identity::claims::Claims;
use crate::identity::session::Tokens;

/// Pages of organisations that are read, a hundred each.
const MOST_PAGES: usize = 5;
const PAGE: usize = 100;

/// What GitHub says of a code or token that is no good.
const NO_GOOD: [&str; 2] = ["bad_verification_code", "bad_refresh_token"];

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Where GitHub is, or something that speaks as it does.
pub(super) struct GitHub {
    authorize: AuthUrl,
    token: TokenUrl,
    /// Without a slash at its end.
    api: String,
}

impl GitHub {
    /// # Errors
    /// An address that is none.
    pub(super) fn compile(authorize: &str, token: &str, api: &str) -> Result<Self, String> {
        let api = api.trim_end_matches('/').to_owned();
        Url::parse(&api).map_err(|error| format!("api_url: {error}"))?;
        Ok(Self {
            authorize: AuthUrl::new(authorize.to_owned()).map_err(|error| format!("authorize_url: {error}"))?,
            token: TokenUrl::new(token.to_owned()).map_err(|error| format!("token_url: {error}"))?,
            api,
        })
    }

    /// Where somebody is sent to log in.
    pub(super) fn begin(&self, config: &Login, start: &Start<'_>) -> Result<Url, Failure> {
        let verifier = PkceCodeVerifier::new(start.verifier.to_owned());
        let client = BasicClient::new(ClientId::new(config.client_id.to_string()))
            .set_auth_uri(self.authorize.clone())
            .set_redirect_uri(redirect(config, start.redirect_uri)?);
        let mut request = client
            .authorize_url(|| CsrfToken::new(start.state.to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for scope in &config.scopes {
            request = request.add_scope(Scope::new(scope.to_string()));
        }
        Ok(request.url().0)
    }

    /// Who brought this code.
    pub(super) async fn recognise(
        &self,
        config: &Login,
        brought: Brought<'_>,
        calls: &Calls,
    ) -> Result<Recognised, Failure> {
        let client = self.client(config).set_redirect_uri(redirect(config, brought.redirect_uri)?);
        let request = client
            .exchange_code(AuthorizationCode::new(brought.code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(brought.verifier.to_owned()));
        let http = |request| calls.send(request);
        let answer = request.request_async(&http).await.map_err(|error| refused(config, error, &NO_GOOD))?;
        let Recognised { mut tokens, claims, scopes } = self.believe(config, &answer, calls).await?;
        tokens.subject = tokens.subject.filter(|_| tokens.refresh.is_some());
        Ok(Recognised { claims, scopes, tokens })
    }

    /// Asks whether a session goes on. Only tokens that end, those of GitHub Apps, bring one to refresh with.
    pub(super) async fn refresh(&self, config: &Login, tokens: &Tokens, calls: &Calls) -> Refreshed {
        let Some(token) = &tokens.refresh else { return Refreshed::Ended };
        let (token, client) = (RefreshToken::new(token.to_string()), self.client(config));
        let http = |request| calls.send(request);
        let answer = match client.exchange_refresh_token(&token).request_async(&http).await {
            Ok(answer) => answer,
            Err(error) => {
                return match refused(config, error, &NO_GOOD) {
                    Failure::Unavailable => Refreshed::Unavailable,
                    Failure::State | Failure::Failed | Failure::Refused => Refreshed::Ended,
                };
            }
        };
        let renewed = tokens.renewed(given(&answer, calls.now_s));
        match self.believe(config, &answer, calls).await {
            Ok(recognised) if recognised.tokens.subject == tokens.subject => {
                Refreshed::Good(renewed, Some(Box::new(recognised)))
            }
            Ok(_) => {
                failed(config, "a refresh told of somebody else", Failure::Failed);
                Refreshed::Ended
            }
            Err(Failure::Unavailable) => Refreshed::Open(Tokens { until_s: tokens.until_s, ..renewed }),
            Err(_) => Refreshed::Ended,
        }
    }

    /// Whoever asks for tokens.
    fn client(&self, config: &Login) -> Client {
        let client = BasicClient::new(ClientId::new(config.client_id.to_string()))
            .set_token_uri(self.token.clone())
            .set_auth_type(AuthType::RequestBody);
        match &config.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.reveal().to_owned())),
            None => client,
        }
    }

    /// What the API says of whoever has these tokens.
    async fn believe(&self, config: &Login, answer: &BasicTokenResponse, calls: &Calls) -> Result<Recognised, Failure> {
        let token = answer.access_token().secret();
        let Value::Object(user) = self.ask(config, "/user", token, calls).await? else {
            return Err(failed(config, "/user is no object", Failure::Failed));
        };
        let mut claims: Map<String, Value> = Map::new();
        for name in ["login", "id", "node_id", "name", "company", "avatar_url", "html_url", "type"] {
            if let Some(value) = user.get(name) {
                claims.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(email) = self.email(config, token, calls).await? {
            claims.insert("email".to_owned(), email.into());
            claims.insert("email_verified".to_owned(), true.into());
        }
        if !config.allow.organisations.is_empty() || config.roles_claim.starts_with("organizations") {
            claims.insert("organizations".to_owned(), json!(self.organisations(config, token, calls).await?));
        }
        let claims = Claims(claims);
        // Names are given to others; a number is somebody's for ever.
        let subject = claims.text("id").map(|id| id.into_owned().into_boxed_str());
        let tokens = Tokens { subject, ..given(answer, calls.now_s) };
        Ok(Recognised { claims, scopes: granted(answer), tokens })
    }

    /// The address that is verified, the primary one before others. None where the token may not see any.
    async fn email(&self, config: &Login, token: &str, calls: &Calls) -> Result<Option<String>, Failure> {
        let needed = !config.allow.emails.is_empty() || !config.allow.domains.is_empty();
        let answer = match self.ask(config, "/user/emails", token, calls).await {
            Ok(answer) => answer,
            Err(Failure::Unavailable) => return Err(Failure::Unavailable),
            Err(failure) if needed || &*config.user_claim == "email" => return Err(failure),
            Err(_) => return Ok(None),
        };
        let is = |entry: &&Value, name: &str| entry.get(name).and_then(Value::as_bool) == Some(true);
        let verified = || answer.as_array().into_iter().flatten().filter(|entry| is(entry, "verified"));
        let chosen = verified().find(|entry| is(entry, "primary")).or_else(|| verified().next());
        Ok(chosen.and_then(|entry| entry.get("email")).and_then(Value::as_str).map(str::to_owned))
    }

    async fn organisations(&self, config: &Login, token: &str, calls: &Calls) -> Result<Vec<String>, Failure> {
        let mut found = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("/user/orgs?per_page={PAGE}&page={page}");
            let answer = self.ask(config, &path, token, calls).await?;
            let entries = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            found.extend(entries.iter().filter_map(|entry| entry.get("login")?.as_str().map(str::to_owned)));
            if entries.len() < PAGE {
                break;
            }
        }
        Ok(found)
    }

    async fn ask(&self, config: &Login, path: &str, token: &str, calls: &Calls) -> Result<Value, Failure> {
        let request = http::Request::get(format!("{}{path}", self.api))
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .body(Vec::new())
            .map_err(|_| failed(config, "the access token cannot be sent", Failure::Failed))?;
        let answer = calls.send(request).await;
        let answer = answer.map_err(|error| failed(config, &error.to_string(), Failure::Unavailable))?;
        if answer.status() != 200 {
            let what = path.split('?').next().unwrap_or_default();
            // GitHub also says 403 to those who asked too often.
            let is_limited = answer.headers().contains_key("retry-after")
                || answer.headers().get("x-ratelimit-remaining").is_some_and(|left| left == "0");
            return Err(match answer.status().as_u16() {
                401 | 403 | 404 if !is_limited => {
                    let why = format!("{what} answers {}: is a scope missing?", answer.status());
                    failed(config, &why, Failure::Failed)
                }
                status => failed(config, &format!("{what} answers {status}"), Failure::Unavailable),
            });
        }
        serde_json::from_slice(answer.body()).map_err(|_| failed(config, "an answer is no JSON", Failure::Failed))
    }
}

fn redirect(config: &Login, uri: &str) -> Result<RedirectUrl, Failure> {
    RedirectUrl::new(uri.to_owned()).map_err(|_| failed(config, "the redirect URI is no URL", Failure::Failed))
}

/// The scopes that were given, where that is said: GitHub sets them apart by commas.
fn granted(answer: &BasicTokenResponse) -> Option<Vec<String>> {
    let scopes = answer.scopes()?.iter().flat_map(|scope| scope.split(','));
    Some(scopes.map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect())
}
