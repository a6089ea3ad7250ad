//! Layers become one tree: the files of a directory, then the overlay, the environment and `--set`, each over what came
//! before. Maps merge, lists replace; every node keeps its own place.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;

use super::Source;
use super::parse;
use super::problem::Code;
use super::report::{Fault, Reporter};
use super::source::{Input, Text};
use super::tree::{Entry, Node, Origins, Place, Texts, Value};

/// What every environment variable of the config begins with.
pub(super) const PREFIX: &str = "PROXYD__";
/// How many steps an override may descend.
const MAX_STEPS: usize = 64;

/// Parses and merges everything. Broken texts are reported and left out.
pub(super) fn merge<'s>(input: &'s Input, texts: &mut Texts, report: &mut Reporter) -> Node<'s> {
    let base = join(&input.files, texts, report);
    let overlay = join(&input.overlay, texts, report);
    let mut root = base.unwrap_or_else(empty);
    if let Some(overlay) = overlay {
        overlay_with(&mut root, overlay);
    }
    for (name, value) in &input.environment {
        let source = Source::Environment(name.as_str().into());
        let steps = name.strip_prefix(PREFIX).and_then(environment_steps);
        set(&mut root, steps, value, source, texts, report);
    }
    for argument in &input.set {
        let (path, value) = split_argument(argument);
        let source = Source::CommandLine(path.into());
        let steps = value.and(argument_steps(path));
        set(&mut root, steps, value.unwrap_or_default(), source, texts, report);
    }
    root
}

fn empty<'s>() -> Node<'s> {
    Node::map(Vec::new(), Place::DEFAULT)
}

/// The files of one layer: `routes` in a row, sections together; what is given twice is an error.
fn join<'s>(files: &'s [Text], texts: &mut Texts, report: &mut Reporter) -> Option<Node<'s>> {
    let mut whole: Option<Node<'s>> = None;
    for file in files {
        let number = texts.add(Origins {
            source: Source::File(Arc::clone(&file.name)),
            folder: file.folder.clone(),
            quotable: Some(Arc::clone(&file.text)),
        });
        let Some(mut node) = parse::parse(&file.text, number, report) else { continue };
        if node.is_null() {
            node.value = Value::Map(Vec::new());
        }
        if !matches!(node.value, Value::Map(_)) {
            let fault =
                Fault::new(Code::WrongType, format!("a config is a map of sections, this is {}", node.kind_name()))
                    .hint("the smallest useful config is a map with the key `routes`");
            report.error(node.place, fault);
            continue;
        }
        match &mut whole {
            None => whole = Some(node),
            Some(whole) => append(whole, node, texts, report, 0),
        }
    }
    whole
}

/// Adds a further file to those before it: at the top and one level below, maps come together.
fn append<'s>(whole: &mut Node<'s>, node: Node<'s>, texts: &Texts, report: &mut Reporter, level: usize) {
    let (Value::Map(into), Value::Map(entries)) = (&mut whole.value, node.value) else { return };
    let mut index: HashMap<Cow<'s, str>, usize> =
        into.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
    for entry in entries {
        let Some(at) = index.get(&entry.key) else {
            index.insert(entry.key.clone(), into.len());
            into.push(entry);
            continue;
        };
        let Some(first) = into.get_mut(*at) else { continue };
        match (&mut first.value.value, entry.value.value) {
            (Value::List(items), Value::List(more)) if level == 0 && &*entry.key == "routes" => items.extend(more),
            (Value::Map(_), Value::Map(more)) if level == 0 && is_shared_section(&entry.key) => {
                append(&mut first.value, Node::map(more, entry.value.place), texts, report, 1);
            }
            _ => {
                let place = texts.origin(first.key_place);
                let fault = Fault::new(Code::DuplicateName, format!("this is already given in {place}"))
                    .hint("the files of a directory add to each other; what one file says, no other may say again");
                report.error(entry.key_place, fault);
            }
        }
    }
}

fn is_shared_section(key: &str) -> bool {
    matches!(key, "server" | "admin" | "log" | "audit" | "upstreams")
}

/// Puts `over` above `node`: maps merge, everything else replaces.
fn overlay_with<'s>(node: &mut Node<'s>, over: Node<'s>) {
    match (&mut node.value, over.value) {
        (Value::Map(into), Value::Map(entries)) => {
            let mut index: HashMap<Cow<'s, str>, usize> =
                into.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
            for entry in entries {
                if let Some(first) = index.get(&entry.key).and_then(|at| into.get_mut(*at)) {
                    first.key_place = entry.key_place;
                    overlay_with(&mut first.value, entry.value);
                } else {
                    index.insert(entry.key.clone(), into.len());
                    into.push(entry);
                }
            }
        }
        (_, value) => *node = Node { value, place: over.place },
    }
}

