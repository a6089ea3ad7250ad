//! The section `admin`: the operator's doors and who may pass them.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::is_word;
use super::report::Fault;
use super::tree::{Meaning, Scalar, Value};
use super::{Name, listen, name};

/// `admin`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The HTTP mirror; none: off.
    pub listen: Option<SocketAddr>,
    pub socket: SocketPlace,
    /// Permission bits of the socket file.
    pub socket_mode: u32,
    /// Present whenever `listen` is not a loopback address.
    pub auth: Option<AdminAuth>,
    /// Further names by which the admin listener may be asked for in `Host` (lower case, no port).
    pub hosts: Vec<String>,
}

/// Where the control socket lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// The first usable of the automatic places, see `control::socket_places`.
    Auto,
    Path(PathBuf),
}

/// `admin.auth`.
#[derive(Clone, Debug)]
pub struct AdminAuth {
    pub basic: Vec<AdminBasic>,
    pub tokens: Vec<AdminToken>,
}

/// A user with a password.
#[derive(Clone, Debug)]
pub struct AdminBasic {
    pub user: Name,
    /// A PHC string (argon2id).
    pub password_hash: Secret,
    pub role: Role,
}

/// A bearer token.
#[derive(Clone, Debug)]
pub struct AdminToken {
    pub name: Name,
    pub token: Secret,
    pub role: Role,
}

/// What a caller may do: a reader everything that changes nothing, a registrar that and register endpoints, an operator
/// everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Reader,
    Registrar,
    Operator,
}

/// A value that must never be shown: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value that must not be shown.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for comparing or sending; never for showing.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}

const NAME: Kind = Kind::Text { what: "a name", sample: "ci" };

static BASIC: Section = Section {
    name: "admin.auth.basic[]",
    doc: "A person with a password.",
    fields: &[&[
        Field::new("user", NAME, "The user's name.").required(),
        Field::new(
            "password_hash",
            Kind::Secret { what: "an argon2id hash in PHC form", sample: SAMPLE_HASH },
            "An argon2id hash in PHC form, as `proxyctl hash-password` prints it.",
        )
        .required(),
        Field::new("role", Kind::Choice(&["reader", "operator"]), "What the user may do.").default("operator"),
    ]],
};

static TOKEN: Section = Section {
    name: "admin.auth.tokens[]",
    doc: "A bearer token.",
    fields: &[&[
        Field::new("name", NAME, "What the audit calls whoever uses it.").required(),
        Field::new(
            "token",
            Kind::Secret { what: "a token", sample: "sample-token-sample-token" },
            "The token, by reference: `${env:PROXYD_ADMIN_TOKEN}`. At least 8 characters.",
        )
        .required(),
        Field::new(
            "role",
            Kind::Choice(&["reader", "registrar", "operator"]),
            "What may be done with it: look; look, and register and deregister endpoints of upstreams; everything.",
        )
        .default("reader"),
    ]],
};

const SAMPLE_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlc2FsdA$c2FtcGxlaGFzaHNhbXBsZWhhc2hzYW1wbGU";

static AUTH: Section = Section {
    name: "admin.auth",
    doc: "Who may come in through `admin.listen`. Required as soon as that is not a loopback address.",
    fields: &[&[
        Field::new("basic", Kind::List(&Kind::Section(&BASIC)), "People, by name and password."),
        Field::new("tokens", Kind::List(&Kind::Section(&TOKEN)), "Programs, by bearer token."),
    ]],
};

