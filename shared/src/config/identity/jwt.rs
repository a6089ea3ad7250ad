//! `identity.jwt.NAME`: JSON Web Tokens (RFC 7519) of one issuer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{address, claim, secret, token_place};
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader, is_word};
use crate::config::report::Fault;
use crate::config::tree::Node;
use crate::config::{Name, Secret};

/// `identity.jwt.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    pub name: Name,
    /// Where the token is looked for, in all of them; the default is `Authorization: Bearer`.
    pub from: Vec<TokenPlace>,
    pub keys: JwtKeys,
    /// What its keys may be used with; empty: whatever their kind allows. Never what a token says.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `iss` must be this.
    pub issuer: Option<Arc<str>>,
    /// `aud` must hold one of these; empty: it is not looked at.
    pub audience: Vec<Arc<str>>,
    pub leeway: Duration,
    /// Claims that must be there, with this value where one is given (a list must hold it).
    pub require: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// The longest that a token may still be good for; none: as long as it says.
    pub max_age: Option<Duration>,
    /// Who it is: a path into the claims, steps apart by dots (`sub`, `realm_access.roles`; a step that holds dots stands in quotes).
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    /// A list, or words apart by spaces.
    pub scopes_claim: Arc<str>,
}

/// Where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In this header (lower case), behind this scheme (`Bearer`), or bare where none is given.
    Header {
        name: Arc<str>,
        scheme: Option<Arc<str>>,
    },
    Cookie(Arc<str>),
    Query(Arc<str>),
}

/// What its signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// HMAC; at least as long as the hash (RFC 7518 section 3.2).
    Secret(Secret),
    /// A public key or a certificate.
    Pem(PathBuf),
    JwksFile(PathBuf),
    JwksUrl {
        /// `https`, or `http` to a loopback address.
        url: Arc<str>,
        /// Fetched again after this long.
        refresh: Duration,
        /// An unknown `kid` fetches again, but not sooner than this after the last time.
        floor: Duration,
        timeout: Duration,
    },
}

/// RFC 7518 section 3.1, RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// Every algorithm with its name and, of the HMACs, how long a secret must be.
const ALGORITHMS: [(&str, JwtAlgorithm, Option<usize>); 13] = [
    ("HS256", JwtAlgorithm::Hs256, Some(32)),
    ("HS384", JwtAlgorithm::Hs384, Some(48)),
    ("HS512", JwtAlgorithm::Hs512, Some(64)),
    ("RS256", JwtAlgorithm::Rs256, None),
    ("RS384", JwtAlgorithm::Rs384, None),
    ("RS512", JwtAlgorithm::Rs512, None),
    ("PS256", JwtAlgorithm::Ps256, None),
    ("PS384", JwtAlgorithm::Ps384, None),
    ("PS512", JwtAlgorithm::Ps512, None),
    ("ES256", JwtAlgorithm::Es256, None),
    ("ES384", JwtAlgorithm::Es384, None),
    ("ES512", JwtAlgorithm::Es512, None),
    ("EdDSA", JwtAlgorithm::EdDsa, None),
];

impl JwtAlgorithm {
    /// As it is written in `alg`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, algorithm, _)| *algorithm == self).map_or("", |(name, ..)| name)
    }
}

const ALGORITHM: Kind = Kind::Choice(&[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]);

