//! Text to tree: YAML 1.2 (core schema) and JSON, through the events of the parser. Bytes, nesting and the expansion of
//! aliases are bounded; the number of nodes is not. The only file that knows the parser.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use hashbrown::{HashMap, HashSet};

use super::problem::Code;
use super::report::{Fault, Reporter};
use super::tree::{Entry, Meaning, Node, Place, Scalar, Value};

/// The largest text that is read, in bytes.
pub(super) const MAX_TEXT_BYTES: usize = 32 << 20;
/// How deep lists and maps may lie in each other.
const MAX_DEPTH: usize = 64;
/// How many nodes all aliases of a text may stand for, together.
const MAX_ALIAS_NODES: usize = 10_000;
/// How many nodes are kept for aliases to copy from.
const MAX_ANCHOR_NODES: usize = 100_000;
/// Above this many keys, a map's duplicates are found through a set.
const SMALL_MAP: usize = 16;

/// Parses the text numbered `text`. A broken text gives none, an empty one null; every mistake is reported.
pub(super) fn parse<'s>(source: &'s str, text: u32, report: &mut Reporter) -> Option<Node<'s>> {
    if source.len() > MAX_TEXT_BYTES {
        let message =
            format!("this text has {} bytes, more than the {} MiB allowed", source.len(), MAX_TEXT_BYTES >> 20);
        report.error(Place::whole(text), Fault::new(Code::TooLarge, message));
        return None;
    }
    // JSON indented by tabs is good JSON but not YAML; a tab inside a JSON string is an error in either.
    if source.trim_start().starts_with(['{', '[']) && source.contains('\t') {
        let spaced = source.replace('\t', " ");
        let root = Builder::new(text, report).run(&spaced);
        return root.map(Node::into_owned);
    }
    Builder::new(text, report).run(source)
}

#[derive(Default)]
struct Budget {
    aliases: usize,
    anchors: usize,
}

/// A list or map that is not closed yet.
struct Frame<'s> {
    place: Place,
    anchor: usize,
    nodes: usize,
    content: Content<'s>,
}

enum Content<'s> {
    /// Its items are those from here on.
    List(usize),
    Map {
        /// Its entries are those from here on.
        start: usize,
        key: Option<(Cow<'s, str>, Place)>,
        /// Once there are many.
        seen: Option<HashSet<Cow<'s, str>>>,
    },
    /// A collection used as a key: already reported, built only to be dropped.
    Dropped,
}

/// Why parsing cannot go on; it is already reported.
struct Stop;

struct Builder<'a, 's> {
    text: u32,
    report: &'a mut Reporter,
    stack: Vec<Frame<'s>>,
    /// What the open lists and maps have so far, the innermost last: each is taken out in one piece of the right size.
    items: Vec<Node<'s>>,
    entries: Vec<Entry<'s>>,
    root: Option<Node<'s>>,
    /// Anchored nodes with their size; none: too large to be copied.
    anchors: HashMap<usize, Option<(Node<'s>, usize)>>,
    budget: Budget,
}

impl<'a, 's> Builder<'a, 's> {
    fn new(text: u32, report: &'a mut Reporter) -> Self {
        Self {
            text,
            report,
            stack: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            budget: Budget::default(),
        }
    }

