//! `${env:NAME}` and `${file:PATH}` in any text, looked up after parsing, so that a value can never become structure.
//! `$${` stands for `${` as such; any other `$` for itself. A value that was looked up is never shown.

use std::borrow::Cow;
use std::path::Path;

use super::problem::{Code, Severity};
use super::reader::shorten;
use super::report::{Fault, Reporter};
use super::source::{References, Resolver};
use super::tree::{Meaning, Node, Place, Scalar, Texts, Value};

/// The longest value that a reference may have, in bytes.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Looks up every reference of the tree.
pub(super) fn resolve(node: &mut Node<'_>, texts: &Texts, references: &References<'_>, report: &mut Reporter) {
    Resolution { texts, references, report }.node(node, &Trail::Root);
}

struct Resolution<'a, 'r> {
    texts: &'a Texts,
    references: &'a References<'r>,
    report: &'a mut Reporter,
}

/// The way to a node, on the stack: most nodes never need it as text.
enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(Trail::Root, key) => shorten(key),
            Self::Key(above, key) => format!("{}.{}", above.path(), shorten(key)),
            Self::Index(above, index) => format!("{}[{index}]", above.path()),
        }
    }

    /// In the replacement of a rewrite, `${name}` is a group of its pattern.
    fn takes_groups(&self) -> bool {
        matches!(self, Self::Key(Trail::Key(_, "rewrite"), "to"))
    }
}

impl Resolution<'_, '_> {
    fn node(&mut self, node: &mut Node<'_>, trail: &Trail<'_>) {
        match &mut node.value {
            Value::Scalar(scalar) => {
                if let Some(meaning) = self.meaning(scalar, node.place, trail) {
                    scalar.meaning = meaning;
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &Trail::Index(trail, index));
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.node(&mut entry.value, &Trail::Key(trail, &entry.key));
                }
            }
        }
    }

    fn meaning(&mut self, scalar: &Scalar<'_>, place: Place, trail: &Trail<'_>) -> Option<Meaning> {
        // Hardly any text has a dollar: looked for first, as finding one character needs no preparation.
        memchr::memchr(b'$', scalar.typed.as_bytes())?;
        memchr::memmem::find(scalar.typed.as_bytes(), b"${")?;
        let mut text = String::new();
        let mut unknown = false;
        for piece in pieces(&scalar.typed) {
            let found = match piece {
                Piece::Text(part) => Ok(part.into()),
                Piece::Reference(group) if trail.takes_groups() && !group.contains(':') => {
                    Ok(format!("${{{group}}}").into())
                }
                Piece::Reference(reference) => look_up(reference, place, self.texts, self.references).map(Cow::Owned),
                Piece::Unclosed => Err((
                    Severity::Error,
                    Fault::new(Code::InvalidReference, "this `${` has no closing brace")
                        .hint("write `$${` where the characters themselves are meant"),
                )),
            };
            match found {
                Ok(found) => text.push_str(&found),
                Err((severity, fault)) => {
                    self.report.note(severity, place, || trail.path(), fault);
                    unknown = true;
                }
            }
        }
        Some(if unknown { Meaning::Unknown } else { Meaning::Resolved(text.into()) })
    }
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
            let hint = if is_variable(reference) {
                format!("write `${{env:{reference}}}`, or `$${{` where the characters themselves are meant")
            } else {
                "write `${env:NAME}` or `${file:PATH}`, or `$${` where the characters themselves are meant".to_owned()
            };
            return Err(error(Fault::new(Code::InvalidReference, "this is not a reference").hint(hint)));
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
