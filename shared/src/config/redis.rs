//! The section `redis`: the engine (Redis or Valkey) by which several proxies are one gateway.

mod place;

use std::sync::Arc;
use std::time::Duration;

use super::Secret;
use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::identity::secret;
use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::tree::Node;

/// `redis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix:`; may hold a password.
    pub url: Secret,
    /// Put before every key.
    pub prefix: Arc<str>,
    /// Of each question.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// After so many failures one after the other it is not asked …
    pub failures: u32,
    /// … for so long.
    pub open_for: Duration,
}

const TIME: Kind = Kind::Duration { min: "1ms", max: "1m" };

/// The declaration of the section.
pub(super) static REDIS: Section = Section {
    name: "redis",
    doc: "Redis or Valkey, by which several proxies are one gateway: what says `store: redis` is kept there. Nothing needs it by default.",
    fields: &[&[
        Field::new(
            "url",
            Kind::Secret { what: "a URL such as `redis://127.0.0.1:6379`", sample: "redis://127.0.0.1:6379" },
            "Where it is: `redis://[user:password@]host[:port][/number]`, `rediss://…` over TLS, or `unix:/run/redis.sock`. With a password by reference: `${env:REDIS_URL}`.",
        )
        .required(),
        Field::new("prefix", Kind::Text { what: "a prefix", sample: "proxyd:" }, "Put before every key.")
            .default("proxyd:"),
        Field::new("timeout", TIME, "Of each question.").default("20ms"),
        Field::new("connect_timeout", TIME, "Of each new connection.").default("500ms"),
        Field::new(
            "failures",
            Kind::Integer { min: 1, max: 1000 },
            "After so many failures one after the other it is not asked …",
        )
        .default("5"),
        Field::new("open_for", Kind::Duration { min: "10ms", max: "10m" }, "… for so long.").default("1s"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Redis> {
    let url = fields.get("url", |reader, node, field| read_url(reader, node, &field.kind));
    let prefix = fields.scalar("prefix", |reader, node, field| {
        reader.parse(node, &field.kind, |text| {
            let sound = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['{', '}']);
            if sound && (1..=64).contains(&text.len()) {
                return Ok(Arc::<str>::from(text));
            }
            Err(Fault::invalid("a prefix has 1 to 64 visible ASCII characters, without braces")
                .hint("prefix: \"proxyd:\""))
        })
    });
    let (timeout, connect_timeout) = (fields.duration("timeout"), fields.duration("connect_timeout"));
    let failures = fields.count("failures");
    let open_for = fields.duration("open_for");
    Some(Redis {
        url: url?,
        prefix: prefix?,
        timeout: timeout?,
        connect_timeout: connect_timeout?,
        failures: failures?,
        open_for: open_for?,
    })
}

fn read_url(reader: &mut Reader<'_>, node: &Node<'_>, kind: &Kind) -> Option<Secret> {
    let mut has_password = false;
    let url = reader.parse(node, kind, |text| {
        has_password = text.contains('@') || text.contains("pass=");
        place::check(text).map(|()| Secret::new(text))
    })?;
    if has_password {
        secret::warn_clear(reader, node);
    }
    Some(url)
}

/// Notes an error where `redis` is to be the store, and there is none.
pub(super) fn check_there(fields: &mut Fields<'_, '_>, key: &'static str, has_redis: bool) {
    if !has_redis {
        let fault = Fault::new(Code::MissingKey, "the config does not say where Redis is")
            .hint("write at the top level: `redis: {url: \"redis://127.0.0.1:6379\"}`");
        fields.fault(key, fault);
    }
}
