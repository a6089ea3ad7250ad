//! The policy `headers`: edits of what is sent upstream and of what goes back to the client.

use std::collections::HashSet;
use std::sync::Arc;

use crate::audit::Mask;
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::log::HEADER;
use crate::config::name;
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::{Entry, Node, Value};

/// `headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub request: HeaderEdits,
    pub response: HeaderEdits,
}

/// In this order: remove, then set, then add.
pub type HeaderEdits = Vec<HeaderEdit>;

/// One edit. Names are lower case and never those that frame a message or belong to one hop; values are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    Remove(Arc<str>),
    Set(Arc<str>, Arc<str>),
    Add(Arc<str>, Arc<str>),
}

const VALUES: Kind = Kind::Map(&Kind::OneOrMany(&Kind::Word { what: "the value of a header", sample: "sample" }));

pub(super) static EDITS: Section = Section {
    name: "headers.request",
    doc: "Edits of one direction, in this order: remove, set, add; `headers.response` has the same keys. Headers that frame a message or belong to one connection cannot be edited.",
    fields: &[EDIT_FIELDS],
};

/// The keys of edits.
pub(in crate::config) const EDIT_FIELDS: &[Field] = &[
    Field::new("set", VALUES, "Headers put in place of whatever was there."),
    Field::new("add", VALUES, "Headers put beside whatever was there; a list adds several."),
    Field::new("remove", Kind::OneOrMany(&HEADER), "Headers taken away."),
];

/// The declaration of the policy.
pub(super) static HEADERS: Section = Section {
    name: "headers",
    doc: "Edits of what is sent upstream and of what goes back to the client.",
    fields: &[&[
        Field::new("request", Kind::Section(&EDITS), "What the upstream sees."),
        Field::new("response", Kind::Section(&EDITS), "What the client sees."),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Headers> {
    let mut fields = reader.section(node, &HEADERS)?;
    let request = fields.section("request", read_edits);
    let response = fields.section("response", read_edits);
    Some(Headers { request: request?, response: response? })
}

/// Whether this entry of a route's `headers` is an edit: there, the conditions on request headers stand beside them.
pub(in crate::config) fn is_edit(entry: &Entry<'_>) -> bool {
    let Value::Map(entries) = &entry.value.value else { return false };
    let only_edits = entries.iter().all(|entry| EDIT_FIELDS.iter().any(|field| field.key == &*entry.key));
    matches!(&*entry.key, "request" | "response")
        && (only_edits || entry.value.get("present").or(entry.value.get("regex")).is_none())
}

/// Reads the edits in a route's `headers`.
pub(super) fn read_on_route<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Headers> {
    let mut headers = Some(Headers::default());
    let Value::Map(entries) = &node.value else { return headers };
    for entry in entries.iter().filter(|entry| is_edit(entry)) {
        let edits = reader.under(&entry.key, |reader| {
            let mut fields = reader.section(&entry.value, &EDITS)?;
            read_edits(&mut fields)
        });
        headers = headers.zip(edits).map(|(headers, edits)| match &*entry.key {
            "request" => Headers { request: edits, ..headers },
            _ => Headers { response: edits, ..headers },
        });
    }
    headers
}

fn read_edits(fields: &mut Fields<'_, '_>) -> Option<HeaderEdits> {
    let remove = fields.list_of("remove", |reader, node, kind| reader.parse(node, kind, name::editable_header));
    let set = read_values(fields, "set");
    let add = read_values(fields, "add");
    let mut edits: HeaderEdits = remove?.into_iter().map(HeaderEdit::Remove).collect();
    for (name, values) in set? {
        let mut values = values.into_iter();
        // A list under `set` means: these, and none of the earlier ones.
        edits.extend(values.next().map(|value| HeaderEdit::Set(Arc::clone(&name), value)));
        edits.extend(values.map(|value| HeaderEdit::Add(Arc::clone(&name), value)));
    }
    for (name, values) in add? {
        edits.extend(values.into_iter().map(|value| HeaderEdit::Add(Arc::clone(&name), value)));
    }
    Some(edits)
}

type Values = Vec<(Arc<str>, Vec<Arc<str>>)>;

fn read_values(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Values> {
    if fields.written(key).is_none() {
        return Some(Vec::new());
    }
    fields.get(key, |reader, node, field| {
        let Kind::Map(value_kind) = &field.kind else { return None };
        let mut seen = HashSet::new();
        reader.map(node, &field.kind, |reader, entry| {
            let name = match name::editable_header(&entry.key) {
                Ok(name) => name,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            if !seen.insert(Arc::clone(&name)) {
                reader.error(
                    entry.key_place,
                    Fault::new(Code::DuplicateKey, "this header is named twice here; case does not tell headers apart"),
                );
                return None;
            }
            let values = reader.one_or_many(&entry.value, value_kind, |reader, node| {
                if is_clear_secret(&name, node) {
                    let fault = Fault::new(Code::ClearSecret, "this secret is written in clear")
                        .hint("take it from outside: `${env:NAME}` or `${file:/run/secrets/name}`");
                    reader.warn(node.place, fault);
                }
                reader.parse(node, value_kind.scalar(), name::header_value)
            })?;
            Some((name, values))
        })
    })
}

/// Whether a header that carries credentials is given its value here.
pub(in crate::config) fn is_clear_secret(name: &str, node: &Node<'_>) -> bool {
    // A cookie that is set for the client is no secret of ours.
    Mask::default().hides_header(name) && name != "set-cookie" && !node.has_resolved()
}