/// The declaration of the section.
pub(super) static ADMIN: Section = Section {
    name: "admin",
    doc: "The operator's doors and who may pass them.",
    fields: &[&[
        Field::new("listen", Kind::Or("off", &Kind::Text { what: "an address with a port", sample: "127.0.0.1:9900" }), "Where the HTTP mirror of the control socket listens; `off`: nowhere.").default("127.0.0.1:9900"),
        Field::new("socket", Kind::Or("auto", &Kind::Text { what: "a path", sample: "proxyd.sock" }), "The control socket; `auto`: /run/proxyd/proxyd.sock where that can be written, else in $XDG_RUNTIME_DIR, else in a private folder under the system's temporary one.").default("auto"),
        Field::new("socket_mode", Kind::Text { what: "permission bits such as \"0600\"", sample: "0600" }, "Permission bits of the socket file.").default("0600"),
        Field::new("auth", Kind::Section(&AUTH), "Who may come in."),
        Field::new("hosts", Kind::List(&Kind::Text { what: "a host name", sample: "admin.example.com" }), "Further names by which the admin listener may be asked for in `Host`: the defence against DNS rebinding.").default("[]"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Admin> {
    let listen = fields.scalar("listen", |reader, node, field| {
        if is_word(node, "off") { Some(None) } else { listen::address(reader, node, &field.kind).map(Some) }
    });
    let socket = fields.scalar("socket", |reader, node, field| {
        if is_word(node, "auto") {
            return Some(SocketPlace::Auto);
        }
        reader.file_path(node, &field.kind).map(SocketPlace::Path)
    });
    let socket_mode = fields.scalar("socket_mode", |reader, node, field| {
        reader.parse(node, &field.kind, |text| {
            let octal = text.strip_prefix("0o").unwrap_or(text);
            u32::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| {
                Fault::invalid("these are not permission bits")
                    .hint("write three octal digits in quotes, such as \"0600\"")
            })
        })
    });
    let written_auth = fields.written("auth").is_some();
    let auth = if written_auth { fields.section("auth", read_auth).map(Some) } else { Some(None) };
    let hosts = fields.list_of("hosts", |reader, node, kind| {
        reader.parse(node, kind, |text| name::host(text).map(|host| host.to_string()))
    });
    if let Some(Some(address)) = listen
        && !address.ip().is_loopback()
        && !written_auth
    {
        let place = fields.written("listen").map_or(fields.place, |entry| entry.value.place);
        let fault = Fault::new(
            Code::MissingAuth,
            "the admin listener can be reached from other machines, and anybody could come in",
        )
        .hint("listen on 127.0.0.1, or name who may come in under `admin.auth`");
        fields.reader().under("listen", |reader| reader.error(place, fault));
    }
    Some(Admin { listen: listen?, socket: socket?, socket_mode: socket_mode?, auth: auth?, hosts: hosts? })
}

fn read_auth(fields: &mut Fields<'_, '_>) -> Option<AdminAuth> {
    let basic = fields.list_of("basic", |reader, node, _| {
        let mut fields = reader.section(node, &BASIC)?;
        let user = fields.get("user", |reader, node, field| reader.parse(node, &field.kind, name::plain));
        let password_hash = fields.get("password_hash", |reader, node, field| {
            reader.parse(node, &field.kind, |text| {
                let form = text.starts_with("$argon2id$") && text.split('$').count() == 6;
                if form && text.len() <= 512 {
                    return Ok(Secret::new(text));
                }
                Err(Fault::invalid("this is not an argon2id hash in PHC form")
                    .hint("it begins with `$argon2id$`; a password itself never stands in a config"))
            })
        });
        let role = fields.choice("role", &ROLES);
        Some(AdminBasic { user: user?, password_hash: password_hash?, role: role? })
    });
    let tokens = fields.list_of("tokens", |reader, node, _| {
        let mut fields = reader.section(node, &TOKEN)?;
        let name = fields.get("name", |reader, node, field| reader.parse(node, &field.kind, name::plain));
        let token = fields.get("token", |reader, node, field| {
            let token = reader.parse(node, &field.kind, |text| {
                let sound = text.bytes().all(|b| b.is_ascii_graphic());
                if sound && (8..=1024).contains(&text.len()) {
                    return Ok(Secret::new(text));
                }
                Err(Fault::invalid("a token has 8 to 1024 visible ASCII characters")
                    .hint("make one with `openssl rand -hex 32`"))
            });
            if token.is_some() && matches!(&node.value, Value::Scalar(Scalar { meaning: Meaning::AsTyped, .. })) {
                let fault = Fault::new(Code::ClearSecret, "this secret is written in clear")
                    .hint("take it from outside: `${env:PROXYD_ADMIN_TOKEN}` or `${file:/run/secrets/admin}`");
                reader.warn(node.place, fault);
            }
            token
        });
        let role = fields.choice("role", &TOKEN_ROLES);
        Some(AdminToken { name: name?, token: token?, role: role? })
    });
    let (basic, tokens) = (basic?, tokens?);
    let place = fields.place;
    if basic.is_empty() && tokens.is_empty() {
        fields
            .reader()
            .error(place, Fault::invalid("nobody is named here").hint("name somebody under `basic` or `tokens`"));
        return None;
    }
    let users: Vec<&Name> = basic.iter().map(|basic| &basic.user).collect();
    let names: Vec<&Name> = tokens.iter().map(|token| &token.name).collect();
    let twice = has_repeats(&users) || has_repeats(&names);
    if twice {
        let fault = Fault::new(Code::DuplicateName, "a name is given twice here");
        fields.reader().error(place, fault);
        return None;
    }
    Some(AdminAuth { basic, tokens })
}

const ROLES: [(&str, Role); 2] = [("reader", Role::Reader), ("operator", Role::Operator)];
const TOKEN_ROLES: [(&str, Role); 3] =
    [("reader", Role::Reader), ("registrar", Role::Registrar), ("operator", Role::Operator)];

fn has_repeats(names: &[&Name]) -> bool {
    let mut seen = HashSet::new();
    names.iter().any(|name| !seen.insert(*name))
}
