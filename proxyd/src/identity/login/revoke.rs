//! Tokens of sessions that have ended are given back to the provider (RFC 7009). The crate `oauth2` asks over `https` alone, and so
//! never at a provider of this machine; this does as it does. Decides nothing: a session has ended whatever comes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openidconnect::url::form_urlencoded::{Serializer, byte_serialize};
use shared::config::Secret;
use shared::config::identity::Login;

use super::provider::Calls;

/// Asks the provider to forget a token that refreshes, and with it those that came of it.
pub(super) async fn ask(url: &str, config: &Login, is_in_body: bool, token: &str, calls: &Calls) -> Result<(), String> {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("token_type_hint", "refresh_token");
    let mut request = http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    match config.client_secret.as_ref().map(Secret::reveal) {
        Some(secret) if !is_in_body => {
            // RFC 6749 section 2.3.1.
            let [id, secret] =
                [&*config.client_id, secret].map(|text| byte_serialize(text.as_bytes()).collect::<String>());
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
        }
        secret => {
            form.append_pair("client_id", &config.client_id);
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret);
            }
        }
    }
    let request = request.body(form.finish().into_bytes()).map_err(|_| "its address is none".to_owned())?;
    match calls.send(request).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("the answer is {}", answer.status())),
        Err(error) => Err(error.to_string()),
    }
}