static KEYS: Section = Section {
    name: "identity.jwt.NAME.keys",
    doc: "What signatures are checked with: exactly one of `secret`, `pem`, `jwks_file` and `jwks_url`.",
    fields: &[&[
        Field::new(
            "secret",
            secret::KEY,
            "A secret that issuer and proxy share (HS256, HS384, HS512), by reference: `${env:JWT_SECRET}`. At least 32 bytes; 48 where `algorithms` names HS384 and nothing shorter, 64 for HS512.",
        ),
        Field::new(
            "pem",
            Kind::Text { what: "the path of a PEM file", sample: "sample.pem" },
            "A PEM file with a public key or a certificate: RSA of 2048 bits or more, P-256, P-384, P-521 or Ed25519.",
        ),
        Field::new(
            "jwks_file",
            Kind::Text { what: "the path of a JSON file", sample: "jwks.json" },
            "A file with public keys, or secrets (`oct`) that only this proxy may read (JWKS, RFC 7517), read at start and at every reload.",
        ),
        Field::new(
            "jwks_url",
            address::URL,
            "Where public keys are fetched from: `https://`, or `http://` to a loopback address. The last good ones are kept while it does not answer.",
        ),
        Field::new("refresh", Kind::Duration { min: "10s", max: "24h" }, "`jwks_url`: fetched again after this long.")
            .default("10m"),
        Field::new(
            "refresh_floor",
            Kind::Duration { min: "1s", max: "1h" },
            "`jwks_url`: a token with an unknown `kid` has the keys fetched again, but not sooner than this after the last time.",
        )
        .default("30s"),
        Field::new("timeout", Kind::Duration { min: "10ms", max: "1m" }, "`jwks_url`: of each fetch.").default("5s"),
    ]],
};

/// The declaration of one issuer.
pub(super) static JWT: Section = Section {
    name: "identity.jwt.NAME",
    doc: "JSON Web Tokens (RFC 7519) of one issuer; `auth` names it `jwt.NAME`. Which algorithm a token may use is said by the key and by `algorithms`, never by the token.",
    fields: &[&[
        Field::new("keys", Kind::Section(&KEYS), "What signatures are checked with.").required(),
        Field::new(
            "algorithms",
            Kind::OneOrMany(&ALGORITHM),
            "What the keys may be used with; the default is whatever their kind allows.",
        ),
        Field::new("issuer", Kind::Word { what: "an issuer", sample: "sample" }, "`iss` must be this."),
        Field::new(
            "audience",
            Kind::OneOrMany(&Kind::Word { what: "an audience", sample: "sample" }),
            "`aud` must hold one of these; without it `aud` is not looked at.",
        ),
        Field::new(
            "leeway",
            Kind::Duration { min: "0s", max: "10m" },
            "How far the issuer's clock may be from ours.",
        )
        .default("30s"),
        Field::new(
            "from",
            token_place::FROM,
            "Where the token is looked for. All of them are looked at: the same token in two is one, two that differ are refused (`credentials_ambiguous`). The default is `{header: authorization, scheme: Bearer}`.",
        ),
        Field::new(
            "require",
            Kind::Map(&Kind::Word { what: "a value, or `present`", sample: "present" }),
            "Claims that a token must have: with this value (a list must hold it), or with any (`present`).",
        ),
        Field::new("require_exp", Kind::Boolean, "Whether a token that never expires is refused.").default("true"),
        Field::new(
            "max_age",
            Kind::Duration { min: "1s", max: "3650d" },
            "The longest that a token may still be good for; the default is as long as it says.",
        ),
        Field::new(
            "user_claim",
            claim::CLAIM,
            "Who it is: a path into the claims, its steps apart by dots; a step that holds dots stands in double quotes.",
        )
        .default("sub"),
        Field::new("roles_claim", claim::CLAIM, "A list of roles, or words apart by spaces.").default("roles"),
        Field::new("scopes_claim", claim::CLAIM, "A list of scopes, or words apart by spaces.").default("scope"),
    ]],
};

