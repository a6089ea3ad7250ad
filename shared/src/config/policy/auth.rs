//! The policy `auth`: who is let in.

use std::sync::Arc;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::identity::{PROVIDER, Provider, Providers};
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader, is_word};
use crate::config::report::Fault;
use crate::config::tree::{Node, Value};
use crate::config::{Name, name};

/// `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// At least one.
    pub providers: Vec<Provider>,
    pub combine: Combine,
    /// Whether a request without credentials goes on, as nobody, where nothing is needed. Bad credentials are refused all the
    /// same; a session that is over counts as none.
    pub optional: bool,
    pub needs: Needs,
    /// In place of `needs` for these methods (upper case). `GET` holds for HEAD too where HEAD has none of its own.
    pub methods: Vec<(Arc<str>, Needs)>,
    /// Whether the credentials that were used go upstream. A session's cookie never does.
    pub forward_credentials: bool,
    /// What ends a WebSocket or another tunnel that was let in.
    pub tunnels: Tunnels,
    /// `WWW-Authenticate` says this.
    pub realm: Arc<str>,
}

/// Headers in which many servers look for the method that is meant, so that a POST is served as a DELETE: what that one needs is
/// needed too.
pub const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// How long a tunnel goes on that somebody was let in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnels {
    /// Until what it was opened with is taken back: it may outlive a token of short life.
    UntilRevoked,
    /// Until that expires too.
    UntilExpired,
}

/// How several providers go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// One must recognise somebody; the first that does says who it is.
    Any,
    /// Each must recognise somebody; who it is says the first, roles and scopes are those of all together.
    All,
}

/// What somebody must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// One of these; empty: none is asked for.
    pub roles: Vec<Name>,
    /// All of these.
    pub scopes: Vec<Arc<str>>,
}

impl Auth {
    /// What is asked of a request with this method, in whatever letters: not every server tells `mkcol` from `MKCOL`.
    #[must_use]
    pub fn needs(&self, method: &str) -> &Needs {
        let of = |method: &str| {
            let named = self.methods.iter().find(|(named, _)| named.eq_ignore_ascii_case(method));
            named.map(|(_, needs)| needs)
        };
        let of_get = || if method.eq_ignore_ascii_case("HEAD") { of("GET") } else { None };
        of(method).or_else(of_get).unwrap_or(&self.needs)
    }
}

/// How roles are written.
pub(in crate::config) const ROLES: Kind = Kind::OneOrMany(&Kind::Word { what: "a role", sample: "sample" });
/// How scopes are written.
pub(in crate::config) const SCOPES: Kind = Kind::OneOrMany(&Kind::Text { what: "a scope", sample: "sample" });

const NEEDS_FIELDS: &[Field] = &[
    Field::new("roles", ROLES, "One of these roles is needed (403 without)."),
    Field::new("scopes", SCOPES, "All of these scopes are needed (403 without)."),
];

static NEEDS: Section = Section {
    name: "auth.methods.METHOD",
    doc: "What somebody must be for requests with this method, in place of what the policy asks of all.",
    fields: &[NEEDS_FIELDS],
};

const PROVIDERS: Kind = Kind::OneOrMany(&PROVIDER);

/// The declaration of the policy.
pub(super) static AUTH: Section = Section {
    name: "auth",
    doc: "Who is let in: exactly one of `any_of` and `all_of`, with names from `identity` (`jwt.NAME`, `api_key`, `basic`, `login.NAME`, `introspection`, `forward`, `accounts`) or `certificate`, the client's. Nobody recognised: 401; recognised, but without the roles or scopes: 403. A name, or a list of names, is short for `any_of`.",
    fields: &[
        &[
            Field::new("any_of", PROVIDERS, "One of these must recognise somebody; they are asked in this order, and the first that does says who it is; for an issuer's keys nobody waits whom a later one knows. A bad credential beside a good one does not matter."),
            Field::new(
                "all_of",
                PROVIDERS,
                "Each of these must recognise somebody; who it is says the first, roles and scopes are those of all together.",
            ),
            Field::new(
                "optional",
                Kind::Boolean,
                "Whether a request without credentials goes on, as nobody; bad credentials are refused all the same. Not with `forward`, whose service says so itself.",
            )
            .default("false"),
        ],
        NEEDS_FIELDS,
        &[
            Field::new(
                "methods",
                Kind::Map(&Kind::Section(&NEEDS)),
                "By method, what is needed in place of the `roles` and `scopes` beside it. GET holds for HEAD too, where HEAD is not written. A request that names another method in `X-HTTP-Method-Override`, `X-HTTP-Method` or `X-Method-Override` needs what that one needs as well; `_method` in a query or body is not seen.",
            ),
            Field::new(
                "forward_credentials",
                Kind::Boolean,
                "Whether the credentials that are looked for go upstream; the cookie of a session never does. Of `forward` these are `authorization` and what its `send` names, the header `cookie` as a whole; of `certificate`, `X-Forwarded-Client-Cert`.",
            )
            .default("true"),
            Field::new(
                "tunnels",
                Kind::Choice(&["until_revoked", "until_expired"]),
                "How long a WebSocket or another tunnel goes on: until what it was opened with is revoked, or until that expires too.",
            )
            .default("until_revoked"),
            Field::new(
                "realm",
                Kind::Word { what: "a realm", sample: "proxyd" },
                "What `WWW-Authenticate` calls this place.",
            )
            .default("proxyd"),
        ],
    ],
};

