//! JSON read strictly: an object, without a name twice in any object, and not nested deeper than anybody means it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and arrays may lie in each other, the outermost one counted.
pub const MOST_DEPTH: u8 = 16;

/// Why it is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    #[error("not JSON")]
    Syntax,
    #[error("not an object")]
    NotAnObject,
    #[error("a name stands twice in one object")]
    Duplicate,
    #[error("nested too deep")]
    TooDeep,
}

/// One object, and nothing behind it.
pub(super) fn object(json: &[u8]) -> Result<Map<String, Value>, ClaimsError> {
    let fault = Rc::new(Cell::new(None));
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seed = Strict { depth: 0, fault: Rc::clone(&fault) };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ClaimsError::NotAnObject),
        Err(_) => Err(fault.get().unwrap_or(ClaimsError::Syntax)),
    }
}

/// A value at a depth. What is wrong but for the syntax is left in `fault`: serde's errors are only texts.
struct Strict {
    depth: u8,
    fault: Rc<Cell<Option<ClaimsError>>>,
}

impl Strict {
    fn below<E: Error>(&self) -> Result<Self, E> {
        if self.depth >= MOST_DEPTH {
            return Err(self.fail(ClaimsError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, fault: Rc::clone(&self.fault) })
    }

    fn fail<E: Error>(&self, fault: ClaimsError) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    fn again(&self) -> Self {
        Self { depth: self.depth, fault: Rc::clone(&self.fault) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| self.fail(ClaimsError::Syntax))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(below.again())? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(self.fail(ClaimsError::Duplicate));
            }
            let value = access.next_value_seed(below.again())?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
