//! Reading what a route matches: path, hosts, headers and query. Which route wins is not decided here.

use std::sync::Arc;

use super::fields::Fields;
use super::problem::Code;
use super::reader::{Reader, is_word};
use super::report::Fault;
use super::routes::{CONDITION, VALUE_MATCH};
use super::tree::{Entry, Node, Value};
use super::{HeaderMatch, HostPattern, PathPattern, QueryMatch, ValueMatch, name, path, pattern, policy};

pub(super) fn read_path(fields: &mut Fields<'_, '_>) -> Option<PathPattern> {
    let keys = ["path", "exact", "regex"];
    let written: Vec<&Entry<'_>> = keys.iter().filter_map(|key| fields.written(key)).collect();
    if let [_, second, ..] = written.as_slice() {
        let fault = Fault::new(Code::Conflict, "a route has one of `path`, `exact` and `regex`")
            .hint("write a route for each; they may share an upstream");
        let place = second.key_place;
        fields.reader().error(place, fault);
    }
    let prefix = fields.get("path", |reader, node, field| reader.parse(node, &field.kind, path::literal));
    let exact = fields.get("exact", |reader, node, field| reader.parse(node, &field.kind, path::literal));
    let regex = fields.get("regex", |reader, node, field| reader.parse(node, &field.kind, pattern::compile));
    match written.len() {
        0 => Some(PathPattern::Prefix("/".into())),
        1 => prefix.map(PathPattern::Prefix).or(exact.map(PathPattern::Exact)).or(regex.map(PathPattern::Regex)),
        _ => None,
    }
}

pub(super) fn read_hosts(fields: &mut Fields<'_, '_>) -> Option<Vec<HostPattern>> {
    let hosts = fields.list_of("hosts", |reader, node, kind| {
        reader.parse(node, kind, |text| match text.strip_prefix("*.") {
            Some(rest) => name::host(rest).map(|rest| HostPattern::Wildcard(format!(".{rest}").into())),
            None if text == "*" => Err(Fault::invalid("`*` alone is every host").hint("leave `hosts` out")),
            None if text.contains('*') => {
                Err(Fault::invalid("a `*` stands for whole labels at the front").hint("hosts: [\"*.example.org\"]"))
            }
            None => name::host(text).map(HostPattern::Exact),
        })
    });
    hosts.map(without_repeats)
}

pub(super) fn without_repeats<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        // Host and method lists are short; a long one is still read, only its repeats stay.
        if kept.len() > 64 || !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

pub(super) fn read_headers(fields: &mut Fields<'_, '_>) -> Option<Vec<HeaderMatch>> {
    let Some(entry) = fields.written("headers") else { return Some(Vec::new()) };
    if is_word(&entry.value, "off") {
        return Some(Vec::new());
    }
    fields.get("headers", |reader, node, field| {
        let conditions = reader.map(node, &field.kind, |reader, entry| {
            if policy::is_edit(entry) {
                return Some(None);
            }
            let name = header_name(reader, entry)?;
            read_condition(reader, &entry.value).map(|value| Some(HeaderMatch { name, value }))
        })?;
        Some(conditions.into_iter().flatten().collect())
    })
}

/// Reads the conditions on headers under `headers`, where nothing stands beside them.
pub(super) fn read_conditions(fields: &mut Fields<'_, '_>) -> Option<Vec<HeaderMatch>> {
    if fields.written("headers").is_none() {
        return Some(Vec::new());
    }
    fields.get("headers", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            let name = header_name(reader, entry)?;
            read_condition(reader, &entry.value).map(|value| HeaderMatch { name, value })
        })
    })
}

fn header_name<'a>(reader: &mut Reader<'a>, entry: &'a Entry<'a>) -> Option<Arc<str>> {
    match name::header(&entry.key) {
        Ok(name) => Some(name),
        Err(fault) => {
            reader.error(entry.key_place, fault);
            None
        }
    }
}

pub(super) fn read_query(fields: &mut Fields<'_, '_>) -> Option<Vec<QueryMatch>> {
    if fields.written("query").is_none() {
        return Some(Vec::new());
    }
    fields.get("query", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            read_condition(reader, &entry.value).map(|value| QueryMatch { name: (&*entry.key).into(), value })
        })
    })
}

fn read_condition<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<ValueMatch> {
    let Value::Map(_) = &node.value else {
        return reader.text(node, &CONDITION).map(|text| ValueMatch::Exact(text.into()));
    };
    let mut fields = reader.section(node, &VALUE_MATCH)?;
    let written = (fields.written("present").is_some(), fields.written("regex").is_some());
    let present = fields.get("present", |reader, node, _| reader.boolean(node));
    let regex = fields.get("regex", |reader, node, field| reader.parse(node, &field.kind, pattern::compile));
    match written {
        (true, false) => present.map(ValueMatch::Present),
        (false, true) => regex.map(ValueMatch::Regex),
        _ => {
            let fault = Fault::new(Code::Conflict, "a condition has exactly one of `present` and `regex`")
                .hint("{present: true}, {regex: \"^2\"}, or the value itself");
            reader.error(node.place, fault);
            None
        }
    }
}