/// How the policy is written.
pub(super) static POLICY: Kind = Kind::Short(&PROVIDERS, &AUTH);

/// Reads the policy: names, or the long form.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, providers: &mut Providers) -> Option<Auth> {
    if let Value::Map(_) = &node.value {
        let mut fields = reader.section(node, &AUTH)?;
        return read_long(&mut fields, providers);
    }
    if is_word(node, "on") || is_word(node, "true") {
        let fault = Fault::invalid("`auth` names who recognises").hint(example(providers));
        reader.error(node.place, fault);
        return None;
    }
    let named = reader.one_or_many(node, &PROVIDERS, |reader, node| provider(reader, node, providers))?;
    check(reader, node, &named, Combine::Any)?;
    let realm = reader.defaults(&AUTH, read_realm)?;
    Some(Auth {
        providers: named,
        combine: Combine::Any,
        optional: false,
        needs: Needs::default(),
        methods: Vec::new(),
        forward_credentials: true,
        tunnels: Tunnels::UntilRevoked,
        realm,
    })
}

fn example(providers: &Providers) -> String {
    match providers.names().as_slice() {
        [] => "auth: api_key, with `identity: {api_key: on}` at the top level".to_owned(),
        [only] => format!("auth: {only}"),
        names => format!("auth: [{}]", names.join(", ")),
    }
}

fn any_of(providers: &Providers) -> String {
    let names = providers.names();
    format!("any_of: [{}]", if names.is_empty() { "api_key".to_owned() } else { names.join(", ") })
}

fn read_long(fields: &mut Fields<'_, '_>, providers: &mut Providers) -> Option<Auth> {
    let written = (fields.written("any_of").is_some(), fields.written("all_of").is_some());
    match written {
        (true, false) | (false, true) => {}
        (true, true) => {
            let fault = Fault::new(
                Code::Conflict,
                "either one of several recognises (`any_of`), or each of them must (`all_of`)",
            );
            fields.fault("all_of", fault.hint("keep one of the two"));
        }
        (false, false) => {
            let place = fields.place;
            let fault = Fault::new(Code::MissingKey, "this policy does not say who recognises").hint(format!(
                "a route's own `auth` replaces the top level's whole: write `any_of` too, as in `{}`",
                any_of(providers)
            ));
            fields.reader().error(place, fault);
        }
    }
    let any = read_providers(fields, "any_of", providers, Combine::Any);
    let all = read_providers(fields, "all_of", providers, Combine::All);
    let optional = fields.boolean("optional");
    let needs = read_needs(fields);
    let methods = read_methods(fields);
    let forward_credentials = fields.boolean("forward_credentials");
    let tunnels = read_tunnels(fields);
    let realm = read_realm(fields);
    if optional == Some(true) {
        check_optional(fields, written.1, needs.as_ref(), methods.as_deref());
        let named = any.as_ref().and_then(|named| named.as_ref());
        if named.is_some_and(|named| named.contains(&Provider::Forward)) {
            check_forward(fields);
        }
    }
    let (combine, named) = match written {
        (true, false) => (Combine::Any, any?),
        (false, true) => (Combine::All, all?),
        _ => return None,
    };
    Some(Auth {
        providers: named?,
        combine,
        optional: optional?,
        needs: needs?,
        methods: methods?,
        forward_credentials: forward_credentials?,
        tunnels: tunnels?,
        realm: realm?,
    })
}

fn read_tunnels(fields: &mut Fields<'_, '_>) -> Option<Tunnels> {
    fields.choice("tunnels", &[("until_revoked", Tunnels::UntilRevoked), ("until_expired", Tunnels::UntilExpired)])
}

fn read_realm(fields: &mut Fields<'_, '_>) -> Option<Arc<str>> {
    fields.scalar("realm", |reader, node, field| reader.parse(node, &field.kind, name::realm))
}

fn read_providers(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    providers: &mut Providers,
    combine: Combine,
) -> Read<Option<Vec<Provider>>> {
    fields.optional(key, |reader, node, field| {
        let named = reader.one_or_many(node, &field.kind, |reader, node| provider(reader, node, providers))?;
        check(reader, node, &named, combine).map(|()| named)
    })
}

fn provider(reader: &mut Reader<'_>, node: &Node<'_>, providers: &mut Providers) -> Option<Provider> {
    providers.resolve(reader, node)
}

