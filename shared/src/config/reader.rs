//! Reading the merged tree against the declarations: each reader notes a problem and goes on. `None` always means that
//! the problem is already noted, or that nobody wrote the value and it has no default.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::field::{Kind, Section};
use super::fields::Fields;
use super::problem::{Code, Severity};
use super::report::{Fault, Reporter};
use super::tree::{Entry, Meaning, Node, Place, Scalar, Texts, Value};
use super::unit::{self, UnitError};
use super::{Percent, name};

/// What became of reading: none means that the problem is noted. Of a value that may be absent or switched off, that is
/// the inner none.
pub(super) type Read<T> = Option<T>;

/// A step of the config path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The config path that the steps make.
pub(super) fn show_path(steps: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if key.contains(['.', '[']) => {
                let _ = write!(text, "[\"{}\"]", shorten(key));
            }
            Step::Key(key) => {
                let dot = if text.is_empty() { "" } else { "." };
                let _ = write!(text, "{dot}{}", shorten(key));
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// The reading of one tree.
pub(super) struct Reader<'a> {
    pub(super) texts: &'a Texts,
    report: &'a mut Reporter,
    path: Vec<Step<'a>>,
    /// Which declared keys were asked for, for the test that none is declared in vain.
    #[cfg(test)]
    pub(super) asked: std::collections::BTreeSet<(&'static str, &'static str)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(texts: &'a Texts, report: &'a mut Reporter) -> Self {
        Self {
            texts,
            report,
            path: Vec::new(),
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    /// The config path of what is being read.
    pub(super) fn path(&self) -> String {
        show_path(&self.path)
    }

    pub(super) fn error(&mut self, place: Place, fault: Fault) {
        self.note(Severity::Error, place, fault);
    }

    pub(super) fn warn(&mut self, place: Place, fault: Fault) {
        self.note(Severity::Warning, place, fault);
    }

    fn note(&mut self, severity: Severity, place: Place, fault: Fault) {
        // The path is made before the reporter is borrowed; a full reporter does not want it.
        let path = if self.report.is_full() { String::new() } else { self.path() };
        self.report.note(severity, place, || path, fault);
    }

    /// Whether an error was noted so far.
    pub(super) fn failed(&self) -> bool {
        self.report.has_errors()
    }

    /// Reads under a key of a free map.
    pub(super) fn under<T>(&mut self, key: &'a str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Step::Key(key), read)
    }

    /// Reads under an index of a list.
    pub(super) fn at<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Step::Index(index), read)
    }

    /// Reads under a key of a section, whether it was written or not.
    pub(super) fn under_declared<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.step(Step::Key(key), read)
    }

    pub(super) fn step<T>(&mut self, step: Step<'a>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let found = read(self);
        self.path.pop();
        found
    }

    pub(super) fn wrong_type(&mut self, node: &Node<'_>, kind: &Kind) {
        let message = format!("expected {}, found {}", kind.noun(), node.kind_name());
        let fault = Fault::new(Code::WrongType, message);
        let instead = match &node.value {
            Value::Scalar(scalar) if !scalar.is_null() => kind.instead(&scalar.typed),
            Value::List(_) => kind.instead(""),
            Value::Scalar(_) | Value::Map(_) => None,
        };
        self.error(node.place, instead.map_or(fault.clone(), |instead| fault.hint(instead)));
    }

    /// A map with declared keys. Unknown keys are noted at once.
    pub(super) fn section(&mut self, node: &'a Node<'a>, section: &'static Section) -> Option<Fields<'_, 'a>> {
        let entries: &'a [Entry<'a>] = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(scalar) if scalar.is_null() => &[],
            Value::Scalar(_) | Value::List(_) => {
                self.wrong_type(node, &Kind::Section(section));
                return None;
            }
        };
        for entry in entries {
            if section.field(&entry.key).is_none() {
                self.unknown_key(entry, section);
            }
        }
        Some(Fields { reader: self, entries, section, place: node.place })
    }

    /// Reads a section that nobody wrote, for its defaults.
    pub(super) fn defaults<T>(
        &mut self,
        section: &'static Section,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Option<T> {
        read(&mut Fields { reader: self, entries: &[], section, place: Place::DEFAULT })
    }

    fn unknown_key(&mut self, entry: &'a Entry<'a>, section: &'static Section) {
        let place = entry.key_place;
        let shown = shorten(&entry.key);
        let fault = if &*entry.key == "<<" {
            Fault::new(Code::UnknownKey, "merge keys (`<<`) are not part of YAML 1.2")
                .hint("write the keys out, or give a whole value an anchor and repeat it with an alias")
        } else {
            let known: Vec<&str> = section.all().map(|field| field.key).collect();
            let fault = Fault::new(Code::UnknownKey, format!("unknown key `{shown}`"));
            match closest(&entry.key, known.iter().copied()) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint(format!("known keys here: {}", known.join(", "))),
            }
        };
        self.step(Step::Key(&entry.key), |reader| reader.error(place, fault));
    }

    /// A scalar's text with references resolved, or a sample where they cannot be.
    pub(super) fn text<'n>(&mut self, node: &'n Node<'_>, kind: &Kind) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(meant(scalar, kind)),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, kind);
                None
            }
        }
    }

    /// A scalar that must have some form.
    pub(super) fn parse<T>(
        &mut self,
        node: &Node<'_>,
        kind: &Kind,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        let text = self.text(node, kind)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(fault) => {
                // A hint may repeat a part of the value.
                let looked_up = node.has_resolved();
                let fault = if looked_up { fault.hint("the value behind the reference is not shown") } else { fault };
                self.error(node.place, fault);
                None
            }
        }
    }

    /// A method in upper case.
    pub(super) fn method(&mut self, node: &Node<'_>, kind: &Kind) -> Option<Arc<str>> {
        let method = self.parse(node, kind, name::method)?;
        if !node.has_resolved() {
            self.warn_misspelt(node.place, &method);
        }
        Some(method)
    }

    /// A method that is nearly a known one: what is written for it would hold for no request.
    pub(super) fn warn_misspelt(&mut self, place: Place, method: &str) {
        if METHODS.contains(&method) {
            return;
        }
        if let Some(near) = closest(method, METHODS.iter().copied()) {
            let message = format!("`{method}` is no known method: this holds for requests of that very name alone");
            self.warn(place, Fault::new(Code::UnknownName, message).hint(format!("did you mean `{near}`?")));
        }
    }

    pub(super) fn boolean(&mut self, node: &Node<'_>) -> Option<bool> {
        let fault = |hint: Option<&str>| {
            let fault = Fault::new(Code::WrongType, "expected `true` or `false`");
            hint.map_or(fault.clone(), |hint| fault.hint(hint))
        };
        let plain = matches!(
            &node.value,
            Value::Scalar(Scalar { plain: true, .. } | Scalar { meaning: Meaning::Resolved(_), .. })
        );
        self.parse(node, &Kind::Boolean, |text| match text {
            "true" | "True" | "TRUE" if plain => Ok(true),
            "false" | "False" | "FALSE" if plain => Ok(false),
            "true" | "false" => Err(fault(Some("write it without quotes"))),
            "on" | "yes" | "y" | "On" | "Yes" | "ON" | "YES" | "Y" => Err(fault(Some("write `true`"))),
            "off" | "no" | "n" | "Off" | "No" | "OFF" | "NO" | "N" => Err(fault(Some("write `false`"))),
            _ => Err(fault(None)),
        })
    }

    pub(super) fn integer(&mut self, node: &Node<'_>, kind: &Kind) -> Option<i64> {
        let bounds = if let Kind::Integer { min, max } = kind.scalar() { Some((*min, *max)) } else { None };
        let (min, max) = bounds.unwrap_or((i64::MIN, i64::MAX));
        self.parse(node, kind, |text| match unit::integer(text) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(_) | Err(UnitError::Overflow) => {
                Err(Fault::new(Code::OutOfRange, format!("this number must lie between {min} and {max}")))
            }
            Err(UnitError::Bare(_) | UnitError::Form) => Err(Fault::new(Code::WrongType, "expected a whole number")),
        })
    }

    pub(super) fn duration(&mut self, node: &Node<'_>, kind: &Kind) -> Option<Duration> {
        let bounds = if let Kind::Duration { min, max } = kind.scalar() { Some((*min, *max)) } else { None };
        let (least, most) = bounds.unwrap_or(("0s", "36500d"));
        self.parse(node, kind, |text| {
            let value = unit::duration(text)
                .map_err(|error| unit_fault(error, "a duration", "`250ms`, `10s`, `1m30s` or `24h`"))?;
            let (min, max) = (unit::duration(least).unwrap_or_default(), unit::duration(most).unwrap_or(Duration::MAX));
            in_bounds(value, (min, least), (max, most))
        })
    }

    pub(super) fn size(&mut self, node: &Node<'_>, kind: &Kind) -> Option<u64> {
        let bounds = if let Kind::Size { min, max } = kind.scalar() { Some((*min, *max)) } else { None };
        let (least, most) = bounds.unwrap_or(("0B", "1024TiB"));
        self.parse(node, kind, |text| {
            let value = unit::size(text).map_err(|error| unit_fault(error, "a size", "`512B`, `64KiB` or `10MiB`"))?;
            let (min, max) = (unit::size(least).unwrap_or_default(), unit::size(most).unwrap_or(u64::MAX));
            in_bounds(value, (min, least), (max, most))
        })
    }

    pub(super) fn percent(&mut self, node: &Node<'_>, kind: &Kind) -> Option<Percent> {
        let bounds = if let Kind::Percent { min, max } = kind.scalar() { Some((*min, *max)) } else { None };
        let (least, most) = bounds.unwrap_or(("0%", "100%"));
        self.parse(node, kind, |text| {
            let value = unit::percent(text).map_err(|error| match error {
                UnitError::Overflow => Fault::new(Code::OutOfRange, format!("this must be at most {most}")),
                UnitError::Bare(_) | UnitError::Form => unit_fault(error, "a percentage", "`20%` or `12.5%`"),
            })?;
            let (min, max) =
                (unit::percent(least).unwrap_or(Percent::of(0)), unit::percent(most).unwrap_or(Percent::ALL));
            in_bounds(value, (min, least), (max, most))
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node<'_>, kind: &Kind, words: &[(&str, T)]) -> Option<T> {
        self.parse(node, kind, |text| {
            if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            let fault = Fault::invalid(format!("expected {}", kind.noun()));
            Err(match closest(text, words.iter().map(|(word, _)| *word)) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault,
            })
        })
    }

    /// A list; each item is read, whatever became of the one before it.
    pub(super) fn list<T>(
        &mut self,
        node: &'a Node<'a>,
        kind: &Kind,
        mut read: impl FnMut(&mut Self, &'a Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            self.wrong_type(node, kind);
            return None;
        };
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(value) = self.at(index, |reader| read(reader, item)) {
                found.push(value);
            }
        }
        (found.len() == items.len()).then_some(found)
    }

    /// One value, or a list of them.
    pub(super) fn one_or_many<T>(
        &mut self,
        node: &'a Node<'a>,
        kind: &Kind,
        mut read: impl FnMut(&mut Self, &'a Node<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match node.value {
            Value::List(_) => self.list(node, kind, read),
            Value::Scalar(_) | Value::Map(_) => read(self, node).map(|value| vec![value]),
        }
    }

    /// A map with free names; each value is read.
    pub(super) fn map<T>(
        &mut self,
        node: &'a Node<'a>,
        kind: &Kind,
        mut read: impl FnMut(&mut Self, &'a Entry<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let entries: &'a [Entry<'a>] = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(_) | Value::List(_) => {
                self.wrong_type(node, kind);
                return None;
            }
        };
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(value) = self.under(&entry.key, |reader| read(reader, entry)) {
                found.push(value);
            }
        }
        (found.len() == entries.len()).then_some(found)
    }

    /// A path, relative to the folder of the text that names it.
    pub(super) fn file_path(&mut self, node: &Node<'_>, kind: &Kind) -> Option<PathBuf> {
        let folder = self.texts.folder(node.place).to_owned();
        self.parse(node, kind, |text| {
            if text.is_empty() || text.contains('\0') {
                return Err(Fault::invalid("this is not a path"));
            }
            Ok(folder.join(text))
        })
    }
}

