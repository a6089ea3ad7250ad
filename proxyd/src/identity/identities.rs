//! All who recognise, made ready from one config: files are read before anything is committed, and what was fetched, verified
//! and counted before goes on.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use shared::config::Config;
use shared::config::identity::{Identity, Jwt, JwtKeys, Provider, TokenAlgorithm};

use super::accounts::Accounts;
use super::forward::Forward;
use super::introspect::Introspector;
use super::jwt::{self, Revocations};
use super::login::Logins;
use super::password;
use super::recogniser::Recogniser;
use super::send::Sends;
use super::signing_keys;
use super::state::State;
use crate::fleet::Engine;
use crate::tls;

/// See the module.
#[derive(Debug)]
pub struct Identities {
    config: Identity,
    /// What several proxies share.
    pub engine: Option<Arc<Engine>>,
    pub sends: Arc<Sends>,
    all: Vec<(Provider, Arc<str>, Arc<Recogniser>)>,
    pub logins: Option<Arc<Logins>>,
    pub accounts: Option<Arc<Accounts>>,
    pub jwt: Vec<Arc<jwt::Verifier>>,
    basic: Option<Arc<password::Verifier>>,
    introspector: Option<Arc<Introspector>>,
    /// What our own tokens are checked with.
    pub jwks: Bytes,
}

/// What of `identity` cannot be made ready.
#[derive(Clone, Debug)]
pub struct IdentityError {
    /// Of the config.
    pub keys: Vec<String>,
    /// The file, where it is one.
    pub path: Option<PathBuf>,
    pub what: String,
}

/// What identities are made ready amid.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub state: &'a Arc<State>,
    /// Those in force.
    pub before: Option<&'a Arc<Identities>>,
    /// Of the config that is to come.
    pub generation: u64,
}

impl Identities {
    /// Makes them ready. Reads files.
    ///
    /// # Errors
    ///
    /// Everything that cannot be.
    pub fn compile(config: &Config, around: Around<'_>) -> Result<Arc<Self>, Vec<IdentityError>> {
        let identity = &config.identity;
        let Around { state, before, .. } = around;
        let mut errors = Errors::default();
        let mint = if identity.signing_keys.is_empty() {
            Arc::clone(&state.mint)
        } else {
            let read = errors.take(&["identity", "signing_keys"], signing_keys::read(&identity.signing_keys));
            read.map_or_else(|| Arc::clone(&state.mint), Arc::new)
        };
        let revoked: Arc<dyn Revocations> = Arc::<State>::clone(state);
        let jwt = identity.jwt.iter().filter_map(|config| {
            let earlier = before.and_then(|before| predecessor(config, &before.jwt));
            let made = jwt::Verifier::compile(config, earlier, &revoked);
            errors.take(&["identity", "jwt", &config.name, "keys"], made)
        });
        let jwt: Vec<_> = jwt.collect();
        let basic = identity.basic.as_ref().and_then(|config| {
            let namesake = before.and_then(|before| before.basic.as_ref());
            let made = password::Verifier::compile(config, namesake, &state.queues.basic);
            errors.take(&["identity", "basic"], made)
        });
        let accounts = identity.accounts.as_ref().and_then(|config| {
            let namesake = before.and_then(|before| before.accounts.as_ref());
            errors.take(&["identity", "accounts"], Accounts::compile(config, state, &mint, namesake))
        });
        let engine = Engine::compile(config.redis.as_deref(), before.and_then(|before| before.engine.as_ref()));
        let logins = if identity.login.is_empty() {
            None
        } else {
            let namesake = before.and_then(|before| before.logins.as_deref());
            errors.take(&["identity", "login"], Logins::compile(config, state, engine.as_ref(), namesake))
        };
        let introspector = identity.introspection.as_ref().map(|config| {
            let same = before.and_then(|before| before.introspector.as_ref());
            let same = same.filter(|same| same.is_same(config, &identity.send));
            same.map_or_else(|| Arc::new(Introspector::new(config, &identity.send, &revoked)), Arc::clone)
        });
        if asks_others(identity)
            && let Err(error) = tls::outgoing()
        {
            let what = format!("outgoing TLS cannot be made ready: {error}");
            errors.0.push(IdentityError { keys: vec!["identity".to_owned()], path: None, what });
        }
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        // Of tokens of both kinds: internal ones are always signed with this key, those of accounts where the config says so.
        let publishes = identity.send.token.is_some()
            || identity.accounts.as_ref().is_some_and(|accounts| accounts.algorithm == TokenAlgorithm::EdDsa);
        let mut made = Self {
            config: identity.clone(),
            engine,
            sends: Arc::new(Sends::compile(identity, &mint, around.generation)),
            all: Vec::new(),
            logins,
            accounts,
            jwt,
            basic,
            introspector,
            jwks: if publishes {
                Bytes::copy_from_slice(mint.jwks().as_bytes())
            } else {
                Bytes::from_static(b"{\"keys\":[]}")
            },
        };
        made.all = made.recognisers(state, before);
        Ok(Arc::new(made))
    }

