//! The effective tree for showing: what was written with the defaults filled in, and where each value came from. Secrets
//! are masked, references stay as typed.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::excerpt::is_secret_key;
use super::field::{Field, Kind, Section};
use super::merge::merge;
use super::report::Reporter;
use super::root::ROOT;
use super::routes::ROUTE;
use super::source::Input;
use super::tree::{Node, Scalar, Texts, Value};
use super::{Effective, Origin, Route};
use crate::audit::Mask;

/// Builds the tree of a config that was found good. References are left alone: they are shown as typed.
pub(super) fn of(input: &Input, routes: &[Route]) -> Effective {
    let mut texts = Texts::new();
    // Nothing is noted in it: the texts were found good.
    let tree = merge(input, &mut texts, &mut Reporter::default());
    let mut walk = Walk { texts: &texts, routes, path: String::new(), origins: Vec::new() };
    let tree = walk.section(Some(&tree), &ROOT);
    Effective { tree, origins: walk.origins }
}

/// A default as it would be typed, as JSON.
pub(super) fn default_value(text: &str) -> Json {
    match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(items) => items.split(", ").filter(|item| !item.is_empty()).map(plain).collect(),
        None => plain(text.trim_matches('"')),
    }
}

/// What a scalar without quotes is in JSON.
fn plain(text: &str) -> Json {
    match text {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        // A leading zero, as in permission bits, is not a number to be shown without it.
        _ if text.len() > 1 && text.starts_with('0') => Json::from(text),
        _ => text.parse::<i64>().map_or_else(|_| Json::from(text), Json::from),
    }
}

struct Walk<'a> {
    texts: &'a Texts,
    routes: &'a [Route],
    path: String,
    origins: Vec<(String, Origin)>,
}

impl Walk<'_> {
    fn section(&mut self, node: Option<&Node<'_>>, section: &'static Section) -> Json {
        let is_route = std::ptr::eq(section, &raw const ROUTE);
        let mut tree = Map::with_capacity(section.all().count());
        for (group, fields) in section.fields.iter().enumerate() {
            for field in *fields {
                let shown = self.below(Some(field.key), |walk| match node.and_then(|node| node.get(field.key)) {
                    // Of a declared key the declaration says whether it holds a secret.
                    Some(value) => Some(walk.value(value, &field.kind, false)),
                    // What a route does not say about policies it inherits.
                    None if is_route && group > 0 => None,
                    None => walk.absent(field, is_route),
                });
                if let Some(shown) = shown {
                    tree.insert(field.key.to_owned(), shown);
                }
            }
        }
        Json::Object(tree)
    }

    fn absent(&mut self, field: &'static Field, is_route: bool) -> Option<Json> {
        if field.filled {
            return field.kind.section().map(|section| self.section(None, section));
        }
        if is_route && field.key == "name" {
            let index =
                self.path.strip_prefix("routes[").and_then(|rest| rest.split_once(']'))?.0.parse::<usize>().ok()?;
            let name = self.routes.get(index)?.name.to_string();
            return Some(self.leaf(Json::from(name), Origin::default_value()));
        }
        let value = default_value(field.default?);
        Some(self.leaf(value, Origin::default_value()))
    }

    fn value(&mut self, node: &Node<'_>, kind: &'static Kind, secret: bool) -> Json {
        let origin = self.texts.origin(node.place);
        match &node.value {
            Value::Scalar(scalar) => {
                if let (Kind::Section(section), true) = (kind, scalar.is_null()) {
                    return self.section(None, section);
                }
                let shown = if secret || matches!(kind, Kind::Secret { .. }) {
                    masked(scalar)
                } else if scalar.is_null() {
                    Json::Null
                } else if scalar.plain {
                    plain(&scalar.typed)
                } else {
                    Json::from(&*scalar.typed)
                };
                self.leaf(shown, origin)
            }
            Value::List(items) if items.is_empty() => self.leaf(Json::Array(Vec::new()), origin),
            Value::List(items) => {
                let item_kind = kind.item();
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let before = self.path.len();
                    let _ = write!(self.path, "[{index}]");
                    list.push(self.value(item, item_kind, secret));
                    self.path.truncate(before);
                }
                Json::Array(list)
            }
            Value::Map(entries) => {
                if let Some(item_kind) = kind.map_item() {
                    let mut tree = Map::new();
                    for entry in entries {
                        // The names of things, such as upstreams, hide nothing.
                        let names_things = matches!(item_kind, Kind::Section(_));
                        let secret = secret || (!names_things && is_secret_key(&entry.key));
                        let shown = self.below(Some(&entry.key), |walk| walk.value(&entry.value, item_kind, secret));
                        tree.insert(entry.key.to_string(), shown);
                    }
                    if tree.is_empty() {
                        return self.leaf(Json::Object(tree), origin);
                    }
                    return Json::Object(tree);
                }
                match kind.section() {
                    Some(section) => self.section(Some(node), section),
                    None => self.leaf(Json::Null, origin),
                }
            }
        }
    }

    fn leaf(&mut self, value: Json, origin: Origin) -> Json {
        self.origins.push((self.path.clone(), origin));
        value
    }

    fn below<T>(&mut self, key: Option<&str>, walk: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        match key {
            Some(key) if key.contains(['.', '[']) => {
                let _ = write!(self.path, "[\"{key}\"]");
            }
            Some(key) => {
                let dot = if self.path.is_empty() { "" } else { "." };
                let _ = write!(self.path, "{dot}{key}");
            }
            None => {}
        }
        let found = walk(self);
        self.path.truncate(before);
        found
    }
}

fn masked(scalar: &Scalar<'_>) -> Json {
    let is_reference = scalar.typed.starts_with("${") && scalar.typed.ends_with('}');
    if is_reference { Json::from(&*scalar.typed) } else { Json::from(Mask::hidden(scalar.typed.len())) }
}