/// Whether the node is this word, with or without quotes.
pub(super) fn is_word(node: &Node<'_>, word: &str) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if match &scalar.meaning {
        Meaning::AsTyped => &*scalar.typed == word,
        Meaning::Resolved(text) => &**text == word,
        Meaning::Unknown => false,
    })
}

/// What may be shown of a scalar: what was typed, bounded in length.
pub(super) fn shown(node: &Node<'_>) -> String {
    match &node.value {
        Value::Scalar(scalar) => shorten(&scalar.typed),
        Value::List(_) | Value::Map(_) => node.kind_name().to_owned(),
    }
}

/// Bounds a text that goes into a message.
pub(super) fn shorten(text: &str) -> String {
    const MAX: usize = 64;
    if text.chars().count() <= MAX {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(MAX).collect::<String>())
    }
}

/// RFC 9110 section 9 but CONNECT, and RFC 5789.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// The name that was probably meant.
pub(super) fn closest<'n>(typed: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if typed.len() > 128 {
        return None;
    }
    let lower = typed.to_ascii_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn unit_fault(error: UnitError, what: &str, examples: &str) -> Fault {
    match error {
        UnitError::Bare(likely) => Fault::new(Code::InvalidUnit, format!("{what} needs a unit"))
            .hint(format!("write `{likely}`, if that is meant")),
        UnitError::Form => {
            Fault::new(Code::InvalidUnit, format!("this is not {what}")).hint(format!("write it like {examples}"))
        }
        UnitError::Overflow => Fault::new(Code::OutOfRange, format!("this is too large for {what}")),
    }
}

/// Each bound comes as the value and as it is typed.
fn in_bounds<T: PartialOrd + Copy>(value: T, (min, least): (T, &str), (max, most): (T, &str)) -> Result<T, Fault> {
    if value < min {
        return Err(Fault::new(Code::OutOfRange, format!("this must be at least {least}")));
    }
    if value > max {
        return Err(Fault::new(Code::OutOfRange, format!("this must be at most {most}")));
    }
    Ok(value)
}

fn meant<'n>(scalar: &'n Scalar<'_>, kind: &Kind) -> &'n str {
    match &scalar.meaning {
        Meaning::AsTyped => &scalar.typed,
        Meaning::Resolved(text) => text,
        Meaning::Unknown => kind.scalar().sample(),
    }
}
