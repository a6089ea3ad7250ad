//! `config show`: the effective tree as YAML, with where each value came from beside it.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;
use shared::control::report::ConfigShown;

use super::text::{json_line, plain};

/// A tree as text. It loads again as a config, but for what is masked.
pub(crate) fn shown(told: &ConfigShown) -> String {
    let origins: HashMap<&str, &str> =
        told.origins.iter().map(|(path, origin)| (path.as_str(), origin.as_str())).collect();
    let mut out = String::new();
    if let Some(generation) = told.generation {
        let _ = writeln!(out, "# generation {generation}");
    }
    let mut writer = Writer { origins, out };
    writer.block(&told.config, "", 0, false);
    writer.out
}

struct Writer<'a> {
    origins: HashMap<&'a str, &'a str>,
    out: String,
}

impl Writer<'_> {
    /// What stands under a key, from a new line on; or behind a dash, where `after_dash`.
    fn block(&mut self, value: &Value, path: &str, depth: usize, after_dash: bool) {
        match value {
            Value::Object(object) => {
                for (at, (key, value)) in object.iter().enumerate() {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    if at == 0 && after_dash {
                        self.out.push(' ');
                    } else {
                        self.indent(depth);
                    }
                    self.out.push_str(&scalar_text(key));
                    self.out.push(':');
                    self.after(value, &path, depth + 1);
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    self.indent(depth);
                    self.out.push('-');
                    if item.as_object().is_some_and(|object| !object.is_empty()) {
                        self.block(item, &path, depth + 1, true);
                    } else {
                        self.after(item, &path, depth + 1);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.after(value, path, depth),
        }
    }

    /// What follows `key:` or `-`.
    fn after(&mut self, value: &Value, path: &str, depth: usize) {
        let scalar = match value {
            Value::Object(object) if !object.is_empty() => None,
            Value::Array(items) if !items.is_empty() => None,
            Value::Object(_) => Some("{}".to_owned()),
            Value::Array(_) => Some("[]".to_owned()),
            Value::String(text) => Some(scalar_text(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        };
        if let Some(scalar) = &scalar {
            self.out.push(' ');
            self.out.push_str(scalar);
        }
        if let Some(origin) = self.origins.get(path) {
            let _ = write!(self.out, "  # {}", plain(origin));
        }
        self.out.push('\n');
        if scalar.is_none() {
            self.block(value, path, depth, false);
        }
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth {
            self.out.push_str("  ");
        }
    }
}

/// A text as YAML: bare where every YAML reader takes it for that text, else quoted as JSON, which is YAML too.
fn scalar_text(text: &str) -> String {
    // `10s`, `8KiB`: a number's beginning and no number. (`0x1f` is one to some readers.)
    let with_unit = text.starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with('0')
        && text.ends_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric());
    let first_is_safe = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '.' | '_'));
    let rest_is_safe =
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ':' | ' ' | '='));
    let no_mark = !text.contains(": ") && !text.ends_with([':', ' ']);
    let word = text.to_ascii_lowercase();
    let other_meaning =
        matches!(word.as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "y" | "n" | ".nan" | ".inf" | "...")
            || word.parse::<f64>().is_ok();
    // `off` is this config language's own word and is the same bare and quoted.
    let bare = (first_is_safe || with_unit) && rest_is_safe && no_mark && !other_meaning;
    if bare { text.to_owned() } else { json_line(&Value::String(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: Value, expected: &str) {
        let told = ConfigShown { generation: None, config, origins: vec![("a".into(), "x.yaml:1:4".into())] };
        assert_eq!(shown(&told), expected);
    }

    #[test]
    fn trees_become_yaml() {
        check(json!({ "a": 1, "b": { "c": [], "d": {} } }), "a: 1  # x.yaml:1:4\nb:\n  c: []\n  d: {}\n");
        check(json!({ "b": [{ "c": "x", "d": null }, 2] }), "b:\n  - c: x\n    d: null\n  - 2\n");
    }

    #[test]
    fn texts_stay_the_texts_they_are() {
        let texts = [
            "10s",
            "0x1f",
            "1e3",
            "off",
            "no",
            "true",
            "1.5",
            "a: b",
            "a #b",
            "",
            "*",
            "/api/",
            "\u{1b}x",
            "http://h:1",
        ];
        let shown = texts.map(scalar_text);
        let expected = [
            "10s",
            "\"0x1f\"",
            "\"1e3\"",
            "off",
            "\"no\"",
            "\"true\"",
            "\"1.5\"",
            "\"a: b\"",
            "\"a #b\"",
            "\"\"",
            "\"*\"",
            "/api/",
            "\"\\u001bx\"",
            "http://h:1",
        ];
        assert_eq!(shown, expected);
    }
}
