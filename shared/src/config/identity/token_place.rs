//! `from`: where credentials are looked for.

use std::sync::Arc;

use super::TokenPlace;
use super::jwt::word;
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader};
use crate::config::report::Fault;
use crate::config::tree::Node;

/// The most places that one provider looks at.
const MAX_PLACES: usize = 8;

static PLACE: Section = Section {
    name: "identity.from[]",
    doc: "One place where credentials are looked for: exactly one of `header`, `cookie` and `query`.",
    fields: &[&[
        Field::new("header", HEADER, "In this header."),
        Field::new(
            "scheme",
            Kind::Text { what: "a scheme such as `Bearer`", sample: "Bearer" },
            "Behind this word in the header. The default is `Bearer` for `authorization`, and none for any other header: there the whole value is meant.",
        ),
        Field::new("cookie", Kind::Text { what: "the name of a cookie", sample: "sample" }, "In this cookie."),
        Field::new(
            "query",
            Kind::Word { what: "the name of a query parameter", sample: "access_token" },
            "In this query parameter (a warning: addresses are logged on the way, and kept by browsers).",
        ),
    ]],
};

/// How `from` is written.
pub(super) const FROM: Kind = Kind::OneOrMany(&Kind::Section(&PLACE));

/// `Authorization: Bearer`.
pub(super) fn bearer() -> TokenPlace {
    TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) }
}

/// Reads `from`; where nobody wrote it, none.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Read<Option<Vec<TokenPlace>>> {
    let places = fields.list_of("from", |reader, node, _| place(reader, node))?;
    if fields.written("from").is_none() {
        return Some(None);
    }
    if places.is_empty() || places.len() > MAX_PLACES {
        let fault = Fault::invalid(format!("credentials stand in 1 to {MAX_PLACES} places"))
            .hint("from: [{header: authorization, scheme: Bearer}]");
        fields.fault("from", fault);
        return None;
    }
    if places.iter().enumerate().any(|(index, place)| places.iter().take(index).any(|earlier| earlier == place)) {
        fields.fault("from", Fault::new(Code::DuplicateName, "a place is named twice here"));
        return None;
    }
    Some(Some(places))
}

fn place<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<TokenPlace> {
    let mut fields = reader.section(node, &PLACE)?;
    let written = ["header", "cookie", "query"].iter().filter(|key| fields.written(key).is_some()).count();
    let header = fields.get("header", |reader, node, field| reader.parse(node, &field.kind, token_header));
    let scheme = fields.optional("scheme", |reader, node, field| {
        reader.parse(node, &field.kind, |text| {
            if name::is_token(text) {
                return Ok(Arc::<str>::from(text));
            }
            Err(Fault::invalid("this is not a scheme").hint("a scheme is one word, such as `Bearer`"))
        })
    })?;
    let cookie = fields.get("cookie", |reader, node, field| reader.parse(node, &field.kind, name::cookie));
    let query = fields.get("query", |reader, node, field| {
        let name = word(reader, node, &field.kind)?;
        warn_query(reader, node);
        Some(name)
    });
    if written != 1 {
        let fault = Fault::new(Code::Conflict, "a place has exactly one of `header`, `cookie` and `query`")
            .hint("{header: authorization, scheme: Bearer}, {cookie: NAME} or {query: NAME}");
        reader.error(node.place, fault);
        return None;
    }
    if scheme.is_some() && header.is_none() && node.get("header").is_none() {
        let fault = Fault::new(Code::Conflict, "only a header has a `scheme`").hint("remove `scheme`");
        reader.error(node.place, fault);
        return None;
    }
    if let Some(name) = header {
        let scheme = scheme.or_else(|| (&*name == "authorization").then(|| "Bearer".into()));
        return Some(TokenPlace::Header { name, scheme });
    }
    cookie.map(TokenPlace::Cookie).or(query.map(TokenPlace::Query))
}

/// A header that credentials may stand in.
pub(super) fn token_header(text: &str) -> Result<Arc<str>, Fault> {
    let name = name::editable_header(text)?;
    if &*name == "cookie" {
        return Err(Fault::invalid("a cookie is named by its own name").hint("{cookie: NAME}"));
    }
    Ok(name)
}

fn warn_query(reader: &mut Reader<'_>, node: &Node<'_>) {
    let message = "credentials in a query are seen by everyone who logs addresses, and kept by browsers";
    reader.warn(
        node.place,
        Fault::new(Code::ClearSecret, message)
            .hint("take them from a header or a cookie where you can; our own logs mask them, others do not"),
    );
}