    fn run(&mut self, source: &'s str) -> Option<Node<'s>> {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH + 1,
            block_nesting_limit: MAX_DEPTH + 1,
        };
        let mut documents = 0;
        for next in Parser::new_from_str_with_options(source, options) {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) => {
                    self.syntax(&error);
                    return None;
                }
            };
            if matches!(event, Event::DocumentStart(..)) {
                documents += 1;
                if documents > 1 {
                    let fault = Fault::new(Code::Syntax, "a second document starts here; a config is one document")
                        .hint("put it into a file of its own, in a directory, or remove the `---`");
                    self.report.error(self.place(span), fault);
                    return None;
                }
            }
            if self.event(event, span).is_err() {
                return None;
            }
        }
        let empty =
            || Node { place: Place { text: self.text, line: 1, column: 1, length: 0 }, ..Node::default_scalar("") };
        Some(self.root.take().unwrap_or_else(empty))
    }

    fn event(&mut self, event: Event<'s>, span: Span) -> Result<(), Stop> {
        let place = self.place(span);
        match event {
            Event::Scalar(typed, style, anchor, tag) => {
                let text_tag = self.check_tag(tag.as_deref(), place);
                let plain = style == ScalarStyle::Plain && !text_tag;
                let place = if style == ScalarStyle::Literal || style == ScalarStyle::Folded {
                    first_char(place)
                } else {
                    place
                };
                let scalar = Scalar { typed, plain, meaning: Meaning::AsTyped };
                self.close(Node { value: Value::Scalar(scalar), place }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                self.open(Content::List(self.items.len()), first_char(place), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), place);
                let content = Content::Map { start: self.entries.len(), key: None, seen: None };
                self.open(content, first_char(place), anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
            // The rest carries no nodes.
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd | _ => Ok(()),
        }
    }

    fn open(&mut self, content: Content<'s>, place: Place, anchor: usize) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.too_deep(place));
        }
        let content = if self.at_key() {
            self.report.error(place, Fault::new(Code::WrongType, "a key must be plain text, not a list or a map"));
            Content::Dropped
        } else {
            content
        };
        self.stack.push(Frame { place, anchor, nodes: 1, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (value, place) = match frame.content {
            Content::List(start) => (Value::List(self.items.drain(start..).collect()), frame.place),
            Content::Map { start, .. } => {
                let entries: Vec<Entry<'s>> = self.entries.drain(start..).collect();
                // A block map starts where its first key does: mark that key.
                let place = entries.first().map_or(frame.place, |first| match first.key_place {
                    key if (key.line, key.column) == (frame.place.line, frame.place.column) => key,
                    _ => frame.place,
                });
                (Value::Map(entries), place)
            }
            Content::Dropped => (Value::Map(Vec::new()), frame.place),
        };
        self.close(Node { value, place }, frame.anchor, frame.nodes)
    }

    /// A whole node has arrived: it is a key, a value, an item or the root.
    fn close(&mut self, node: Node<'s>, anchor: usize, nodes: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.keep_for_aliases(anchor, &node, nodes)?;
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        match &mut frame.content {
            Content::List(_) => self.items.push(node),
            Content::Dropped => {}
            Content::Map { key: key @ None, .. } => {
                let text = match node.value {
                    Value::Scalar(scalar) => scalar.typed,
                    Value::List(_) | Value::Map(_) => "".into(),
                };
                *key = Some((text, node.place));
            }
            Content::Map { start, key, seen } => {
                if let Some((name, key_place)) = key.take() {
                    let entry = Entry { key: name, key_place, value: node };
                    add_entry(&mut self.entries, *start, seen, entry, self.report);
                }
            }
        }
        Ok(())
    }

    fn keep_for_aliases(&mut self, anchor: usize, node: &Node<'s>, nodes: usize) -> Result<(), Stop> {
        if nodes > MAX_ALIAS_NODES {
            self.anchors.insert(anchor, None);
            return Ok(());
        }
        self.budget.anchors += nodes;
        if self.budget.anchors > MAX_ANCHOR_NODES {
            return Err(self.expansion(node.place));
        }
        self.anchors.insert(anchor, Some((node.clone(), nodes)));
        Ok(())
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Stop> {
        match self.anchors.get(&id) {
            Some(Some((node, nodes))) => {
                let (node, nodes) = (node.clone(), *nodes);
                self.budget.aliases += nodes;
                if self.budget.aliases > MAX_ALIAS_NODES {
                    return Err(self.expansion(place));
                }
                if self.stack.len() + depth(&node) > MAX_DEPTH {
                    return Err(self.too_deep(place));
                }
                self.close(node, 0, nodes)
            }
            Some(None) => Err(self.expansion(place)),
            None => {
                self.report.error(place, Fault::new(Code::Syntax, "this alias stands inside the node that it names"));
                Err(Stop)
            }
        }
    }

    fn too_deep(&mut self, place: Place) -> Stop {
        let message = format!("lists and maps lie more than {MAX_DEPTH} levels deep in each other");
        self.report.error(place, Fault::new(Code::TooLarge, message));
        Stop
    }

    fn expansion(&mut self, place: Place) -> Stop {
        let message = format!("the aliases of this text stand for more than {MAX_ALIAS_NODES} values");
        self.report.error(place, Fault::new(Code::TooLarge, message).hint("write the values out, or split the file"));
        Stop
    }

    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map { key: None, .. } | Content::Dropped, .. }))
    }

    /// Whether the tag says that the scalar is text. Tags outside the core schema are refused.
    fn check_tag(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            let fault = Fault::new(Code::Syntax, "tags are not part of the config language").hint("remove the `!…`");
            self.report.error(first_char(place), fault);
        }
        tag.is_yaml_core_schema_tag("str")
    }

    fn syntax(&mut self, error: &ScanError) {
        let marker = error.marker();
        let place = Place {
            text: self.text,
            line: count(marker.line()).max(1),
            column: count(marker.col()).saturating_add(1),
            length: 1,
        };
        if matches!(error.kind(), granit_parser::ErrorKind::RecursionLimitExceeded) {
            let _ = self.too_deep(place);
            return;
        }
        self.report.error(place, Fault::new(Code::Syntax, format!("this is not valid YAML: {}", error.kind())));
    }

    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        // A node over several lines is marked by its first character only.
        let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
        Place {
            text: self.text,
            line: count(start.line()).max(1),
            column: count(start.col()).saturating_add(1),
            length: count(length).max(1),
        }
    }
}

/// Adds an entry to the map whose entries begin at `start`.
fn add_entry<'s>(
    entries: &mut Vec<Entry<'s>>,
    start: usize,
    seen: &mut Option<HashSet<Cow<'s, str>>>,
    entry: Entry<'s>,
    report: &mut Reporter,
) {
    let earlier = entries.get(start..).unwrap_or_default();
    let duplicate = if earlier.len() < SMALL_MAP {
        earlier.iter().any(|earlier| earlier.key == entry.key)
    } else {
        let seen = seen.get_or_insert_with(|| earlier.iter().map(|entry| entry.key.clone()).collect());
        !seen.insert(entry.key.clone())
    };
    if !duplicate {
        entries.push(entry);
        return;
    }
    if report.is_full() {
        // Looking for the first one again and again would be quadratic.
        report.error(entry.key_place, Fault::new(Code::DuplicateKey, "this key is written twice"));
        return;
    }
    let first = earlier.iter().find(|earlier| earlier.key == entry.key).map_or(0, |earlier| earlier.key_place.line);
    let fault = Fault::new(Code::DuplicateKey, format!("this key is written twice; the first is in line {first}"))
        .hint("remove one of them, or put both values into one");
    report.error(entry.key_place, fault);
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    }
}

fn first_char(place: Place) -> Place {
    Place { length: 1, ..place }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
