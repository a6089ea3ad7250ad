//! The JSON Schema (draft 2020-12) of the config language, from the same declarations that configs are read by.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::effective::default_value;
use super::field::{Field, Kind, Section};
use super::root::ROOT;

/// The schema of a whole config.
pub(super) fn schema() -> Value {
    let mut defs = BTreeMap::new();
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!("proxyd config"));
    if let Value::Object(root) = section(&ROOT, &mut defs) {
        schema.extend(root);
    }
    let reference = json!({
        "description": "A value from outside: `${env:NAME}` or `${file:PATH}`.",
        "type": "string",
        "pattern": "\\$\\{(env|file):"
    });
    defs.insert("reference".to_owned(), reference);
    schema.insert("$defs".to_owned(), defs.into_iter().collect());
    Value::Object(schema)
}

type Defs = BTreeMap<String, Value>;

fn section(section: &'static Section, defs: &mut Defs) -> Value {
    let mut properties = Map::new();
    for field in section.all() {
        properties.insert(field.key.to_owned(), property(field, defs));
    }
    let required: Vec<&str> = section.all().filter(|field| field.required).map(|field| field.key).collect();
    let mut schema = Map::new();
    schema.insert("description".to_owned(), json!(section.doc));
    // A key with nothing behind it is an empty section, unless it must have keys.
    schema.insert("type".to_owned(), if required.is_empty() { json!(["object", "null"]) } else { json!("object") });
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    Value::Object(schema)
}

fn property(field: &'static Field, defs: &mut Defs) -> Value {
    let mut schema = Map::new();
    schema.insert("description".to_owned(), json!(field.doc));
    if let Some(default) = field.default {
        schema.insert("default".to_owned(), default_value(default));
    }
    if let Value::Object(kind) = kind(&field.kind, defs) {
        schema.extend(kind);
    }
    Value::Object(schema)
}

fn kind(of: &'static Kind, defs: &mut Defs) -> Value {
    let reference = json!({"$ref": "#/$defs/reference"});
    match of {
        Kind::Text { .. } | Kind::Secret { .. } => json!({"type": "string"}),
        Kind::Word { .. } => json!({"type": ["string", "number", "boolean"]}),
        Kind::Boolean => json!({"anyOf": [{"type": "boolean"}, reference]}),
        Kind::Integer { min, max } => {
            json!({"anyOf": [{"type": "integer", "minimum": min, "maximum": max}, reference]})
        }
        Kind::Duration { .. } => {
            json!({"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}, reference]})
        }
        Kind::Size { .. } => {
            json!({"anyOf": [{"type": "string", "pattern": "^[0-9]+ *([KkMmGgTt][Ii]?)?[Bb]$"}, reference]})
        }
        Kind::Percent { .. } => {
            json!({"anyOf": [{"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,2})?%$"}, reference]})
        }
        Kind::Choice(words) => {
            // As YAML takes them where they are written without quotes.
            let numbers = words.iter().filter_map(|word| match word.parse::<u64>() {
                Ok(whole) => Some(Value::from(whole)),
                Err(_) => word.parse::<f64>().ok().map(Value::from),
            });
            let words: Vec<Value> = words.iter().map(|word| json!(word)).chain(numbers).collect();
            json!({"anyOf": [{"enum": words}, reference]})
        }
        Kind::Or(word, inner) => json!({"anyOf": [{"const": word}, kind(inner, defs)]}),
        Kind::List(item) => json!({"type": "array", "items": kind(item, defs)}),
        Kind::OneOrMany(item) => {
            let item = kind(item, defs);
            json!({"anyOf": [item.clone(), {"type": "array", "items": item}]})
        }
        Kind::Map(item) => json!({"type": "object", "additionalProperties": kind(item, defs)}),
        Kind::Section(inner) => place(inner, defs),
        Kind::Short(short, inner) => json!({"anyOf": [kind(short, defs), place(inner, defs)]}),
    }
}

/// A reference to the definition of a section, which is made the first time.
fn place(inner: &'static Section, defs: &mut Defs) -> Value {
    let name: String =
        inner.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '.' }).collect();
    let name = name.replace("..", "").trim_matches('.').to_owned();
    if !defs.contains_key(&name) {
        defs.insert(name.clone(), Value::Null);
        let schema = section(inner, defs);
        defs.insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}