/// Reads one issuer.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, name: Name) -> Option<Jwt> {
    let mut fields = reader.section(node, &JWT)?;
    let algorithms = fields.list_of("algorithms", |reader, node, kind| {
        if is_word(node, "none") {
            let fault = Fault::invalid("`none` is no signature: anybody could write such a token")
                .hint("name what the issuer signs with, such as `RS256`");
            reader.error(node.place, fault);
            return None;
        }
        if is_word(node, "ES256K") {
            let fault = Fault::new(Code::Unsupported, "signatures by ES256K are not checked by this version")
                .hint("have the issuer sign with ES256, ES384, ES512 or EdDSA");
            reader.error(node.place, fault);
            return None;
        }
        let words = ALGORITHMS.map(|(name, algorithm, _)| (name, algorithm));
        reader.choice(node, kind, &words)
    });
    if let Some([]) = algorithms.as_deref()
        && fields.written("algorithms").is_some()
    {
        fields.fault("algorithms", Fault::invalid("this list is empty").hint("algorithms: [RS256]"));
    }
    let keys = fields.get("keys", |reader, node, _| read_keys(reader, node, algorithms.as_deref().unwrap_or_default()));
    if let (Some(keys), Some(algorithms)) = (&keys, &algorithms) {
        check_algorithms(&mut fields, keys, algorithms);
    }
    let issuer = optional_word(&mut fields, "issuer");
    let audience = fields.list_of("audience", |reader, node, kind| word(reader, node, kind));
    let leeway = fields.duration("leeway");
    let from = token_place::read(&mut fields);
    let require = read_require(&mut fields);
    if let (Some(JwtKeys::JwksUrl { .. }), Some(None), Some([]), Some(require)) =
        (&keys, &issuer, audience.as_deref(), &require)
    {
        warn_unbound(&mut fields, require);
    }
    let require_exp = fields.boolean("require_exp");
    let max_age = fields.optional("max_age", |reader, node, field| reader.duration(node, &field.kind));
    let [user_claim, roles_claim, scopes_claim] =
        ["user_claim", "roles_claim", "scopes_claim"].map(|key| read_claim(&mut fields, key));
    Some(Jwt {
        name,
        from: from?.unwrap_or_else(|| vec![token_place::bearer()]),
        keys: keys?,
        algorithms: algorithms?,
        issuer: issuer?,
        audience: audience?,
        leeway: leeway?,
        require: require?,
        require_exp: require_exp?,
        max_age: max_age?,
        user_claim: user_claim?,
        roles_claim: roles_claim?,
        scopes_claim: scopes_claim?,
    })
}

fn read_keys<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, algorithms: &[JwtAlgorithm]) -> Option<JwtKeys> {
    let mut fields = reader.section(node, &KEYS)?;
    let sources = ["secret", "pem", "jwks_file", "jwks_url"];
    let written: Vec<&str> = sources.into_iter().filter(|key| fields.written(key).is_some()).collect();
    match written.as_slice() {
        [] => {
            let fault = Fault::new(Code::MissingKey, "no key is named here: no token could be checked")
                .hint("keys: {secret: \"${env:JWT_SECRET}\"}, or one of `pem`, `jwks_file` and `jwks_url`");
            fields.reader().error(node.place, fault);
        }
        [_] => {}
        [_, second, ..] => {
            let fault = Fault::new(Code::Conflict, "keys come from one place: whoever has one kind could forge the other")
                .hint("write an issuer for each: `jwt: {main: {…}, partner: {…}}`; a route may take `[jwt.main, jwt.partner]`");
            let key = sources.into_iter().find(|key| key == second).unwrap_or("secret");
            fields.fault(key, fault);
        }
    }
    if !written.contains(&"jwks_url") {
        for key in ["refresh", "refresh_floor", "timeout"] {
            if fields.written(key).is_some() {
                let fault = Fault::new(Code::Unused, format!("`{key}` is for `jwks_url`: nothing is fetched here"));
                fields.warn(key, fault.hint("remove it"));
            }
        }
    }
    let least = algorithms.iter().filter_map(|algorithm| secret_bytes(*algorithm)).min().unwrap_or(secret::KEY_BYTES);
    let secret = fields.get("secret", |reader, node, _| secret::key(reader, node, least)).map(JwtKeys::Secret);
    let pem = fields.get("pem", |reader, node, field| reader.file_path(node, &field.kind)).map(JwtKeys::Pem);
    let file = fields.get("jwks_file", |reader, node, field| reader.file_path(node, &field.kind));
    let url = fields.get("jwks_url", |reader, node, field| reader.parse(node, &field.kind, address::guarded));
    let (refresh, floor) = (fields.duration("refresh"), fields.duration("refresh_floor"));
    let timeout = fields.duration("timeout");
    let fetched = match url {
        Some(url) => Some(JwtKeys::JwksUrl { url, refresh: refresh?, floor: floor?, timeout: timeout? }),
        None => None,
    };
    if written.len() == 1 { secret.or(pem).or(file.map(JwtKeys::JwksFile)).or(fetched) } else { None }
}

