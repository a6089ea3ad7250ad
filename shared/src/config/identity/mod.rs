//! The section `identity`: who can be recognised. Routes name these in `auth`.

mod accounts;
mod address;
mod api_key;
mod basic;
mod claim;
mod forward;
mod introspection;
mod jwt;
mod login;
mod outgoing;
mod providers;
mod reach;
pub(super) mod review;
pub(super) mod secret;
mod send;
mod session;
mod token_place;

use std::path::PathBuf;
use std::sync::Arc;

pub use accounts::{Accounts, Lockout, Mail, MailTls, TokenAlgorithm};
pub use api_key::ApiKeys;
pub use basic::{Basic, BasicUser};
pub use forward::ForwardAuth;
pub use introspection::Introspection;
pub use jwt::{Jwt, JwtAlgorithm, JwtKeys, TokenPlace};
pub use login::{Allow, Login, LoginKind};
pub use send::{InternalToken, Send};
pub use session::{SameSite, Session, SessionStore};

pub(super) use providers::{PROVIDER, Providers};
pub(super) use send::JWKS_PATH;

use crate::audit::Mask;

use super::field::{Field, Kind, ON, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::tree::{Node, Place, Value};
use super::{Name, Redact, name, redis};

/// More than any rotation needs.
const MOST_SIGNING_KEYS: usize = 16;

/// `identity`. What is not written can recognise nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `jwt.NAME`, in file order.
    pub jwt: Vec<Arc<Jwt>>,
    pub api_key: Option<Arc<ApiKeys>>,
    pub basic: Option<Arc<Basic>>,
    /// `login.NAME`, in file order.
    pub login: Vec<Arc<Login>>,
    /// How login sessions are kept; the defaults where none is written.
    pub session: Session,
    pub introspection: Option<Arc<Introspection>>,
    pub forward: Option<Arc<ForwardAuth>>,
    pub accounts: Option<Arc<Accounts>>,
    pub send: Send,
    /// What tokens of our own are signed with: the first signs, and those of the others are good too. Empty: the key of the state folder.
    pub signing_keys: Vec<PathBuf>,
    /// Where revoked tokens are known: here, or to all proxies of one Redis.
    pub revocations: StateStore,
}

/// Who recognises: what `auth` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `jwt.NAME`: index into [`Identity::jwt`].
    Jwt(usize),
    ApiKey,
    Basic,
    /// `login.NAME`: index into [`Identity::login`].
    Login(usize),
    Introspection,
    Forward,
    Accounts,
    /// `certificate`: the client's, verified by the listener.
    Certificate,
}

/// Where live state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateStore {
    /// In this process, and on its disk where it outlives it.
    #[default]
    Local,
    /// In the engine that the section `redis` names.
    Redis,
}

impl Identity {
    /// Adds the names of headers and query parameters that hold credentials: whatever stands there is hidden.
    pub(super) fn hide(&self, redact: &mut Redact) {
        let jwt = self.jwt.iter().flat_map(|jwt| &jwt.from);
        let keys = self.api_key.iter().flat_map(|keys| &keys.from);
        let opaque = self.introspection.iter().flat_map(|introspection| &introspection.from);
        let mut hide_header = |name: &Arc<str>| {
            if !Mask::new(&redact.headers, &[]).hides_header(name) {
                redact.headers.push(name.to_string());
            }
        };
        for place in jwt.chain(keys).chain(opaque) {
            match place {
                TokenPlace::Header { name, .. } => hide_header(name),
                TokenPlace::Query(name) if !Mask::new(&[], &redact.query).hides_query(name) => {
                    redact.query.push(name.to_lowercase());
                }
                // No cookie is ever shown.
                TokenPlace::Query(_) | TokenPlace::Cookie(_) => {}
            }
        }
        self.send.token.iter().for_each(|token| hide_header(&token.header));
    }

    /// Where a provider's credentials may stand, of those places that the config names.
    #[must_use]
    pub fn places(&self, provider: &Provider) -> &[TokenPlace] {
        let places = match provider {
            Provider::Jwt(index) => self.jwt.get(*index).map(|jwt| &jwt.from),
            Provider::ApiKey => self.api_key.as_ref().map(|keys| &keys.from),
            Provider::Introspection => self.introspection.as_ref().map(|introspection| &introspection.from),
            Provider::Basic | Provider::Login(_) | Provider::Forward | Provider::Accounts | Provider::Certificate => {
                None
            }
        };
        places.map_or(&[], |places| places)
    }

