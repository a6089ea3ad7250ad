//! Field lines: the text as it came, with an index of its lines; edits take lines out of the index or add text at the end.
//! What nobody touched goes out as it came, in as few copies as there are runs of untouched lines.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

use crate::buffer;
use crate::name::{self, Name, NameSet, Number, OTHER_FORWARDED, TWIN};
use crate::value::Value;

/// A field line's place in the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) start: u32,
    pub(crate) name_end: u32,
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
    /// Behind its CRLF.
    pub(crate) end: u32,
    pub(crate) number: Number,
}

/// See the module. Lines keep their order; several may have one name.
#[derive(Default)]
pub struct Headers {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// A bit for each numbered name that is there.
    present: u64,
}

pub(crate) fn bit(number: Number) -> u64 {
    1 << (number & 63)
}

impl Headers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn parsed(text: Vec<u8>, lines: Vec<Line>, present: u64) -> Self {
        Self { text, lines, present }
    }

    /// The text that the lines stand in, start line and all.
    pub(crate) fn source(&self) -> &[u8] {
        &self.text
    }

    fn span(&self, start: u32, end: u32) -> &[u8] {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    fn name_of(&self, line: &Line) -> &[u8] {
        self.span(line.start, line.name_end)
    }

    fn value_of(&self, line: &Line) -> &[u8] {
        self.span(line.value_start, line.value_end)
    }

    fn is(&self, line: &Line, name: &Name) -> bool {
        match name.number() {
            0 => matches!(line.number, 0 | OTHER_FORWARDED | TWIN) && self.named(line, name.as_str()),
            number => line.number == number,
        }
    }

    fn named(&self, line: &Line, name: &str) -> bool {
        (line.name_end - line.start) as usize == name.len() && self.name_of(line).eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether the index must be looked through for this name.
    fn may_have(&self, name: &Name) -> bool {
        name.number() == 0 || self.present & bit(name.number()) != 0
    }

    fn find(&self, name: &Name) -> Option<&Line> {
        if !self.may_have(name) {
            return None;
        }
        self.lines.iter().find(|line| self.is(line, name))
    }

    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&[u8]> {
        self.find(name).map(|line| self.value_of(line))
    }

    /// The first value of this name, where it is visible ASCII (and blanks).
    #[must_use]
    pub fn text(&self, name: &Name) -> Option<&str> {
        let value = std::str::from_utf8(self.get(name)?).ok()?;
        value.is_ascii().then_some(value)
    }

    /// Every value of this name, in order.
    pub fn all(&self, name: &Name) -> impl Iterator<Item = &[u8]> {
        let lines = if self.may_have(name) { &*self.lines } else { &[] };
        lines.iter().filter(|line| self.is(line, name)).map(|line| self.value_of(line))
    }

    /// Every value of the name that is told as text, in any case.
    pub fn all_named(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |line| self.named(line, name)).map(|line| self.value_of(line))
    }

    /// Whether there is a line of this name.
    #[must_use]
    pub fn has(&self, name: &Name) -> bool {
        match name.number() {
            0 => self.find(name).is_some(),
            number => self.present & bit(number) != 0,
        }
    }

    /// Whether there is some line of the forwarding family, but for the numbered names.
    #[must_use]
    pub fn has_other_forwarded(&self) -> bool {
        self.present & bit(OTHER_FORWARDED) != 0
    }

    /// The value of the one line of this name and nothing else: none where there is none, and none where there are more.
    #[must_use]
    pub fn only(&self, name: &Name) -> Option<&[u8]> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Replaces every line of this name by one.
    pub fn set(&mut self, name: &Name, value: impl Borrow<Value>) {
        self.set_bytes(name, value.borrow().as_bytes());
    }

    /// Adds a line.
    pub fn add(&mut self, name: &Name, value: impl Borrow<Value>) {
        self.append(name, value.borrow().as_bytes());
    }

    /// Replaces every line of this name by one with this value; false, and nothing done, where a byte of it may not stand
    /// in a field line.
    pub fn set_text(&mut self, name: &Name, value: &[u8]) -> bool {
        let good = crate::grammar::value_length(value) == value.len();
        if good {
            self.set_bytes(name, value);
        }
        good
    }

    /// Replaces every line of this name by one with this number.
    pub fn set_number(&mut self, name: &Name, value: u64) {
        self.set_bytes(name, itoa::Buffer::new().format(value).as_bytes());
    }

    /// Replaces every line of this name by one whose value `write` appends; false, and the lines are gone, where it appends a
    /// byte that may not stand in a field line.
    pub fn set_with(&mut self, name: &Name, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.remove(name);
        let before = self.text.len();
        self.begin(name);
        let start = self.text.len();
        write(&mut self.text);
        let value = self.text.get(start..).unwrap_or_default();
        let good = crate::grammar::value_length(value) == value.len();
        if good {
            self.end();
        } else {
            self.text.truncate(before);
            self.lines.pop();
        }
        good
    }

    /// Replaces every line of `name` by one with the value of the first line of `source`, if there is one.
    pub fn set_from(&mut self, name: &Name, source: &Name) {
        let Some(&line) = self.find(source) else { return };
        let value = line.value_start as usize..line.value_end as usize;
        self.remove(name);
        self.begin(name);
        self.text.extend_from_within(value);
        self.end();
    }

    fn set_bytes(&mut self, name: &Name, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &Name, value: &[u8]) {
        self.begin(name);
        self.text.extend_from_slice(value);
        self.end();
    }

    /// Adds a line of a message that came in another form; false, and nothing done, where it could not stand in a head.
    #[must_use]
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        let padded = matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
        let good = !name.is_empty()
            && u16::try_from(name.len()).is_ok()
            && name.iter().all(|&byte| crate::grammar::is_token(byte))
            && !padded
            && crate::grammar::value_length(value) == value.len();
        if good {
            self.begin_line(name, name::number(name));
            self.text.extend_from_slice(value);
            self.end();
        }
        good
    }

    fn begin(&mut self, name: &Name) {
        // A name without a number of its own may still be one of the family.
        let number = match name.number() {
            0 => name::number(name.as_str().as_bytes()),
            number => number,
        };
        self.begin_line(name.as_str().as_bytes(), number);
    }

    #[inline]
    fn begin_line(&mut self, name: &[u8], number: Number) {
        if self.text.capacity() == 0 {
            self.text = buffer::take(1);
        }
        if self.lines.capacity() == 0 {
            self.lines = buffer::take_lines();
        }
        let start = self.text.len() as u32;
        self.text.extend_from_slice(name);
        let name_end = self.text.len() as u32;
        self.text.extend_from_slice(b": ");
        let value_start = self.text.len() as u32;
        self.lines.push(Line { start, name_end, value_start, value_end: value_start, end: value_start, number });
    }

    fn end(&mut self) {
        let value_end = self.text.len() as u32;
        self.text.extend_from_slice(b"\r\n");
        let end = self.text.len() as u32;
        if let Some(line) = self.lines.last_mut() {
            line.value_end = value_end;
            line.end = end;
            if line.number != 0 {
                self.present |= bit(line.number);
            }
        }
    }

    /// Removes every line of this name.
    pub fn remove(&mut self, name: &Name) {
        if !self.may_have(name) {
            return;
        }
        let (text, number) = (&self.text, name.number());
        if number == 0 {
            let wanted = name.as_str().as_bytes();
            self.lines.retain(|line| {
                let found = text.get(line.start as usize..line.name_end as usize).unwrap_or_default();
                !found.eq_ignore_ascii_case(wanted)
            });
        } else {
            self.lines.retain(|line| line.number != number);
            self.present &= !bit(number);
        }
    }

    /// Removes every line of these names.
    pub fn remove_all(&mut self, names: NameSet) {
        self.remove_bits(names.bits());
    }

    fn remove_bits(&mut self, bits: u64) {
        if self.present & bits != 0 {
            self.lines.retain(|line| line.number == 0 || bit(line.number) & bits == 0);
            self.present &= !bits;
        }
    }

    /// Removes every line of the forwarding family: `X-Forwarded-…`, whatever follows, and what a server behind may take for
    /// one of them, for `X-Real-IP` or for `Client-Cert` (RFC 9440), because it is spelt with underscores.
    pub fn remove_forwarded(&mut self) {
        let family = bit(OTHER_FORWARDED)
            | bit(name::known::X_FORWARDED_CLIENT_CERT.number())
            | bit(name::known::X_FORWARDED_FOR.number())
            | bit(name::known::X_FORWARDED_HOST.number())
            | bit(name::known::X_FORWARDED_PROTO.number());
        self.remove_bits(family);
    }

    /// Removes every line whose name a server behind may take for one that a proxy answers for, because it is spelt with
    /// underscores: `Content_Length`, `X_Request_ID` (RFC 3875 section 4.1.18).
    pub fn remove_twins(&mut self) {
        self.remove_bits(bit(TWIN));
    }

    /// Removes every line whose name a server behind may take for one of these: in any case, and with anything in place of
    /// its hyphens, since CGI makes underscores of them all (RFC 3875 section 4.1.18).
    pub fn remove_alike(&mut self, names: &[Name]) {
        let text = &self.text;
        let is_meant = |line: &Line| {
            let found = text.get(line.start as usize..line.name_end as usize).unwrap_or_default();
            names.iter().any(|name| name::are_alike(found, name.as_str().as_bytes()))
        };
        if !self.lines.iter().any(is_meant) {
            return;
        }
        self.lines.retain(|line| !is_meant(line));
        self.present = self.lines.iter().filter(|line| line.number != 0).fold(0, |bits, line| bits | bit(line.number));
    }

    /// The values of every line whose name a server behind may take for this one, as in [`Self::remove_alike`].
    pub fn all_alike<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        let is_meant = |line: &&Line| name::are_alike(self.name_of(line), name.as_str().as_bytes());
        self.lines.iter().filter(is_meant).map(|line| self.value_of(line))
    }

    /// Every line: name (in the case it came in) and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| {
            // Tokens are ASCII.
            (std::str::from_utf8(self.name_of(line)).unwrap_or_default(), self.value_of(line))
        })
    }

    /// Every line: name and value, where values are kept for longer than the lines: copied all at once.
    pub fn shared(&self) -> impl Iterator<Item = (&str, Bytes)> {
        let text = Bytes::copy_from_slice(&self.text);
        self.lines.iter().map(move |line| {
            let value = line.value_start as usize..line.value_end as usize;
            (std::str::from_utf8(self.name_of(line)).unwrap_or_default(), text.slice(value))
        })
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Appends the lines, each with its CRLF, without the empty line that ends a head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for line in &self.lines {
            if line.start as usize == run.end {
                run.end = line.end as usize;
            } else {
                out.extend_from_slice(self.text.get(run).unwrap_or_default());
                run = line.start as usize..line.end as usize;
            }
        }
        out.extend_from_slice(self.text.get(run).unwrap_or_default());
    }
}

