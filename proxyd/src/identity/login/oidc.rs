//! `OpenID` Connect: discovery, the authorization code flow and its refresh, checked by the crate `openidconnect`.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreGrantType, CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType, CoreTokenResponse,
};
use openidconnect::url::Url;
use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    ProviderMetadata, RedirectUrl, RefreshToken, Scope, SignatureVerificationError, TokenResponse,
};
use serde::{Deserialize, Serialize};
use shared::config::identity::Login;
use tokio::sync::Semaphore;

use super::provider::{Brought, Calls, Failure, Recognised, Refreshed, Start, failed, given, refused, told};
use super::{revoke, userinfo};
use crate::identity::claims::Claims;
use crate::identity::session::{Session, Tokens};

/// How long what was discovered is good; then it is read anew, and the last good one serves where that fails.
const KEPT_S: i64 = 3600;

/// A provider is asked again so long after it failed, …
const PAUSE: Duration = Duration::from_secs(2);

/// … and for a key that is not known yet so long after it was asked last.
const KEYS_FLOOR_S: i64 = 30;

/// What a token endpoint says of a code or token that is no good (RFC 6749 section 5.2).
const NO_GOOD: [&str; 1] = ["invalid_grant"];

/// Signatures that are taken: those of key pairs. One that the client's secret makes proves too little.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What discovery tells beyond the core.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Extra {
    /// `OpenID` Connect RP-Initiated Logout 1.0.
    end_session_endpoint: Option<Url>,
    /// RFC 7009. A text, so that one that is none does not keep people from logging in.
    revocation_endpoint: Option<String>,
    /// RFC 9207.
    authorization_response_iss_parameter_supported: Option<bool>,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Why it is not known of whom an answer with tokens speaks.
enum Doubt {
    /// Its key is not known, or userinfo says nothing: another time it may.
    Open(Failure),
    /// What it says does not hold.
    Wrong(Failure),
}

impl Doubt {
    fn of(failure: Failure) -> Self {
        if failure == Failure::Unavailable { Self::Open(failure) } else { Self::Wrong(failure) }
    }
}

/// What was discovered.
struct Found {
    metadata: Metadata,
    at_s: i64,
}

/// One provider.
pub(super) struct Oidc {
    issuer: IssuerUrl,
    /// Claims that go upstream.
    sent: Arc<[Arc<str>]>,
    found: arc_swap::ArcSwapOption<Found>,
    /// One question at a time, from all workers.
    asking: Semaphore,
    failed: Mutex<Option<Instant>>,
}

impl Oidc {
    /// # Errors
    /// An issuer that is no address.
    pub(super) fn compile(issuer: &str, sent: &Arc<[Arc<str>]>) -> Result<Self, String> {
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(|error| format!("the issuer is no URL: {error}"))?;
        Ok(Self {
            issuer,
            sent: Arc::clone(sent),
            found: arc_swap::ArcSwapOption::empty(),
            asking: Semaphore::new(1),
            failed: Mutex::default(),
        })
    }

    /// Where somebody is sent to log in.
    pub(super) async fn begin(&self, config: &Login, start: Start<'_>, calls: &Calls) -> Result<Url, Failure> {
        let found = self.discover(config, calls, None).await?;
        let client = CoreClient::from_provider_metadata(
            found.metadata.clone(),
            ClientId::new(config.client_id.to_string()),
            None,
        );
        let verifier = PkceCodeVerifier::new(start.verifier.to_owned());
        let redirect = redirect(config, start.redirect_uri)?;
        let (state, nonce) = (CsrfToken::new(start.state.to_owned()), Nonce::new(start.nonce.to_owned()));
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || nonce)
            .set_redirect_uri(Cow::Owned(redirect))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        for scope in config.scopes.iter().filter(|scope| &***scope != "openid") {
            request = request.add_scope(Scope::new(scope.to_string()));
        }
        if config.scopes.iter().any(|scope| &**scope == "offline_access") {
            // OpenID Connect Core section 11: without it there is no refresh token.
            request = request.add_extra_param("prompt", "consent");
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
        let found = self.discover(config, calls, None).await?;
        let tells = found.metadata.additional_metadata().authorization_response_iss_parameter_supported;
        match brought.issuer {
            Some(issuer) if issuer != self.issuer.as_str() => {
                return Err(failed(config, "the answer is another issuer's", Failure::Failed));
            }
            None if tells == Some(true) => {
                return Err(failed(config, "the answer does not say whose it is", Failure::Failed));
            }
            Some(_) | None => {}
        }
        let client = client(config, &found.metadata);
        let redirect = redirect(config, brought.redirect_uri)?;
        let request = client
            .exchange_code(AuthorizationCode::new(brought.code.to_owned()))
            .map_err(|_| failed(config, "the provider has no token endpoint", Failure::Unavailable))?
            .set_redirect_uri(Cow::Owned(redirect))
            .set_pkce_verifier(PkceCodeVerifier::new(brought.verifier.to_owned()));
        let http = |request| calls.send(request);
        let answer = request.request_async(&http).await.map_err(|error| refused(config, error, &NO_GOOD))?;
        let nonce = Nonce::new(brought.nonce.to_owned());
        self.believe(config, &answer, Some(&nonce), calls).await.map_err(|doubt| match doubt {
            Doubt::Open(failure) | Doubt::Wrong(failure) => failure,
        })
    }