    /// A provider's name as it is written in `auth`: `jwt.main`, `api_key`.
    #[must_use]
    pub fn name_of(&self, provider: &Provider) -> String {
        let of = |kind: &str, name: Option<&Name>| format!("{kind}.{}", name.map_or("", |name| name));
        match provider {
            Provider::Jwt(index) => of("jwt", self.jwt.get(*index).map(|jwt| &jwt.name)),
            Provider::Login(index) => of("login", self.login.get(*index).map(|login| &login.name)),
            Provider::ApiKey => "api_key".to_owned(),
            Provider::Basic => "basic".to_owned(),
            Provider::Introspection => "introspection".to_owned(),
            Provider::Forward => "forward".to_owned(),
            Provider::Accounts => "accounts".to_owned(),
            Provider::Certificate => "certificate".to_owned(),
        }
    }
}

/// The declaration of the section.
pub(super) static IDENTITY: Section = Section {
    name: "identity",
    doc: "Who can be recognised. Routes say whom they take in `auth`; nothing here lets anybody in or keeps anybody out by itself.",
    fields: &[&[
        Field::new("jwt", Kind::Map(&Kind::Section(&jwt::JWT)), "JSON Web Tokens, by issuer: `jwt.NAME`."),
        Field::new(
            "api_key",
            Kind::Or("off", &Kind::Short(&ON, &api_key::API_KEY)),
            "Keys that `proxyctl keys create` gives out: `api_key`.",
        ),
        Field::new("basic", Kind::Or("off", &Kind::Section(&basic::BASIC)), "Names and passwords: `basic`."),
        Field::new(
            "login",
            Kind::Map(&Kind::Section(&login::LOGIN)),
            "People who log in with a browser: `login.NAME`.",
        ),
        Field::new("session", Kind::Section(&session::SESSION), "How those who logged in stay so."),
        Field::new(
            "introspection",
            Kind::Or("off", &Kind::Section(&introspection::INTROSPECTION)),
            "Tokens that their issuer is asked about: `introspection`.",
        ),
        Field::new(
            "forward",
            Kind::Or("off", &Kind::Section(&forward::FORWARD)),
            "Another service is asked about each request: `forward`.",
        ),
        Field::new(
            "accounts",
            Kind::Or("off", &Kind::Short(&ON, &accounts::ACCOUNTS)),
            "Accounts of our own: `accounts`.",
        ),
        Field::new("send", Kind::Section(&send::SEND), "What upstreams are told of who it is."),
        Field::new(
            "signing_keys",
            Kind::OneOrMany(&Kind::Text { what: "the path of a key file", sample: "signing.pem" }),
            "Files with Ed25519 keys (PKCS#8, as `openssl genpkey -algorithm ed25519` writes them) that tokens of our own are signed with: the first signs, all are published, and tokens of all are good. Proxies that share them take each other's tokens. The default is a key of each proxy's own, in `server.state_dir`.",
        ),
        Field::new(
            "revocations",
            Kind::Choice(&["local", "redis"]),
            "Where revoked tokens are known: to this proxy, or to all proxies of one `redis`.",
        )
        .default("local"),
    ]],
};

/// Reads the section: what of it is sound, and every name, those of broken ones too.
pub(super) fn read(fields: &mut Fields<'_, '_>, has_redis: bool) -> (Identity, Providers) {
    let mut names = Providers::default();
    let jwt = read_named(fields, "jwt", &mut names, jwt::read, Provider::Jwt);
    let api_key = read_one(fields, "api_key", &mut names, Provider::ApiKey, api_key::read);
    let basic = read_one(fields, "basic", &mut names, Provider::Basic, basic::read);
    let login = read_named(fields, "login", &mut names, login::read, Provider::Login);
    let session = fields.section("session", |fields| session::read(fields, has_redis));
    let introspection = read_one(fields, "introspection", &mut names, Provider::Introspection, introspection::read);
    let mut named = outgoing::Named::default();
    let forward =
        read_one(fields, "forward", &mut names, Provider::Forward, |fields| forward::read(fields, &mut named));
    let accounts = read_one(fields, "accounts", &mut names, Provider::Accounts, accounts::read);
    let send = fields.section("send", |fields| send::read(fields, &mut named));
    let signing_keys = read_signing_keys(fields);
    let revocations = fields.choice("revocations", &[("local", StateStore::Local), ("redis", StateStore::Redis)]);
    if revocations == Some(StateStore::Redis) {
        redis::check_there(fields, "revocations", has_redis);
    }
    named.check_places(
        fields.reader(),
        credential_headers(&jwt, api_key.as_ref(), introspection.as_ref(), forward.as_ref()),
    );
    let identity = Identity {
        jwt,
        api_key,
        basic,
        login,
        session: session.unwrap_or_default(),
        introspection,
        forward,
        accounts,
        send: send.unwrap_or_default(),
        signing_keys,
        revocations: revocations.unwrap_or_default(),
    };
    warn_of_unused_keys(fields, &identity);
    (identity, names)
}