    fn recognisers(
        &self,
        state: &Arc<State>,
        before: Option<&Arc<Self>>,
    ) -> Vec<(Provider, Arc<str>, Arc<Recogniser>)> {
        let mut all = vec![(Provider::Certificate, Recogniser::Certificate)];
        all.extend(
            self.jwt.iter().enumerate().map(|(index, jwt)| (Provider::Jwt(index), Recogniser::Jwt(Arc::clone(jwt)))),
        );
        if let Some(keys) = &self.config.api_key {
            let (from, state) = (keys.from.clone(), Arc::clone(state));
            all.push((Provider::ApiKey, Recogniser::ApiKey { from, state }));
        }
        if let Some(basic) = &self.basic {
            all.push((Provider::Basic, Recogniser::Basic(Arc::clone(basic))));
        }
        if let Some(logins) = &self.logins {
            let login = |index| (Provider::Login(index), Recogniser::Login { logins: Arc::clone(logins), index });
            all.extend((0..self.config.login.len()).map(login));
        }
        if let Some(introspector) = &self.introspector {
            all.push((Provider::Introspection, Recogniser::Introspection(Arc::clone(introspector))));
        }
        if let Some(forward) = &self.config.forward {
            let earlier =
                before.and_then(|before| before.find(&Provider::Forward)).map(|(_, _, recogniser)| recogniser);
            let earlier = earlier.as_deref().and_then(|recogniser| {
                if let Recogniser::Forward(earlier) = recogniser { Some(&**earlier) } else { None }
            });
            all.push((Provider::Forward, Recogniser::Forward(Arc::new(Forward::new(forward, earlier)))));
        }
        if let Some(accounts) = &self.accounts {
            all.push((Provider::Accounts, Recogniser::Accounts(Arc::clone(accounts))));
        }
        let named = |(provider, recogniser): (Provider, Recogniser)| {
            let name = self.config.name_of(&provider).into();
            (provider, name, Arc::new(recogniser))
        };
        all.into_iter().map(named).collect()
    }

    /// What has other keys than before behind the same names of files, as the config calls it.
    pub fn with_other_keys(&self, before: &Self) -> Vec<String> {
        let (ours, theirs) = (&self.config, &before.config);
        let is_other = |jwt: &&Arc<jwt::Verifier>| {
            let namesake = before.jwt.iter().find(|other| other.config().name == jwt.config().name);
            namesake.is_some_and(|other| other.config() == jwt.config() && !Arc::ptr_eq(other, jwt))
        };
        let jwt = self.jwt.iter().filter(is_other).map(|jwt| format!("identity.{}", jwt.provider()));
        let signs_otherwise = ours.signing_keys == theirs.signing_keys && !ours.signing_keys.is_empty();
        let signing = (signs_otherwise && self.jwks != before.jwks).then(|| "identity.signing_keys".to_owned());
        jwt.chain(signing).collect()
    }

    /// The names that were there before and are not any more: what was revoked for one of them refuses nothing now.
    pub fn gone_since(&self, before: &Self) -> Vec<Arc<str>> {
        let mut names = before.names();
        names.retain(|name| self.all.iter().all(|(_, known, _)| known != name));
        names
    }

