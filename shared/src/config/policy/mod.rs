//! The policies: each may stand at the top level, as the default of every route, or on a route, where it replaces that
//! default whole; `off` removes it. One file per policy holds its type, its keys and its checks.

mod access;
pub(super) mod auth;
mod body_limit;
mod cors;
mod fallback;
mod fault;
pub(super) mod headers;
mod mirror;
mod rate_limit;
mod security_headers;
mod threats;

pub use access::{Access, CertificatePattern};
pub use auth::{Auth, Combine, METHOD_OVERRIDES, Needs, Tunnels};
pub use body_limit::BodyLimit;
pub use cors::{Cors, CorsOrigins, Names};
pub use fallback::{Fallback, FallbackTo};
pub use fault::{Fault, FaultAbort, FaultDelay};
pub use headers::{HeaderEdit, HeaderEdits, Headers};
pub use mirror::Mirror;
pub use rate_limit::{Algorithm, ExemptUser, Key, Mode, OnStoreError, RateLimit, Rule, Window};
pub use security_headers::SecurityHeaders;
pub use threats::{JsonShape, Shape, THREAT_RULES, ThreatMode, Threats};

use std::sync::Arc;

use super::field::{Field, Kind};
use super::fields::Fields;
use super::reader::{Reader, is_word};
use super::surroundings::Surroundings;
use super::tree::{Node, Value};
use super::{Name, Origin};

/// The policies in force somewhere.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    pub access: Setting<Access>,
    pub cors: Setting<Cors>,
    pub threats: Setting<Threats>,
    pub auth: Setting<Auth>,
    pub rate_limit: Setting<RateLimit>,
    pub body_limit: Setting<BodyLimit>,
    pub headers: Setting<Headers>,
    pub security_headers: Setting<SecurityHeaders>,
    pub fault: Setting<Fault>,
    pub mirror: Setting<Mirror>,
    pub fallback: Setting<Fallback>,
}

/// One policy in force: its value, and who said so.
#[derive(Debug)]
pub struct Setting<T> {
    /// None: absent, or switched off.
    pub value: Option<Arc<T>>,
    pub scope: Scope,
    pub at: Origin,
}

/// The place where a policy is written. State that belongs to a policy, such as a limit's counters, belongs to this place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nobody wrote it.
    Default,
    TopLevel,
    /// On the route of this name.
    Route(Name),
}

/// The keys of the policies, in the order in which they run: at the top level and on routes.
pub(super) static FIELDS: &[Field] = &[
    Field::new("security_headers", Kind::Or("off", &security_headers::SECURITY_HEADERS), "What every answer tells browsers to beware of: `on` for the defaults (HSTS on TLS, `x-content-type-options: nosniff`, `x-frame-options: SAMEORIGIN`, `referrer-policy: strict-origin-when-cross-origin`), or a map of headers over them; `off` for one leaves it out.").default("off"),
    Field::new("cors", Kind::Or("off", &Kind::Section(&cors::CORS)), "Which origins' scripts may read the answers.").default("off"),
    Field::new("access", Kind::Or("off", &Kind::Section(&access::ACCESS)), "Who may come in, by address and by client certificate.").default("off"),
    Field::new("threats", Kind::Or("off", &threats::POLICY), "Requests that look like an attack: `shadow`, `block`, or a map.").default("off"),
    Field::new("auth", Kind::Or("off", &auth::POLICY), "Who is let in: names from `identity`, or a map.").default("off"),
    Field::new("rate_limit", Kind::Or("off", &Kind::OneOrMany(&Kind::Section(&rate_limit::RULE))), "How many requests in how much time, by whom.").default("off"),
    Field::new("body_limit", Kind::Or("off", &body_limit::BODY_LIMIT), "How large a request body may be (413 beyond it).").default(body_limit::DEFAULT),
    Field::new("fault", Kind::Or("off", &Kind::Section(&fault::FAULT)), "Failures on purpose, for tests.").default("off"),
    Field::new("mirror", Kind::Or("off", &Kind::Section(&mirror::MIRROR)), "Copies of requests go to another upstream, whose answers nobody waits for.").default("off"),
    Field::new("fallback", Kind::Or("off", &Kind::Section(&fallback::FALLBACK)), "What a client gets where the upstream has failed.").default("off"),
];

/// The policy `headers` at the top level; on a route its key also holds the conditions on request headers.
pub(super) static HEADERS_FIELD: &[Field] = &[Field::new(
    "headers",
    Kind::Or("off", &Kind::Section(&headers::HEADERS)),
    "Edits of headers in both directions.",
)
.default("off")];
pub(super) use headers::{EDIT_FIELDS, is_edit};

