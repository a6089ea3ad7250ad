//! `upstreams.NAME.balance`: which endpoint a request goes to.

use std::fmt;
use std::sync::Arc;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::{Reader, is_word};
use crate::config::report::Fault;
use crate::config::tree::{Node, Value};

/// How requests are spread over the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The endpoint with the fewest requests under way for its weight.
    LeastBusy,
    /// The less busy of two that chance picks.
    TwoChoices,
    /// By chance, by weight.
    Random,
    /// The same endpoint for the same key, as long as it may be chosen.
    Hash(HashBy),
}

/// What is hashed. A request without it is placed by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    Ip,
    Path,
    /// Lower case.
    Header(Arc<str>),
    Cookie(Arc<str>),
}

impl Balance {
    /// The word that configs and reports have for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastBusy => "least_busy",
            Self::TwoChoices => "two_choices",
            Self::Random => "random",
            Self::Hash(_) => "hash",
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(HashBy::Ip) => f.write_str("hash by ip"),
            Self::Hash(HashBy::Path) => f.write_str("hash by path"),
            Self::Hash(HashBy::Header(name)) => write!(f, "hash by header {name}"),
            Self::Hash(HashBy::Cookie(name)) => write!(f, "hash by cookie {name}"),
            Self::RoundRobin | Self::LeastBusy | Self::TwoChoices | Self::Random => f.write_str(self.word()),
        }
    }
}

const METHOD: Kind = Kind::Choice(&["round_robin", "least_busy", "two_choices", "random"]);
const KEY: Kind = Kind::Choice(&["ip", "path"]);

static HASH_KEY: Section = Section {
    name: "upstreams.NAME.balance.hash.by",
    doc: "A part of the request that is hashed; exactly one of the two. A request without it is placed by chance.",
    fields: &[&[
        Field::new("header", HEADER, "This header's value."),
        Field::new("cookie", Kind::Text { what: "the name of a cookie", sample: "sample" }, "This cookie's value."),
    ]],
};

static HASH: Section = Section {
    name: "upstreams.NAME.balance.hash",
    doc: "The same endpoint for the same key, as long as it may be chosen; an endpoint that comes or goes moves only its share of the keys.",
    fields: &[&[Field::new(
        "by",
        Kind::Short(&KEY, &HASH_KEY),
        "What is hashed: the client's address (`ip`), the `path`, or `{header: NAME}` or `{cookie: NAME}`.",
    )
    .required()]],
};

static BALANCE_LONG: Section = Section {
    name: "upstreams.NAME.balance",
    doc: "The long form: by a key of the request.",
    fields: &[&[Field::new("hash", Kind::Section(&HASH), "By what the key is made.").required()]],
};

/// How the key is written.
pub(super) const BALANCE: Kind = Kind::Short(&METHOD, &BALANCE_LONG);

/// Reads what stands under `balance`, or its default.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Balance> {
    match fields.written("balance").map(|entry| &entry.value.value) {
        Some(Value::Map(_)) => fields
            .get("balance", |reader, node, _| {
                let mut fields = reader.section(node, &BALANCE_LONG)?;
                fields.get("hash", |reader, node, _| {
                    let mut fields = reader.section(node, &HASH)?;
                    fields.get("by", |reader, node, _| read_key(reader, node))
                })
            })
            .map(Balance::Hash),
        _ => fields.scalar("balance", |reader, node, _| read_word(reader, node)),
    }
}

fn read_word(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Balance> {
    let words = [("round_robin", 0), ("least_busy", 1), ("two_choices", 2), ("random", 3)];
    if is_word(node, "hash") {
        let fault = Fault::invalid("a hash needs to know what is hashed").hint("balance: {hash: {by: ip}}");
        reader.error(node.place, fault);
        return None;
    }
    Some(match reader.choice(node, &METHOD, &words)? {
        0 => Balance::RoundRobin,
        1 => Balance::LeastBusy,
        2 => Balance::TwoChoices,
        _ => Balance::Random,
    })
}

fn read_key<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<HashBy> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.parse(node, &KEY, |text| match text {
            "ip" => Ok(HashBy::Ip),
            "path" => Ok(HashBy::Path),
            _ => Err(Fault::invalid("expected `ip`, `path`, `header: NAME` or `cookie: NAME`")
                .hint("{hash: {by: {header: x-user}}}")),
        });
    }
    let mut fields = reader.section(node, &HASH_KEY)?;
    let written = (fields.written("header").is_some(), fields.written("cookie").is_some());
    let header = fields.get("header", |reader, node, field| reader.parse(node, &field.kind, name::header));
    let cookie = fields.get("cookie", |reader, node, field| reader.parse(node, &field.kind, name::cookie));
    match written {
        (true, false) => header.map(HashBy::Header),
        (false, true) => cookie.map(HashBy::Cookie),
        _ => {
            let fault = Fault::new(Code::Conflict, "a key is made of exactly one of `header` and `cookie`")
                .hint("{header: x-user}, or {cookie: session}, or the word `ip` or `path`");
            reader.error(node.place, fault);
            None
        }
    }
}