    /// Asks whether a session goes on.
    pub(super) async fn refresh(&self, config: &Login, session: &Session, calls: &Calls) -> Refreshed {
        let tokens = &session.tokens;
        let Some(token) = &tokens.refresh else { return Refreshed::Ended };
        let Ok(found) = self.discover(config, calls, None).await else { return Refreshed::Unavailable };
        let token = RefreshToken::new(token.to_string());
        let client = client(config, &found.metadata);
        let Ok(request) = client.exchange_refresh_token(&token) else { return Refreshed::Unavailable };
        let http = |request| calls.send(request);
        let answer = match request.request_async(&http).await {
            Ok(answer) => answer,
            Err(error) => {
                return match refused(config, error, &NO_GOOD) {
                    Failure::Unavailable => Refreshed::Unavailable,
                    Failure::State | Failure::Failed | Failure::Refused => Refreshed::Ended,
                };
            }
        };
        let renewed = tokens.renewed(given(&answer, calls.now_s));
        let believed = if answer.id_token().is_some() {
            self.believe(config, &answer, None, calls).await
        } else if let Some(url) = found.metadata.userinfo_endpoint() {
            self.ask_again(config, url.as_str(), &answer, session, calls).await
        } else {
            // Nobody there to say more: what the login said holds.
            return Refreshed::Good(renewed, None);
        };
        match believed {
            // OpenID Connect Core section 12.2: it must be the same person.
            Ok(recognised) if recognised.tokens.subject == tokens.subject => {
                let id_token = recognised.tokens.id_token.clone().or(renewed.id_token);
                Refreshed::Good(Tokens { id_token, ..renewed }, Some(Box::new(recognised)))
            }
            Ok(_) => {
                failed(config, "a refresh told of somebody else", Failure::Failed);
                Refreshed::Ended
            }
            // The tokens of before may be spent, so those of now are kept; by the time of before, so that it is asked again soon.
            Err(Doubt::Open(_)) => Refreshed::Open(Tokens { until_s: tokens.until_s, ..renewed }),
            Err(Doubt::Wrong(_)) => Refreshed::Ended,
        }
    }

    /// What userinfo says where a refresh brought no `id_token` (`OpenID` Connect Core section 12.2 leaves that to the provider).
    async fn ask_again(
        &self,
        config: &Login,
        url: &str,
        answer: &CoreTokenResponse,
        session: &Session,
        calls: &Calls,
    ) -> Result<Recognised, Doubt> {
        let asked = userinfo::ask(url, answer.access_token(), calls).await;
        let claims = asked.map_err(|(why, failure)| Doubt::of(failed(config, &why, failure)))?;
        if let Some(path) = userinfo::lost(config, &self.sent, session, &claims) {
            let why = format!(
                "userinfo does not say `{path}`, and a refresh brings no id_token: who logs in again brings one"
            );
            return Err(Doubt::Wrong(failed(config, &why, Failure::Failed)));
        }
        let subject = claims.text("sub").map(|sub| sub.into_owned().into_boxed_str());
        Ok(Recognised { claims, scopes: scopes(answer), tokens: Tokens { subject, ..Tokens::default() } })
    }