fn secret_bytes(algorithm: JwtAlgorithm) -> Option<usize> {
    ALGORITHMS.iter().find(|(_, known, _)| *known == algorithm)?.2
}

/// A public key that is taken for the secret of an HMAC lets everybody sign: no config can ask for it. What a set in a file holds, and
/// whether it fits, is seen when it is read.
fn check_algorithms(fields: &mut Fields<'_, '_>, keys: &JwtKeys, algorithms: &[JwtAlgorithm]) {
    if matches!(keys, JwtKeys::JwksFile(_)) {
        return;
    }
    let is_secret = matches!(keys, JwtKeys::Secret(_));
    let Some(wrong) = algorithms.iter().find(|algorithm| secret_bytes(**algorithm).is_some() != is_secret) else {
        return;
    };
    let name = wrong.name();
    let fault = if is_secret {
        Fault::new(Code::Conflict, format!("{name} is checked with a public key, and `keys` has a secret"))
            .hint("name HS256, HS384 or HS512, or give `keys` a `pem`, `jwks_file` or `jwks_url`")
    } else {
        Fault::new(
            Code::Conflict,
            format!("{name} is checked with a secret, and `keys` are public: everybody could sign with them"),
        )
        .hint("name what the issuer signs with, such as RS256, ES256 or EdDSA")
    };
    fields.fault("algorithms", fault);
}

/// Claims that say for whom or by whom a token was made, as providers name them.
const BINDING: [&str; 7] = ["aud", "azp", "client_id", "iss", "cid", "appid", "tid"];

/// A provider signs the tokens of all its applications with the same keys.
fn warn_unbound(fields: &mut Fields<'_, '_>, require: &[(Arc<str>, Option<Arc<str>>)]) {
    if require.iter().any(|(claim, value)| value.is_some() && BINDING.contains(&&**claim)) {
        return;
    }
    let message = "any token that these keys sign is taken, those for other applications too: neither `issuer` nor `audience` is named";
    let fault = Fault::new(Code::Unverified, message)
        .hint("audience: https://api.example.com, or what the provider puts into `aud` for this one");
    fields.warn("keys", fault);
}

/// Claims, each with the value that it must have.
type Required = Vec<(Arc<str>, Option<Arc<str>>)>;

fn read_require(fields: &mut Fields<'_, '_>) -> Option<Required> {
    let found = fields.optional("require", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            let claim = match claim::path(&entry.key) {
                Ok(claim) => claim,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            let value = reader.text(&entry.value, field.kind.map_item()?)?;
            Some((claim, (value != "present").then(|| value.into())))
        })
    });
    found.map(Option::unwrap_or_default)
}

/// Reads a path into the claims, or its default.
pub(super) fn read_claim(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Arc<str>> {
    fields.scalar(key, |reader, node, field| reader.parse(node, &field.kind, claim::path))
}

/// Text of some length that is not shown to terminals as it is.
pub(super) fn word(reader: &mut Reader<'_>, node: &Node<'_>, kind: &Kind) -> Option<Arc<str>> {
    reader.parse(node, kind, |text| {
        if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) {
            return Err(Fault::invalid("this text must have 1 to 1024 bytes and no control characters"));
        }
        Ok(text.into())
    })
}

/// The same, where it may be left out.
pub(super) fn optional_word(fields: &mut Fields<'_, '_>, key: &'static str) -> Read<Option<Arc<str>>> {
    fields.optional(key, |reader, node, field| word(reader, node, &field.kind))
}