impl Clone for Headers {
    fn clone(&self) -> Self {
        let mut text = buffer::take(self.text.len());
        text.extend_from_slice(&self.text);
        let mut lines = buffer::take_lines();
        lines.extend_from_slice(&self.lines);
        Self { text, lines, present: self.present }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value)))).finish()
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        buffer::give(std::mem::take(&mut self.text));
        buffer::give_lines(std::mem::take(&mut self.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known;

    fn lines(headers: &Headers) -> String {
        let mut out = Vec::new();
        headers.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Headers {
        let mut headers = Headers::new();
        for (name, value) in [("host", "a"), ("x-one", "1"), ("via", "x"), ("x-one", "2"), ("x-forwarded-port", "80")] {
            headers.add(&Name::parse(name).unwrap(), Value::parse(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_a_server_may_take_for_a_name_is_removed() {
        let names = [Name::parse("x-user").unwrap(), Name::parse("x_roles").unwrap()];
        for alike in ["x-user", "X-User", "x_user", "X_USER", "x.user", "X-ROLES", "x_roles"] {
            let mut headers = Headers::new();
            for name in ["host", alike, "x-users", "via", alike] {
                assert!(headers.push(name.as_bytes(), b"v"));
            }
            headers.remove_alike(&names);
            let left: Vec<_> = headers.iter().map(|(name, _)| name.to_owned()).collect();
            assert_eq!(left, ["host", "x-users", "via"], "{alike}");
            assert!(headers.has(&name::known::HOST) && headers.has(&name::known::VIA), "{alike}");
        }
    }

    #[test]
    fn edits_show_in_what_is_written() {
        let mut headers = sample();
        assert_eq!(lines(&headers), "host: a\r\nx-one: 1\r\nvia: x\r\nx-one: 2\r\nx-forwarded-port: 80\r\n");
        headers.remove(&Name::known("x-one"));
        headers.set(&known::VIA, Value::known("y"));
        assert_eq!(lines(&headers), "host: a\r\nx-forwarded-port: 80\r\nvia: y\r\n");
        headers.remove_forwarded();
        headers.set_from(&known::X_FORWARDED_HOST, &known::HOST);
        assert_eq!(lines(&headers), "host: a\r\nvia: y\r\nx-forwarded-host: a\r\n");
        assert!(!headers.set_text(&known::HOST, b"a\r\nb"));
        assert!(!headers.set_with(&known::VIA, |out| out.extend_from_slice(b"a\nb")));
        assert!(headers.set_with(&known::AGE, |out| out.extend_from_slice(b"1")));
        headers.set_number(&known::CONTENT_LENGTH, 1234);
        assert_eq!(lines(&headers), "host: a\r\nx-forwarded-host: a\r\nage: 1\r\ncontent-length: 1234\r\n");
        assert_eq!(headers.get(&known::HOST), Some(&b"a"[..]));
    }

    #[test]
    fn the_forwarding_family_is_known_by_underscores_too() {
        let mut headers = Headers::new();
        for name in ["X_Forwarded_For", "X-Real-IP", "X_Own_Name", "x-forwarded_proto", "X_Real_IP", "X-Forwarded-For"]
        {
            headers.add(&Name::parse(name).unwrap(), Value::known("1"));
        }
        headers.remove_forwarded();
        assert_eq!(lines(&headers), "x-real-ip: 1\r\nx_own_name: 1\r\n");
        for name in
            ["Content_Length", "transfer-encoding", "X_Request-ID", "a_name_that_is_longer_than_any_that_has_a_number"]
        {
            headers.add(&Name::parse(name).unwrap(), Value::known("1"));
        }
        assert!(headers.has(&Name::parse("content_length").unwrap()) && !headers.has(&known::CONTENT_LENGTH));
        headers.remove_twins();
        let left = "x-real-ip: 1\r\nx_own_name: 1\r\ntransfer-encoding: 1\r\na_name_that_is_longer_than_any_that_has_a_number: 1\r\n";
        assert_eq!(lines(&headers), left);
    }

    #[test]
    fn names_are_found_in_any_case() {
        let headers = sample();
        assert_eq!(headers.all_named("X-One").count(), 2);
        assert_eq!(headers.all(&Name::known("x-one")).count(), 2);
        assert_eq!(headers.only(&Name::known("x-one")), None);
        assert_eq!(headers.only(&known::HOST), Some(&b"a"[..]));
        assert!(headers.has(&Name::known("x-forwarded-port")));
        assert!(headers.has_other_forwarded());
        assert!(!headers.has(&known::TE));
    }

    #[test]
    fn a_copy_is_independent() {
        let mut headers = sample();
        let copy = headers.clone();
        headers.remove(&known::HOST);
        assert_eq!(copy.get(&known::HOST), Some(&b"a"[..]));
    }
}