/// What cannot stand in one list. `named` is whole: one for each item.
fn check<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, named: &[Provider], combine: Combine) -> Option<()> {
    if named.is_empty() {
        reader.error(
            node.place,
            Fault::invalid("this list is empty: nobody could come in").hint("write `auth: off` to let everyone in"),
        );
        return None;
    }
    let items: &[Node<'_>] = if let Value::List(items) = &node.value { items } else { std::slice::from_ref(node) };
    let mut sound = Some(());
    for (index, (provider, item)) in named.iter().zip(items).enumerate() {
        let fault = if named.iter().take(index).any(|earlier| earlier == provider) {
            Fault::new(Code::DuplicateName, "this name stands here twice").hint("remove it")
        } else if combine == Combine::All && matches!(provider, Provider::Login(_)) {
            let message = "a browser that lacks one of the others is sent to log in, and comes back without it: `all_of` would never end";
            Fault::new(Code::Conflict, message)
                .hint("write it under `any_of`; the policy `access` can ask for a client certificate besides")
        } else if combine == Combine::Any && *provider == Provider::Forward && index + 1 < named.len() {
            let message = "`forward` is asked whatever the request brings: what stands behind it is never reached";
            let fault = Fault::new(Code::Unused, message).hint("write it last");
            at_item(reader, node, index, |reader| reader.warn(item.place, fault));
            continue;
        } else {
            continue;
        };
        at_item(reader, node, index, |reader| reader.error(item.place, fault));
        sound = None;
    }
    sound
}

fn at_item<'a>(reader: &mut Reader<'a>, node: &Node<'_>, index: usize, note: impl FnOnce(&mut Reader<'a>)) {
    if matches!(node.value, Value::List(_)) { reader.at(index, note) } else { note(reader) }
}

fn read_needs(fields: &mut Fields<'_, '_>) -> Option<Needs> {
    let roles = fields.list_of("roles", |reader, node, kind| reader.parse(node, kind, name::role));
    let scopes = fields.list_of("scopes", |reader, node, kind| reader.parse(node, kind, name::scope));
    for (key, is_empty) in
        [("roles", roles.as_ref().is_some_and(Vec::is_empty)), ("scopes", scopes.as_ref().is_some_and(Vec::is_empty))]
    {
        if is_empty && fields.written(key).is_some() {
            fields.fault(key, Fault::invalid("this list is empty").hint("remove it: then none is needed"));
        }
    }
    Some(Needs { roles: roles?, scopes: scopes? })
}

fn read_methods(fields: &mut Fields<'_, '_>) -> Option<Vec<(Arc<str>, Needs)>> {
    let methods = fields.optional("methods", |reader, node, field| {
        let mut seen: Vec<Arc<str>> = Vec::new();
        reader.map(node, &field.kind, |reader, entry| {
            let method = match name::method(&entry.key) {
                Ok(method) => method,
                Err(fault) => {
                    let fault = if &*entry.key == "*" {
                        fault.hint("write `roles` and `scopes` beside `methods`: they hold for every other method")
                    } else {
                        fault
                    };
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            if seen.contains(&method) {
                reader.error(entry.key_place, Fault::new(Code::DuplicateKey, "this method is named twice here"));
                return None;
            }
            reader.warn_misspelt(entry.key_place, &method);
            seen.push(Arc::clone(&method));
            let mut fields = reader.section(&entry.value, &NEEDS)?;
            read_needs(&mut fields).map(|needs| (method, needs))
        })
    });
    methods.map(Option::unwrap_or_default)
}

/// The service is asked about whoever comes without credentials, too.
fn check_forward(fields: &mut Fields<'_, '_>) {
    let fault = Fault::new(
        Code::Conflict,
        "`forward` is asked about every request, and its refusal is the answer: nobody would go on as nobody",
    )
    .hint("remove `optional`, and let the service answer 200 without a name to whoever may come in as nobody");
    fields.fault("optional", fault);
}

/// Whether anybody could come in as nobody.
fn check_optional(
    fields: &mut Fields<'_, '_>,
    all: bool,
    needs: Option<&Needs>,
    methods: Option<&[(Arc<str>, Needs)]>,
) {
    if all {
        let fault = Fault::new(Code::Conflict, "with `all_of` each must recognise somebody: none of it is optional")
            .hint("remove `optional`, or write `any_of`");
        fields.fault("optional", fault);
        return;
    }
    let asks = |needs: &Needs| *needs != Needs::default();
    if needs.is_some_and(asks) && methods.is_some_and(|methods| methods.iter().all(|(_, needs)| asks(needs))) {
        let fault = Fault::new(
            Code::Conflict,
            "who comes as nobody has no roles and no scopes: `optional` would let nobody in",
        )
        .hint("remove `optional`; or ask by method, as in `methods: {POST: {roles: [admin]}}`");
        fields.fault("optional", fault);
    }
}
