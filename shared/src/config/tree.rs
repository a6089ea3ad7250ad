//! The raw tree: what was typed, with the place of every node. It knows nothing of what the keys mean.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Origin, Source};

/// Where a node stands: a text of [`Texts`], a line and column in it (from 1, in characters), and how many characters
/// of that line are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) text: u32,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) length: u32,
}

impl Place {
    /// The place of values that nobody wrote.
    pub(super) const DEFAULT: Self = Self { text: 0, line: 0, column: 0, length: 0 };

    /// A text as a whole.
    pub(super) fn whole(text: u32) -> Self {
        Self { text, line: 0, column: 0, length: 0 }
    }
}

/// One text that takes part in the config.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    pub(super) source: Source,
    /// What relative paths in it are relative to.
    pub(super) folder: PathBuf,
    /// Files are quoted in problems; overrides are not: shells and process lists are where secrets hide.
    pub(super) quotable: Option<Arc<str>>,
}

/// All texts, by the number that a [`Place`] carries. The first is nobody's: the defaults.
#[derive(Clone, Debug)]
pub(super) struct Texts(Vec<Origins>);

impl Texts {
    pub(super) fn new() -> Self {
        Self(vec![Origins { source: Source::Default, folder: PathBuf::new(), quotable: None }])
    }

    pub(super) fn add(&mut self, text: Origins) -> u32 {
        self.0.push(text);
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    fn get(&self, place: Place) -> Option<&Origins> {
        self.0.get(place.text as usize)
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        let source = self.get(place).map_or(Source::Default, |text| text.source.clone());
        match source {
            Source::File(_) => Origin { source, line: place.line, column: place.column },
            // A line inside a variable helps nobody.
            Source::Default | Source::Environment(_) | Source::CommandLine(_) => Origin { source, line: 0, column: 0 },
        }
    }

    pub(super) fn folder(&self, place: Place) -> &Path {
        self.get(place).map_or(Path::new(""), |text| &text.folder)
    }

    pub(super) fn quotable(&self, place: Place) -> Option<&Arc<str>> {
        self.get(place).and_then(|text| text.quotable.as_ref())
    }
}

/// One node of the tree. Its texts are pieces of the sources, wherever they stand there as they are meant.
#[derive(Clone, Debug)]
pub(super) struct Node<'s> {
    pub(super) value: Value<'s>,
    pub(super) place: Place,
}

/// What stands at a node.
#[derive(Clone, Debug)]
pub(super) enum Value<'s> {
    Scalar(Scalar<'s>),
    List(Vec<Node<'s>>),
    Map(Vec<Entry<'s>>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<'s> {
    pub(super) key: Cow<'s, str>,
    pub(super) key_place: Place,
    pub(super) value: Node<'s>,
}

/// Text as typed; what it means is decided where it is read.
#[derive(Clone, Debug)]
pub(super) struct Scalar<'s> {
    pub(super) typed: Cow<'s, str>,
    /// Written without quotes: only such a scalar can be null, a boolean or a number.
    pub(super) plain: bool,
    pub(super) meaning: Meaning,
}

/// What the references in a scalar became.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// There are none.
    AsTyped,
    /// The text with every reference replaced: never to be shown.
    Resolved(Box<str>),
    /// A reference could not be looked up and that is allowed: whatever reads it takes a sample instead.
    Unknown,
}

impl Scalar<'_> {
    /// Null in the core schema of YAML 1.2 (10.3.2).
    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(&*self.typed, "" | "~" | "null" | "Null" | "NULL")
    }
}

impl<'s> Node<'s> {
    pub(super) fn map(entries: Vec<Entry<'s>>, place: Place) -> Self {
        Self { value: Value::Map(entries), place }
    }

    /// A scalar that nobody wrote, as it would have been typed without quotes.
    pub(super) fn default_scalar(text: &'static str) -> Self {
        let scalar = Scalar { typed: text.into(), plain: true, meaning: Meaning::AsTyped };
        Self { value: Value::Scalar(scalar), place: Place::DEFAULT }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// Whether a reference was looked up in it or below.
    pub(super) fn has_resolved(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => !matches!(scalar.meaning, Meaning::AsTyped),
            Value::List(items) => items.iter().any(Self::has_resolved),
            Value::Map(entries) => entries.iter().any(|entry| entry.value.has_resolved()),
        }
    }

    /// What this is called when something else was expected.
    pub(super) fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
        }
    }

    /// The value under `key`, where this is a map.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'s>> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value),
            Value::List(_) | Value::Scalar(_) => None,
        }
    }

    /// The same with texts of its own.
    pub(super) fn into_owned(self) -> Node<'static> {
        let value = match self.value {
            Value::Scalar(Scalar { typed, plain, meaning }) => {
                Value::Scalar(Scalar { typed: typed.into_owned().into(), plain, meaning })
            }
            Value::List(items) => Value::List(items.into_iter().map(Node::into_owned).collect()),
            Value::Map(entries) => Value::Map(entries.into_iter().map(Entry::into_owned).collect()),
        };
        Node { value, place: self.place }
    }
}

impl Entry<'_> {
    fn into_owned(self) -> Entry<'static> {
        Entry { key: self.key.into_owned().into(), key_place: self.key_place, value: self.value.into_owned() }
    }
}
