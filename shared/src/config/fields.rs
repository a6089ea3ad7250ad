//! The keys of one section as they were written, with the declaration beside them: absent ones fall back to their
//! defaults, required ones are missed.

use std::time::Duration;

use super::Percent;
use super::field::{Field, Kind, Section};
use super::problem::Code;
use super::reader::{Read, Reader, Step, closest, is_word};
use super::report::Fault;
use super::tree::{Entry, Node, Place, Value};

/// The keys of one section that were written, with the declaration beside them.
pub(super) struct Fields<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) entries: &'a [Entry<'a>],
    pub(super) section: &'static Section,
    pub(super) place: Place,
}

impl<'a> Fields<'_, 'a> {
    pub(super) fn reader(&mut self) -> &mut Reader<'a> {
        self.reader
    }

    /// What was written under the key.
    pub(super) fn written(&self, key: &str) -> Option<&'a Entry<'a>> {
        debug_assert!(self.section.field(key).is_some(), "{key} is not declared in {}", self.section.name);
        self.entries.iter().find(|entry| &*entry.key == key)
    }

    /// Reads what was written under `key`. A required key that is missing is noted.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &'a Node<'a>, &'static Field) -> Option<T>,
    ) -> Option<T> {
        let field = self.declared(key)?;
        if let Some(entry) = self.written(key) {
            return self.reader.under(&entry.key, |reader| read(reader, &entry.value, field));
        }
        if field.required && !self.is_misspelt(key) {
            // The words are few, and say more than what they are for.
            let is_choice = matches!(field.kind, Kind::Choice(_));
            let words = if is_choice { format!("write {}: ", field.kind.noun()) } else { String::new() };
            let hint = format!("{words}{}", field.doc);
            let fault = Fault::new(Code::MissingKey, format!("the key `{key}` is missing")).hint(hint);
            self.reader.error(self.place, fault);
        }
        None
    }

    /// Whether an unknown key was told to mean this one: that is one mistake, told once.
    pub(super) fn is_misspelt(&self, key: &str) -> bool {
        let is_unknown = |entry: &&Entry<'_>| self.section.field(&entry.key).is_none();
        let meant = |entry: &Entry<'_>| closest(&entry.key, self.section.all().map(|field| field.key));
        self.entries.iter().filter(is_unknown).any(|entry| meant(entry) == Some(key))
    }

    /// Reads what was written under `key`; the inner none where nobody wrote it.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &'a Node<'a>, &'static Field) -> Option<T>,
    ) -> Read<Option<T>> {
        match self.written(key) {
            None => self.declared(key).map(|_| None),
            Some(_) => self.get(key, read).map(Some),
        }
    }

    /// Reads the scalar under `key`, or its default.
    pub(super) fn scalar<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &Node<'_>, &'static Field) -> Option<T>,
    ) -> Option<T> {
        let field = self.declared(key)?;
        if let Some(entry) = self.written(key) {
            return self.reader.under(&entry.key, |reader| read(reader, &entry.value, field));
        }
        let node = Node::default_scalar(field.default?);
        self.reader.step(Step::Key(key), |reader| read(reader, &node, field))
    }

    fn declared(&mut self, key: &'static str) -> Option<&'static Field> {
        let field = self.section.field(key)?;
        #[cfg(test)]
        self.reader.asked.insert((self.section.name, key));
        Some(field)
    }

    /// Reads the list under `key` item by item; an absent one is empty.
    pub(super) fn list_of<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'a>, &'a Node<'a>, &'static Kind) -> Option<T>,
    ) -> Option<Vec<T>> {
        let field = self.declared(key)?;
        let Some(entry) = self.written(key) else { return Some(Vec::new()) };
        let item = field.kind.item();
        let one = matches!(field.kind, Kind::OneOrMany(_));
        self.reader.under(&entry.key, |reader| {
            let mut read = |reader: &mut Reader<'a>, node| read(reader, node, item);
            if one {
                reader.one_or_many(&entry.value, &field.kind, read)
            } else {
                reader.list(&entry.value, &field.kind, &mut read)
            }
        })
    }

    /// Reads what stands under `key`, one or a list of such, item by item; an absent one is its default.
    pub(super) fn items<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'a>, &Node<'_>, &'static Kind) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.written(key).is_some() {
            return self.list_of(key, read);
        }
        let field = self.declared(key)?;
        let default = field.default?.trim_start_matches('[').trim_end_matches(']');
        let items = default.split(", ").filter(|item| !item.is_empty());
        self.reader.under_declared(key, |reader| {
            items.map(|item| read(reader, &Node::default_scalar(item), field.kind.item())).collect()
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.scalar(key, |reader, node, _| reader.boolean(node))
    }

    pub(super) fn integer(&mut self, key: &'static str) -> Option<i64> {
        self.scalar(key, |reader, node, field| reader.integer(node, &field.kind))
    }

    /// A whole number that is never negative, by its declared bounds.
    pub(super) fn count<T: TryFrom<i64>>(&mut self, key: &'static str) -> Option<T> {
        self.integer(key).and_then(|number| T::try_from(number).ok())
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.scalar(key, |reader, node, field| reader.duration(node, &field.kind))
    }

    /// A duration that may be switched off; the inner none is off.
    pub(super) fn duration_or_off(&mut self, key: &'static str) -> Read<Option<Duration>> {
        self.scalar(
            key,
            |reader, node, field| {
                if is_word(node, "off") { Some(None) } else { reader.duration(node, &field.kind).map(Some) }
            },
        )
    }

    pub(super) fn size<T: TryFrom<u64>>(&mut self, key: &'static str) -> Option<T> {
        self.scalar(key, |reader, node, field| reader.size(node, &field.kind)).and_then(|bytes| T::try_from(bytes).ok())
    }

    pub(super) fn percent(&mut self, key: &'static str) -> Option<Percent> {
        self.scalar(key, |reader, node, field| reader.percent(node, &field.kind))
    }

    /// A percentage that may be switched off; the inner none is off.
    pub(super) fn percent_or_off(&mut self, key: &'static str) -> Read<Option<Percent>> {
        self.scalar(
            key,
            |reader, node, field| {
                if is_word(node, "off") { Some(None) } else { reader.percent(node, &field.kind).map(Some) }
            },
        )
    }

    /// A whole number that may be switched off; the inner none is off.
    pub(super) fn count_or_off<T: TryFrom<i64>>(&mut self, key: &'static str) -> Read<Option<T>> {
        self.scalar(key, |reader, node, field| {
            if is_word(node, "off") {
                return Some(None);
            }
            reader.integer(node, &field.kind).and_then(|number| T::try_from(number).ok()).map(Some)
        })
    }

    /// A size that may be switched off; the inner none is off.
    pub(super) fn size_or_off(&mut self, key: &'static str) -> Read<Option<u64>> {
        self.scalar(
            key,
            |reader, node, field| {
                if is_word(node, "off") { Some(None) } else { reader.size(node, &field.kind).map(Some) }
            },
        )
    }

    pub(super) fn choice<V: Copy>(&mut self, key: &'static str, words: &[(&str, V)]) -> Option<V> {
        self.scalar(key, |reader, node, field| reader.choice(node, &field.kind, words))
    }

    /// Notes an error at the key, where it was written; at the section, where it was not.
    pub(super) fn fault(&mut self, key: &'static str, fault: Fault) {
        match self.written(key) {
            Some(entry) => self.reader.under(&entry.key, |reader| reader.error(entry.key_place, fault)),
            None => self.reader.error(self.place, fault),
        }
    }

    /// Notes a warning at the key.
    pub(super) fn warn(&mut self, key: &'static str, fault: Fault) {
        match self.written(key) {
            Some(entry) => self.reader.under(&entry.key, |reader| reader.warn(entry.key_place, fault)),
            None => self.reader.warn(self.place, fault),
        }
    }

    /// Reads the section under `key` by `read`; one that is absent or `off` is none.
    pub(super) fn section_or_off<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Read<Option<T>> {
        let field = self.declared(key)?;
        let Some(entry) = self.written(key) else { return Some(None) };
        if is_word(&entry.value, "off") {
            return Some(None);
        }
        let section = field.kind.section()?;
        self.reader.under(&entry.key, |reader| {
            if !matches!(entry.value.value, Value::Map(_)) && !entry.value.is_null() {
                reader.wrong_type(&entry.value, &field.kind);
                return None;
            }
            let mut fields = reader.section(&entry.value, section)?;
            read(&mut fields).map(Some)
        })
    }

    /// Reads the section under `key` by `read`; `on` is the section with its defaults, one that is absent or `off` is none.
    pub(super) fn section_or_switch<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(entry) = self.written(key).filter(|entry| is_word(&entry.value, "on")) else {
            return self.section_or_off(key, read);
        };
        let section = self.declared(key)?.kind.section()?;
        let place = entry.value.place;
        self.reader.under(&entry.key, |reader| read(&mut Fields { reader, entries: &[], section, place }).map(Some))
    }

    /// Reads the section under `key` by `read`; an absent one is read as an empty map, so that its defaults hold.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
    ) -> Option<T> {
        let field = self.declared(key)?;
        let section = field.kind.section()?;
        match self.written(key) {
            Some(entry) => self.reader.under(&entry.key, |reader| {
                let mut fields = reader.section(&entry.value, section)?;
                read(&mut fields)
            }),
            None => self.reader.step(Step::Key(key), |reader| {
                read(&mut Fields { reader, entries: &[], section, place: Place::DEFAULT })
            }),
        }
    }
}