/// A step towards the node that an override sets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    /// A number that is an index in a list and a key in a map.
    Either(String, usize),
}

fn environment_steps(rest: &str) -> Option<Vec<Step>> {
    let steps: Vec<Step> = rest
        .split("__")
        .map(|part| {
            let key = part.to_lowercase();
            key.parse().map_or_else(|_| Step::Key(key.clone()), |index| Step::Either(key.clone(), index))
        })
        .collect();
    let sound = steps.len() <= MAX_STEPS && rest.split("__").all(|part| !part.is_empty());
    sound.then_some(steps)
}

/// The path and, behind the first `=` outside of brackets, the value.
fn split_argument(argument: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, c) in argument.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '=' if !quoted => return (&argument[..at], argument.get(at + 1..)),
            _ => {}
        }
    }
    (argument, None)
}

/// Reads `a.b[2]["c.d"].e`.
fn argument_steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, tail) = quoted.split_once("\"]")?;
            steps.push(Step::Key(key.to_owned()));
            rest = tail;
        } else if let Some(bracket) = rest.strip_prefix('[') {
            let (index, tail) = bracket.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = tail;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, tail) = rest.split_at(end);
            if key.is_empty() {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            rest = tail;
        }
        if rest.is_empty() {
            return (steps.len() <= MAX_STEPS).then_some(steps);
        }
        if !rest.starts_with('[') {
            rest = rest.strip_prefix('.')?;
        }
    }
}

fn set<'s>(
    root: &mut Node<'s>,
    steps: Option<Vec<Step>>,
    value: &'s str,
    source: Source,
    texts: &mut Texts,
    report: &mut Reporter,
) {
    let form = match &source {
        Source::CommandLine(_) => "write it as `--set server.listen=127.0.0.1:8000` or `--set routes[0].target=…`",
        Source::Default | Source::File(_) | Source::Environment(_) => {
            "write it as PROXYD__SERVER__LISTEN, with two underscores between levels"
        }
    };
    let number = texts.add(Origins { source, folder: PathBuf::new(), quotable: None });
    let whole = Place::whole(number);
    let Some(steps) = steps else {
        report.error(whole, Fault::new(Code::InvalidOverride, "this override names no config path").hint(form));
        return;
    };
    let Some(value) = parse_value(value, number, report) else { return };
    if let Err(message) = put(root, &steps, value, whole) {
        report.error(whole, Fault::new(Code::InvalidOverride, message).hint(form));
    }
}

/// The value of an override is YAML: a scalar, or a list or map on one line. An empty one is an empty text.
fn parse_value<'s>(value: &'s str, number: u32, report: &mut Reporter) -> Option<Node<'s>> {
    if value.trim().is_empty() {
        let mut node = Node::default_scalar("");
        if let Value::Scalar(scalar) = &mut node.value {
            scalar.plain = false;
        }
        node.place = Place::whole(number);
        return Some(node);
    }
    parse::parse(value, number, report)
}

fn put<'s>(node: &mut Node<'s>, steps: &[Step], value: Node<'s>, place: Place) -> Result<(), String> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        let value = if matches!(step, Step::Index(_)) { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
        *node = Node { value, place };
    }
    match (&mut node.value, step) {
        (Value::Map(entries), Step::Key(key) | Step::Either(key, _)) => {
            if let Some(entry) = entries.iter_mut().find(|entry| *entry.key == **key) {
                if rest.is_empty() {
                    entry.key_place = place;
                }
                return put(&mut entry.value, rest, value, place);
            }
            let mut child = Node::default_scalar("");
            put(&mut child, rest, value, place)?;
            entries.push(Entry { key: key.clone().into(), key_place: place, value: child });
            Ok(())
        }
        (Value::List(items), Step::Index(index) | Step::Either(_, index)) => {
            let count = items.len();
            if *index == count {
                items.push(Node::default_scalar(""));
            }
            match items.get_mut(*index) {
                Some(item) => put(item, rest, value, place),
                None => Err(format!("there is no item {index} in this list of {count}")),
            }
        }
        (Value::List(_), Step::Key(key)) => Err(format!("`{key}` leads into a list, which has no keys")),
        (Value::Map(_), Step::Index(index)) => Err(format!("[{index}] leads into a map, which has no items")),
        (Value::Scalar(_), _) => Err("the path leads through a single value, which has nothing below it".to_owned()),
    }
}
