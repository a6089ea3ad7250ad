//! What a token claims of somebody, and how claims are found in it.

mod strict;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

pub use strict::{ClaimsError, MOST_DEPTH};

/// A longer list is not sent.
const LONGEST_LIST: usize = 1024;

/// A JSON object of claims (RFC 7519 section 4).
#[derive(Clone, Default, PartialEq)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    /// Reads an object. A name that stands twice at any depth is refused: of two readers each could take another value.
    pub fn parse(json: &[u8]) -> Result<Self, ClaimsError> {
        strict::object(json).map(Self)
    }

    /// What stands at a path: steps apart by dots (`realm_access.roles`); a step that holds dots stands in double quotes
    /// (`"https://example.com/roles"`). A claim that is null is not there.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut steps = Steps(Some(path));
        let mut found = self.0.get(steps.next()?)?;
        for step in steps {
            found = found.as_object()?.get(step)?;
        }
        Some(found).filter(|value| !value.is_null())
    }

    /// A text, or a number or truth value told as one.
    pub fn text(&self, path: &str) -> Option<Cow<'_, str>> {
        text(self.get(path)?)
    }

    /// What somebody or something is called: a text, or a whole number that is told digit by digit. Of larger ones and of fractions
    /// several are one when they are read.
    pub fn name(&self, path: &str) -> Option<Cow<'_, str>> {
        match self.get(path)? {
            Value::Number(number) if number.is_f64() => None,
            value @ (Value::String(_) | Value::Number(_)) => text(value),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A claim as it is sent: a text, or of a list its texts apart by commas. One of them that would be read as two, or as another,
    /// is left out.
    pub fn told(&self, path: &str) -> Option<Cow<'_, str>> {
        if !self.get(path)?.is_array() {
            return self.text(path);
        }
        let is_one = |member: &String| {
            !member.is_empty()
                && member.trim().len() == member.len()
                && !member.chars().any(|c| c == ',' || c.is_control())
        };
        let members: Vec<String> = self.list(path).into_iter().filter(is_one).collect();
        let told = members.join(",");
        (!told.is_empty() && told.len() <= LONGEST_LIST).then_some(Cow::Owned(told))
    }

    /// The texts of an array, or the words of one text; empty where there is neither.
    pub fn list(&self, path: &str) -> Vec<String> {
        match self.get(path) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Some(Value::String(words)) => words.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(_) | None => Vec::new(),
        }
    }

    /// The texts of an array, or one whole text: whoever may write a text into a claim must not become several by it.
    pub fn names(&self, path: &str) -> Vec<String> {
        match self.get(path) {
            Some(Value::String(name)) => vec![name.clone()],
            _ => self.list(path),
        }
    }

    /// A number.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.get(path)?.as_f64()
    }

    /// Whether a claim is this text, or an array that holds it.
    pub fn holds(&self, path: &str, value: &str) -> bool {
        let same = |found: &Value| text(found).is_some_and(|text| text == value);
        match self.get(path) {
            Some(Value::Array(values)) => values.iter().any(same),
            Some(found) => same(found),
            None => false,
        }
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

/// Names alone: what stands in claims is nobody's business.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The steps of a path. A quote that nothing closes is part of its step.
struct Steps<'a>(Option<&'a str>);

impl<'a> Iterator for Steps<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.take()?;
        if let Some((step, after)) = rest.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            if after.is_empty() {
                return Some(step);
            }
            if let Some(after) = after.strip_prefix('.') {
                self.0 = Some(after);
                return Some(step);
            }
        }
        let (step, after) = rest.split_once('.').map_or((rest, None), |(step, after)| (step, Some(after)));
        self.0 = after;
        Some(step)
    }
}