impl Policies {
    /// Each by its key and whether it is in force, in the order in which they run.
    #[must_use]
    pub fn each(&self) -> [(&'static str, bool); 11] {
        fn is_on<T>(setting: &Setting<T>) -> bool {
            setting.value.is_some()
        }
        // Taken apart whole: one that is added cannot be forgotten here.
        let Self {
            access,
            cors,
            threats,
            auth,
            rate_limit,
            body_limit,
            headers,
            security_headers,
            fault,
            mirror,
            fallback,
        } = self;
        [
            ("security_headers", is_on(security_headers)),
            ("cors", is_on(cors)),
            ("access", is_on(access)),
            ("threats", is_on(threats)),
            ("auth", is_on(auth)),
            ("rate_limit", is_on(rate_limit)),
            ("body_limit", is_on(body_limit)),
            ("headers", is_on(headers)),
            ("fault", is_on(fault)),
            ("mirror", is_on(mirror)),
            ("fallback", is_on(fallback)),
        ]
    }

    /// Reads the policies written at the top level.
    pub(super) fn read_defaults(fields: &mut Fields<'_, '_>, around: &mut Surroundings) -> Option<Self> {
        let mut policies = Self::read(fields, around, &Self::default(), &Scope::TopLevel)?;
        if fields.written("body_limit").is_none() {
            let max_bytes = fields.size("body_limit")?;
            policies.body_limit.value = Some(Arc::new(BodyLimit { max_bytes }));
        }
        Some(policies)
    }

    /// Reads the policies written on a route; one that writes none shares `defaults`.
    pub(super) fn read_on_route(
        fields: &mut Fields<'_, '_>,
        around: &mut Surroundings,
        defaults: &Arc<Self>,
        scope: &Scope,
    ) -> Option<Arc<Self>> {
        let is_written = FIELDS.iter().any(|field| fields.written(field.key).is_some()) || has_edits(fields);
        if is_written { Self::read(fields, around, defaults, scope).map(Arc::new) } else { Some(Arc::clone(defaults)) }
    }

    /// Reads the policies written here; those that are not are `defaults`.
    fn read(fields: &mut Fields<'_, '_>, around: &mut Surroundings, defaults: &Self, scope: &Scope) -> Option<Self> {
        let access = setting(fields, "access", &defaults.access, scope, access::read);
        let cors = setting(fields, "cors", &defaults.cors, scope, cors::read);
        let threats = setting(fields, "threats", &defaults.threats, scope, threats::read);
        let auth = setting(fields, "auth", &defaults.auth, scope, |reader, node| {
            auth::read(reader, node, &mut around.providers)
        });
        let (has_redis, providers) = (around.has_redis, &around.providers);
        let rate_limit = setting(fields, "rate_limit", &defaults.rate_limit, scope, |reader, node| {
            rate_limit::read(reader, node, has_redis, providers)
        });
        let body_limit =
            setting(fields, "body_limit", &defaults.body_limit, scope, |reader, node| body_limit::read(reader, node));
        let headers = match scope {
            Scope::Route(_) if !has_edits(fields) => Some(defaults.headers.clone()),
            Scope::Route(_) => setting(fields, "headers", &defaults.headers, scope, headers::read_on_route),
            Scope::Default | Scope::TopLevel => setting(fields, "headers", &defaults.headers, scope, headers::read),
        };
        let security_headers =
            setting(fields, "security_headers", &defaults.security_headers, scope, security_headers::read);
        let fault = setting(fields, "fault", &defaults.fault, scope, fault::read);
        let mirror =
            setting(fields, "mirror", &defaults.mirror, scope, |reader, node| mirror::read(reader, node, around));
        let fallback =
            setting(fields, "fallback", &defaults.fallback, scope, |reader, node| fallback::read(reader, node, around));
        Some(Self {
            access: access?,
            cors: cors?,
            threats: threats?,
            auth: auth?,
            rate_limit: rate_limit?,
            body_limit: body_limit?,
            headers: headers?,
            security_headers: security_headers?,
            fault: fault?,
            mirror: mirror?,
            fallback: fallback?,
        })
    }
}

/// Whether a route's `headers` has more than conditions.
fn has_edits(fields: &Fields<'_, '_>) -> bool {
    fields.written("headers").is_some_and(|entry| match &entry.value.value {
        Value::Map(entries) => entries.iter().any(is_edit),
        Value::Scalar(_) | Value::List(_) => is_word(&entry.value, "off"),
    })
}

// Not derived: that would ask for `T: Clone`.
impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), scope: self.scope.clone(), at: self.at.clone() }
    }
}

/// Nobody wrote it.
impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self { value: None, scope: Scope::Default, at: Origin::default_value() }
    }
}

fn setting<'a, T>(
    fields: &mut Fields<'_, 'a>,
    key: &'static str,
    inherited: &Setting<T>,
    scope: &Scope,
    read: impl FnOnce(&mut Reader<'a>, &'a Node<'a>) -> Option<T>,
) -> Option<Setting<T>> {
    let Some(entry) = fields.written(key) else {
        return Some(inherited.clone());
    };
    fields.get(key, |reader, node, _| {
        let at = reader.texts.origin(entry.key_place);
        let value = if is_word(node, "off") { None } else { Some(Arc::new(read(reader, node)?)) };
        Some(Setting { value, scope: scope.clone(), at })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_the_name_that_is_written() {
        let (mut told, mut declared): (Vec<&str>, Vec<&str>) = (
            Policies::default().each().iter().map(|(name, _)| *name).collect(),
            FIELDS.iter().chain(HEADERS_FIELD).map(|field| field.key).collect(),
        );
        told.sort_unstable();
        declared.sort_unstable();
        assert_eq!(told, declared);
    }
}