    /// The names of all.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.all.iter().map(|(_, name, _)| Arc::clone(name)).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Who recognises by this name, and its place among all.
    pub fn find(&self, provider: &Provider) -> Option<(usize, Arc<str>, Arc<Recogniser>)> {
        let index = self.all.iter().position(|(known, _, _)| known == provider)?;
        let (_, name, recogniser) = self.all.get(index)?;
        Some((index, Arc::clone(name), Arc::clone(recogniser)))
    }
}

/// Whose keys and verdicts a provider takes over: its namesake's; where keys are fetched, those of whoever fetched them from there,
/// whatever it was called.
fn predecessor<'a>(config: &Jwt, before: &'a [Arc<jwt::Verifier>]) -> Option<&'a Arc<jwt::Verifier>> {
    let address = |config: &Jwt| match &config.keys {
        JwtKeys::JwksUrl { url, .. } => Some(Arc::clone(url)),
        JwtKeys::Secret(_) | JwtKeys::Pem(_) | JwtKeys::JwksFile(_) => None,
    };
    let fetches_there =
        |other: &&Arc<jwt::Verifier>| address(config).is_some() && address(other.config()) == address(config);
    let namesake = before.iter().find(|other| other.config().name == config.name);
    namesake.filter(fetches_there).or_else(|| before.iter().find(fetches_there)).or(namesake)
}

/// Whether somebody else is asked who it is. What this machine trusts is then read here: a worker that asks first must not wait
/// for the disk.
fn asks_others(identity: &Identity) -> bool {
    let by_address = |jwt: &Arc<Jwt>| matches!(jwt.keys, JwtKeys::JwksUrl { .. });
    !identity.login.is_empty()
        || identity.introspection.is_some()
        || identity.forward.is_some()
        || identity.jwt.iter().any(by_address)
}

/// Everything that went wrong.
#[derive(Default)]
struct Errors(Vec<IdentityError>);

impl Errors {
    fn take<T>(&mut self, keys: &[&str], made: Result<T, String>) -> Option<T> {
        made.map_err(|what| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            self.0.push(IdentityError { keys, path: None, what });
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use shared::config::{Input, References, load};

    use super::*;
    use crate::outside::Outside;

    fn config(jwt: &str) -> Arc<Config> {
        let text = format!("identity: {{jwt: {{{jwt}}}}}\nroutes: [{{path: /, respond: {{status: 200}}}}]\n");
        load(&Input::text("t.yaml", &text), &References::Refuse).unwrap().config
    }

    #[tokio::test]
    async fn keys_of_an_address_are_kept_whatever_their_provider_is_called() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        });
        let state = State::in_memory();
        let with = |name: &str, address: &str, before: Option<&Arc<Identities>>| {
            let keys = format!("{name}: {{keys: {{jwks_url: 'http://{address}/jwks'}}}}");
            Identities::compile(&config(&keys), Around { state: &state, before, generation: 1 }).unwrap()
        };
        let here = address.to_string();
        let first = with("a", &here, None);
        let tending = tokio::spawn(jwt::tend(Arc::clone(first.jwt[0].source().unwrap()), Arc::new(Outside::default())));
        while first.jwt[0].counts().keys == 0 {
            tokio::task::yield_now().await;
        }
        tending.abort();
        let check = |name: &str, address: &str, before: &Arc<Identities>, expected: u64| {
            let made = with(name, address, Some(before));
            assert_eq!(made.jwt[0].counts().keys, expected, "{name} {address}");
            made
        };
        check("a", &here, &first, 1);
        let renamed = check("b", &here, &first, 1);
        check("a", &here, &renamed, 1);
        check("b", "127.0.0.1:1", &first, 0);
        // A name that another took, with keys of its own.
        let two = format!(
            "a: {{keys: {{jwks_url: 'http://127.0.0.1:1/'}}}}, b: {{keys: {{jwks_url: 'http://{here}/jwks'}}}}"
        );
        let around = Around { state: &state, before: Some(&first), generation: 1 };
        let both = Identities::compile(&config(&two), around).unwrap();
        assert_eq!(both.jwt.iter().map(|jwt| jwt.counts().keys).collect::<Vec<_>>(), [0, 1]);
    }
}