    /// Where the provider ends its own session, if it can.
    pub(super) async fn end(&self, config: &Login, tokens: &Tokens, back: &str, calls: &Calls) -> Option<Url> {
        let found = self.discover(config, calls, None).await.ok()?;
        let mut url = found.metadata.additional_metadata().end_session_endpoint.clone()?;
        let mut query = url.query_pairs_mut();
        if let Some(id_token) = &tokens.id_token {
            query.append_pair("id_token_hint", id_token);
        }
        query.append_pair("client_id", &config.client_id).append_pair("post_logout_redirect_uri", back);
        drop(query);
        Some(url)
    }

    /// Gives a token back that nobody needs any more, if the provider takes it.
    pub(super) async fn give_up(&self, config: &Login, token: &str, calls: &Calls) -> Result<(), String> {
        let found = self.discover(config, calls, None).await.map_err(|_| "the provider does not answer".to_owned())?;
        let Some(url) = &found.metadata.additional_metadata().revocation_endpoint else { return Ok(()) };
        revoke::ask(url, config, is_in_body(&found.metadata), token, calls).await
    }

    /// What the provider's answer says, once its token was verified.
    async fn believe(
        &self,
        config: &Login,
        answer: &CoreTokenResponse,
        nonce: Option<&Nonce>,
        calls: &Calls,
    ) -> Result<Recognised, Doubt> {
        let wrong = |why: &str| Doubt::Wrong(failed(config, why, Failure::Failed));
        let Some(id_token) = answer.id_token() else { return Err(wrong("the provider gave no id_token")) };
        let mut found = self.discover(config, calls, None).await.map_err(Doubt::Open)?;
        let mut verified = verify(config, &found.metadata, answer, id_token, nonce);
        if verified.as_ref().is_err_and(|(_, is_key_unknown)| *is_key_unknown) {
            found = self.discover(config, calls, Some(&found)).await.map_err(Doubt::Open)?;
            verified = verify(config, &found.metadata, answer, id_token, nonce);
        }
        let mut claims = verified.map_err(|(why, is_key_unknown)| {
            let failure = failed(config, &why, Failure::Failed);
            if is_key_unknown { Doubt::Open(failure) } else { Doubt::Wrong(failure) }
        })?;
        let subject = claims.text("sub").map(|sub| sub.into_owned().into_boxed_str());
        let needs = userinfo::needs(config, &claims);
        if (needs || userinfo::wishes(config, &self.sent, &claims))
            && let Some(url) = found.metadata.userinfo_endpoint()
        {
            match userinfo::ask(url.as_str(), answer.access_token(), calls).await {
                Ok(more) if subject.is_none() || more.text("sub").as_deref() != subject.as_deref() => {
                    return Err(wrong("userinfo speaks of somebody else"));
                }
                Ok(more) => userinfo::complete(&mut claims, more),
                Err((why, failure)) if needs => return Err(Doubt::of(failed(config, &why, failure))),
                Err((why, _)) => {
                    tracing::warn!(login = &*config.name, %why, "a login goes on without what userinfo tells");
                }
            }
        }
        let tokens = Tokens { id_token: Some(id_token.to_string().into()), subject, ..given(answer, calls.now_s) };
        Ok(Recognised { claims, scopes: scopes(answer), tokens })
    }

    /// The provider's own description, with its keys. Read when it is first needed, and anew where `stale` is not enough.
    async fn discover(&self, config: &Login, calls: &Calls, stale: Option<&Arc<Found>>) -> Result<Arc<Found>, Failure> {
        let good = |found: &Arc<Found>| {
            let age = calls.now_s.saturating_sub(found.at_s);
            match stale {
                Some(stale) => !Arc::ptr_eq(stale, found) || age < KEYS_FLOOR_S,
                None => age < KEPT_S,
            }
        };
        let held = || self.found.load_full();
        if let Some(found) = held().filter(|found| good(found)) {
            return Ok(found);
        }
        let Some(Ok(_turn)) = calls.in_time(self.asking.acquire()).await else { return Err(Failure::Unavailable) };
        // Somebody else may have asked while we waited.
        if let Some(found) = held().filter(|found| good(found)) {
            return Ok(found);
        }
        // By the clock of now: whoever waited for a provider that hangs must not wait once more.
        let failed_at = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at.is_none_or(|at| at.elapsed() >= PAUSE) {
            let http = |request| calls.send(request);
            let asked = Metadata::discover_async(self.issuer.clone(), &http).await;
            match asked.map_err(|error| told(&error)).and_then(|metadata| checked(metadata, calls)) {
                Ok(metadata) => {
                    let found = Arc::new(Found { metadata, at_s: calls.now_s });
                    self.found.store(Some(Arc::clone(&found)));
                    return Ok(found);
                }
                Err(why) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    failed(config, &format!("discovery: {why}"), Failure::Unavailable);
                }
            }
        }
        held().ok_or(Failure::Unavailable)
    }
}