fn read_signing_keys(fields: &mut Fields<'_, '_>) -> Vec<PathBuf> {
    let files = fields.list_of("signing_keys", |reader, node, kind| reader.file_path(node, kind)).unwrap_or_default();
    if files.len() > MOST_SIGNING_KEYS {
        let fault = Fault::invalid(format!("these are more than {MOST_SIGNING_KEYS} keys"));
        fields.fault("signing_keys", fault.hint("take out those whose tokens have all ended"));
    }
    files
}

fn warn_of_unused_keys(fields: &mut Fields<'_, '_>, identity: &Identity) {
    let is_signed = |accounts: &Arc<Accounts>| accounts.algorithm == TokenAlgorithm::EdDsa;
    let signs = identity.send.token.is_some() || identity.accounts.as_ref().is_some_and(is_signed);
    if !identity.signing_keys.is_empty() && !signs {
        let fault = Fault::new(Code::Unused, "nothing is signed with these keys")
            .hint("write `send: {token: on}` or `accounts: {algorithm: EdDSA}`, or remove them");
        fields.warn("signing_keys", fault);
    }
}

/// The headers in which clients' credentials are looked for, and where that is written.
fn credential_headers<'i>(
    jwt: &'i [Arc<Jwt>],
    api_key: Option<&'i Arc<ApiKeys>>,
    introspection: Option<&'i Arc<Introspection>>,
    forward: Option<&'i Arc<ForwardAuth>>,
) -> impl Iterator<Item = (&'i Arc<str>, String)> {
    let tokens = jwt.iter().flat_map(|jwt| jwt.from.iter().map(|place| (place, format!("identity.jwt.{}", jwt.name))));
    let keys =
        api_key.into_iter().flat_map(|keys| keys.from.iter().map(|place| (place, "identity.api_key".to_owned())));
    let opaque = introspection.into_iter().flat_map(|one| &one.from);
    let opaque = opaque.map(|place| (place, "identity.introspection".to_owned()));
    let headers = tokens.chain(keys).chain(opaque).filter_map(|(place, read_at)| match place {
        TokenPlace::Header { name, .. } => Some((name, read_at)),
        TokenPlace::Cookie(_) | TokenPlace::Query(_) => None,
    });
    let judged = forward.into_iter().flat_map(|forward| &forward.send);
    headers.chain(judged.map(|name| (name, "identity.forward.send".to_owned())))
}

/// One that there may be several of, each with a name.
fn read_named<'a, T>(
    fields: &mut Fields<'_, 'a>,
    key: &'static str,
    names: &mut Providers,
    read: fn(&mut Reader<'a>, &'a Node<'a>, Name) -> Option<T>,
    provider: fn(usize) -> Provider,
) -> Vec<Arc<T>> {
    let mut sound = Vec::new();
    fields.get(key, |reader, node, field| {
        if let Some((place, required)) = without_name(node, &field.kind) {
            let message = format!("`{key}` may hold several, and this one has no name");
            let hint = format!("{key}: {{main: {{{required}: …}}}}; `auth` calls it `{key}.main`");
            reader.error(place, Fault::new(Code::MissingKey, message).hint(hint));
            return None;
        }
        reader.map(node, &field.kind, |reader, entry| {
            let name = match name::plain(&entry.key) {
                Ok(name) => name,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            let found = read(reader, &entry.value, Name::clone(&name));
            names.add(format!("{key}.{name}"), found.as_ref().map(|_| provider(sound.len())));
            sound.extend(found.map(Arc::new));
            Some(())
        })
    });
    sound
}

/// Where the keys of one stand in the place of names: that of a key which each must have.
fn without_name(node: &Node<'_>, kind: &Kind) -> Option<(Place, &'static str)> {
    let (Kind::Map(Kind::Section(one)), Value::Map(entries)) = (kind, &node.value) else { return None };
    let required = one.all().find(|field| field.required)?.key;
    let entry = entries.iter().find(|entry| *entry.key == *required)?;
    entry.value.get(required).is_none().then_some((entry.key_place, required))
}

/// One that there is once.
fn read_one<'a, T>(
    fields: &mut Fields<'_, 'a>,
    key: &'static str,
    names: &mut Providers,
    provider: Provider,
    read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
) -> Option<Arc<T>> {
    match fields.section_or_switch(key, read) {
        Some(None) => None,
        Some(Some(found)) => {
            names.add(key.to_owned(), Some(provider));
            Some(Arc::new(found))
        }
        None => {
            names.add(key.to_owned(), None);
            None
        }
    }
}
