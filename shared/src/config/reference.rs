//! `${env:NAME}` and `${file:PATH}` in any text, looked up after parsing, so that a value can never become structure.
//! `$${` stands for `${` as such; any other `$` for itself. A value that was looked up is never shown.

use std::path::Path;

use super::problem::{Code, Severity};
use super::report::{Fault, Reporter};
use super::source::{References, Resolver};
use super::tree::{Meaning, Node, Place, Scalar, Texts, Value};

/// The longest value that a reference may have, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Looks up every reference of the tree.
pub(super) fn resolve(node: &mut Node, texts: &Texts, references: &References<'_>, report: &mut Reporter) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if let Some(meaning) = meaning(scalar, node.place, texts, references, report) {
                scalar.meaning = meaning;
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| resolve(item, texts, references, report)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|entry| resolve(&mut entry.value, texts, references, report));
        }
    }
}

/// Whether the text holds a reference.
pub(super) fn has_reference(text: &str) -> bool {
    pieces(text).any(|piece| matches!(piece, Piece::Reference(_)))
}

fn meaning(
    scalar: &Scalar,
    place: Place,
    texts: &Texts,
    references: &References<'_>,
    report: &mut Reporter,
) -> Option<Meaning> {
    if memchr::memmem::find(scalar.typed.as_bytes(), b"${").is_none() {
        return None;
    }
    let mut text = String::new();
    let mut unknown = false;
    for piece in pieces(&scalar.typed) {
        let reference = match piece {
            Piece::Text(part) => {
                text.push_str(part);
                continue;
            }
            Piece::Unclosed => {
                let fault = Fault::new(Code::InvalidReference, "this `${` has no closing brace")
                    .hint("write `$${` where the characters themselves are meant");
                report.error(place, fault);
                unknown = true;
                continue;
            }
            Piece::Reference(reference) => reference,
        };
        match look_up(reference, place, texts, references) {
            Ok(value) => text.push_str(&value),
            Err((severity, fault)) => {
                report.note(severity, place, String::new, fault);
                unknown = true;
            }
        }
    }
    Some(if unknown { Meaning::Unknown } else { Meaning::Resolved(text.into()) })
}

enum Piece<'t> {
    Text(&'t str),
    Reference(&'t str),
    Unclosed,
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest.find("${").unwrap_or(rest.len());
        let (before, tail) = rest.split_at(at);
        if before.ends_with('$') && !tail.is_empty() {
            // `$${`: the text up to the first dollar, then `${` as such.
            let (head, _) = rest.split_at(at - 1);
            if head.is_empty() {
                rest = tail.get(2..).unwrap_or_default();
                return Some(Piece::Text("${"));
            }
            rest = rest.get(at - 1..).unwrap_or_default();
            return Some(Piece::Text(head));
        }
        if !before.is_empty() {
            rest = tail;
            return Some(Piece::Text(before));
        }
        let Some(end) = tail.find('}') else {
            rest = "";
            return Some(Piece::Unclosed);
        };
        let reference = tail.get(2..end).unwrap_or_default();
        rest = tail.get(end + 1..).unwrap_or_default();
        Some(Piece::Reference(reference))
    })
}

fn look_up(
    reference: &str,
    place: Place,
    texts: &Texts,
    references: &References<'_>,
) -> Result<String, (Severity, Fault)> {
    let error = |fault| (Severity::Error, fault);
    let (resolver, severity): (&dyn Resolver, Severity) = match references {
        References::Resolve(resolver) => (*resolver, Severity::Error),
        References::Lenient(resolver) => (*resolver, Severity::Warning),
        References::Refuse => {
            let fault =
                Fault::new(Code::InvalidReference, "references are not allowed in a config that comes this way")
                    .hint("write the value, or put the config into a file on this machine");
            return Err(error(fault));
        }
    };
    let unset = |message: String, hint: &str| (severity, Fault::new(Code::UnsetReference, message).hint(hint));
    let value = match reference.split_once(':') {
        Some(("env", name)) if is_variable(name) => resolver.env(name).ok_or_else(|| {
            unset(format!("the environment variable {name} is not set"), "set it where this is to run")
        })?,
        Some(("file", path)) if !path.is_empty() && !path.contains('\0') => {
            let path = texts.folder(place).join(Path::new(path));
            resolver.file(&path).map_err(|reason| {
                unset(
                    format!("the file `{}` cannot be read: {reason}", path.display()),
                    "the path is relative to the file that names it",
                )
            })?
        }
        _ => {
            let fault = Fault::new(Code::InvalidReference, "this is not a reference")
                .hint("write `${env:NAME}` or `${file:PATH}`, or `$${` where the characters themselves are meant");
            return Err(error(fault));
        }
    };
    if value.len() > MAX_VALUE_BYTES {
        return Err(error(Fault::new(Code::TooLarge, "the value of this reference is larger than 1 MiB")));
    }
    Ok(value)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