/// The addresses that browsers are sent to; those that we ask are checked where we ask.
fn checked(metadata: Metadata, calls: &Calls) -> Result<Metadata, String> {
    let end = metadata.additional_metadata().end_session_endpoint.as_ref();
    let unsafe_one =
        [Some(metadata.authorization_endpoint().url()), end].into_iter().flatten().find(|url| !calls.takes(url));
    if let Some(url) = unsafe_one {
        return Err(format!("{url} is not https, or of this machine where the issuer is not"));
    }
    Ok(metadata)
}

type Client = CoreClient<
    openidconnect::EndpointSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointNotSet,
    openidconnect::EndpointMaybeSet,
    openidconnect::EndpointMaybeSet,
>;

/// Whoever asks for tokens.
fn client(config: &Login, metadata: &Metadata) -> Client {
    let secret = config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.reveal().to_owned()));
    let id = ClientId::new(config.client_id.to_string());
    let client = CoreClient::from_provider_metadata(metadata.clone(), id, secret);
    client.set_auth_type(if is_in_body(metadata) { AuthType::RequestBody } else { AuthType::BasicAuth })
}

/// Whether the provider takes the client's secret in a form alone.
fn is_in_body(metadata: &Metadata) -> bool {
    // OpenID Connect Discovery section 3: where nothing is said, it is Basic.
    let takes = |method| match metadata.token_endpoint_auth_methods_supported() {
        Some(methods) => methods.contains(&method),
        None => method == CoreClientAuthMethod::ClientSecretBasic,
    };
    !takes(CoreClientAuthMethod::ClientSecretBasic) && takes(CoreClientAuthMethod::ClientSecretPost)
}

fn redirect(config: &Login, uri: &str) -> Result<RedirectUrl, Failure> {
    RedirectUrl::new(uri.to_owned()).map_err(|_| failed(config, "the redirect URI is no URL", Failure::Failed))
}

/// The claims of a token that holds; or why it does not, and whether a key that we do not know yet may be why.
fn verify(
    config: &Login,
    metadata: &Metadata,
    answer: &CoreTokenResponse,
    id_token: &CoreIdToken,
    nonce: Option<&Nonce>,
) -> Result<Claims, (String, bool)> {
    let id = ClientId::new(config.client_id.to_string());
    let issuer = metadata.issuer().clone();
    let verifier: CoreIdTokenVerifier<'_> =
        CoreIdTokenVerifier::new_public_client(id, issuer, metadata.jwks().clone()).set_allowed_algs(ALGORITHMS);
    let verified = match nonce {
        Some(nonce) => id_token.claims(&verifier, nonce),
        // OpenID Connect Core section 12.2: a refreshed one need not repeat it.
        None => id_token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
    };
    let claims = verified.map_err(|error| {
        let is_key_unknown = matches!(
            error,
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_)
            )
        );
        (format!("the id_token does not hold: {}", told(&error)), is_key_unknown)
    })?;
    // The crate leaves this to us (OpenID Connect Core section 3.1.3.7, step 5).
    if claims.authorized_party().is_some_and(|party| **party != *config.client_id) {
        return Err(("the id_token was made for another client".to_owned(), false));
    }
    if let Some(expected) = claims.access_token_hash() {
        let hash = id_token.signing_alg().and_then(|algorithm| Ok((algorithm, id_token.signing_key(&verifier)?)));
        let hash = hash
            .ok()
            .and_then(|(algorithm, key)| AccessTokenHash::from_token(answer.access_token(), algorithm, key).ok());
        if hash.as_ref() != Some(expected) {
            return Err(("the id_token belongs to another access token".to_owned(), false));
        }
    }
    // All claims, not only those that the crate has names for. What is read here is what was verified.
    payload(&id_token.to_string()).ok_or_else(|| ("the id_token's claims cannot be read".to_owned(), false))
}

/// The claims of a token that was verified.
fn payload(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Claims::parse(&payload).ok()
}

/// The scopes that were given, where that is said.
fn scopes(answer: &CoreTokenResponse) -> Option<Vec<String>> {
    Some(answer.scopes()?.iter().map(|scope| scope.to_string()).collect())
}
