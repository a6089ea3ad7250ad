//! `identity.api_key`: keys that `proxyctl keys` gives out.

use super::{TokenPlace, token_place};
use crate::config::field::{Field, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::problem::Code;
use crate::config::report::Fault;

/// `identity.api_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// Where the key is looked for, in all of them; the default is `x-api-key` and `Authorization: Bearer` (a bearer token that
    /// does not look like one of our keys is none).
    pub from: Vec<TokenPlace>,
}

/// The declaration of the section.
pub(super) static API_KEY: Section = Section {
    name: "identity.api_key",
    doc: "Keys that `proxyctl keys create` gives out; `auth` names them `api_key`. `on` is the section with its defaults.",
    fields: &[&[
        Field::new(
            "header",
            HEADER,
            "The header that holds the key (default `x-api-key`); a key behind `Authorization: Bearer` is taken too.",
        ),
        Field::new(
            "from",
            token_place::FROM,
            "Where the key is looked for, in place of `header`. All of them are looked at: the same key in two is one, two that differ are refused (`credentials_ambiguous`).",
        ),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<ApiKeys> {
    let header =
        fields.optional("header", |reader, node, field| reader.parse(node, &field.kind, token_place::token_header));
    let from = token_place::read(fields);
    if fields.written("header").is_some() && fields.written("from").is_some() {
        let fault = Fault::new(Code::Conflict, "`header` is short for `from`: it cannot stand beside it")
            .hint("from: [{header: x-api-key}, {header: authorization, scheme: Bearer}]");
        fields.fault("header", fault);
        return None;
    }
    let (header, from) = (header?, from?);
    let by_header = || match header.unwrap_or_else(|| "x-api-key".into()) {
        name if &*name == "authorization" => vec![token_place::bearer()],
        name => vec![TokenPlace::Header { name, scheme: None }, token_place::bearer()],
    };
    Some(ApiKeys { from: from.unwrap_or_else(by_header) })
}
