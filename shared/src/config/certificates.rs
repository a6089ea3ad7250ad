//! Policies that look at client certificates, where no listener asks for one.

use super::Listen;
use super::problem::Code;
use super::reader::{Reader, is_word};
use super::report::Fault;
use super::tree::{Entry, Node, Value};

/// What to do about it.
pub(super) const HINT: &str =
    "name who signs them under `server.listen`: `tls: {certificates: […], client_ca: clients.pem}`";

/// Whether a listener asks clients for certificates.
pub(super) fn are_asked_for(listen: &[Listen]) -> bool {
    listen.iter().any(|listen| listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()))
}

/// Looks through the policies at the top level and on routes.
pub(super) fn check<'a>(reader: &mut Reader<'a>, entries: &'a [Entry<'a>], listen: &[Listen]) {
    if are_asked_for(listen) {
        return;
    }
    policies(reader, entries);
    for entry in entries.iter().filter(|entry| &*entry.key == "routes") {
        each(reader, entry, |reader, route| {
            if let Value::Map(entries) = &route.value {
                policies(reader, entries);
            }
        });
    }
}

fn policies<'a>(reader: &mut Reader<'a>, entries: &'a [Entry<'a>]) {
    for entry in entries {
        match &*entry.key {
            "access" => reader.under("access", |reader| access(reader, &entry.value)),
            "rate_limit" => each(reader, entry, rule),
            _ => {}
        }
    }
}

fn access<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) {
    let Some(certificates) = node.get("certificates") else { return };
    // An empty list was told already.
    if matches!(&certificates.value, Value::List(items) if items.is_empty()) {
        return;
    }
    let fault =
        Fault::new(Code::MissingKey, "no listener asks for client certificates: nobody could come in here").hint(HINT);
    reader.under("certificates", |reader| reader.error(certificates.place, fault));
}

fn rule<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) {
    let Value::Map(entries) = &node.value else { return };
    for entry in entries.iter().filter(|entry| &*entry.key == "by") {
        each(reader, entry, |reader, key| {
            if is_word(key, "certificate") {
                let message = "no listener asks for client certificates: this key is never known";
                reader.warn(key.place, Fault::new(Code::Unused, message).hint(HINT));
            }
        });
    }
}

/// Visits one value, or each of a list.
fn each<'a>(reader: &mut Reader<'a>, entry: &'a Entry<'a>, mut visit: impl FnMut(&mut Reader<'a>, &'a Node<'a>)) {
    reader.under(&entry.key, |reader| match &entry.value.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                reader.at(index, |reader| visit(reader, item));
            }
        }
        Value::Scalar(_) | Value::Map(_) => visit(reader, &entry.value),
    });
}
