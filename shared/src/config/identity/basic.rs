//! `identity.basic`: names and passwords (RFC 7617).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::policy::auth::{ROLES, SCOPES};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::Node;
use crate::config::{Name, Secret, name};

/// `identity.basic`. At least one of the two sources is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// htpasswd: `name:hash` a line; argon2id and bcrypt. Read again when it changes.
    pub users_file: Option<PathBuf>,
    pub users: Vec<BasicUser>,
    pub realm: Arc<str>,
    /// How long a password that was right is not computed again.
    pub cache: Duration,
}

/// A user written in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicUser {
    pub user: Name,
    /// argon2id in PHC form, or bcrypt.
    pub password_hash: Secret,
    pub roles: Vec<Name>,
    pub scopes: Vec<Arc<str>>,
}

const SAMPLE_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FtcGxlc2FsdA$c2FtcGxlaGFzaHNhbXBsZWhhc2hzYW1wbGU";

static USER: Section = Section {
    name: "identity.basic.users[]",
    doc: "A person with a password.",
    fields: &[&[
        Field::new("user", Kind::Text { what: "a user's name", sample: "sample" }, "The user's name, without a colon.")
            .required(),
        Field::new(
            "password_hash",
            Kind::Secret { what: "an argon2id or bcrypt hash", sample: SAMPLE_HASH },
            "An argon2id hash in PHC form, as `proxyctl hash-password` prints it, or a bcrypt hash (`$2b$…`).",
        )
        .required(),
        Field::new("roles", ROLES, "The user's roles."),
        Field::new("scopes", SCOPES, "The user's scopes."),
    ]],
};

/// The declaration of the section.
pub(super) static BASIC: Section = Section {
    name: "identity.basic",
    doc: "Names and passwords (RFC 7617); `auth` names them `basic`. At least one of `users_file` and `users`.",
    fields: &[&[
        Field::new(
            "users_file",
            Kind::Text { what: "a path", sample: "users.htpasswd" },
            "A file with `name:hash` on each line (htpasswd): argon2id in PHC form, or bcrypt as `htpasswd -B` writes it. Read again when it changes.",
        ),
        Field::new("users", Kind::List(&Kind::Section(&USER)), "People, written here."),
        Field::new(
            "realm",
            Kind::Word { what: "a realm", sample: "proxyd" },
            "What browsers show when they ask for the password.",
        )
        .default("proxyd"),
        Field::new(
            "cache",
            Kind::Duration { min: "0s", max: "1h" },
            "How long a password that was right is not computed again; `0s`: each request computes.",
        )
        .default("60s"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Basic> {
    let users_file = fields.optional("users_file", |reader, node, field| reader.file_path(node, &field.kind));
    let mut seen = HashSet::new();
    let users = fields.list_of("users", |reader, node, _| {
        let user = read_user(reader, node)?;
        if seen.insert(Name::clone(&user.user)) {
            return Some(user);
        }
        let place = node.get("user").map_or(node.place, |user| user.place);
        reader.error(place, Fault::new(Code::DuplicateName, "another user here has this name"));
        None
    });
    let realm = fields.scalar("realm", |reader, node, field| reader.parse(node, &field.kind, name::realm));
    let cache = fields.duration("cache");
    let (users_file, users) = (users_file?, users?);
    if users_file.is_none() && users.is_empty() {
        let place = fields.place;
        let fault = Fault::new(Code::MissingKey, "nobody is named here")
            .hint("users_file: users.htpasswd, or users: [{user: ann, password_hash: \"${env:ANN_HASH}\"}]");
        fields.reader().error(place, fault);
        return None;
    }
    Some(Basic { users_file, users, realm: realm?, cache: cache? })
}

fn read_user<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<BasicUser> {
    let mut fields = reader.section(node, &USER)?;
    let user = fields.get("user", |reader, node, field| {
        reader.parse(node, &field.kind, |text| {
            if text.contains(':') {
                // RFC 7617 section 2.
                return Err(Fault::invalid("a user's name has no colon: the password begins behind it"));
            }
            name::free(text)
        })
    });
    let password_hash = fields.get("password_hash", |reader, node, field| {
        // Whoever reads a hash must still find the password: no warning where one is written in clear.
        reader.parse(node, &field.kind, |text| {
            if is_hash(text) {
                return Ok(Secret::new(text));
            }
            Err(Fault::invalid("this is neither an argon2id hash in PHC form nor a bcrypt hash")
                .hint("`proxyctl hash-password` makes one; a password itself never stands in a config"))
        })
    });
    let roles = fields.list_of("roles", |reader, node, kind| reader.parse(node, kind, name::role));
    let scopes = fields.list_of("scopes", |reader, node, kind| reader.parse(node, kind, name::scope));
    Some(BasicUser { user: user?, password_hash: password_hash?, roles: roles?, scopes: scopes? })
}

fn is_hash(text: &str) -> bool {
    if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return false;
    }
    let argon = text.starts_with("$argon2id$") && text.split('$').count() == 6;
    let bcrypt = text.len() == 60 && ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start));
    argon || bcrypt
}
