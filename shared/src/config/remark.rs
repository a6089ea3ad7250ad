//! What others find out about the files that a good config names, told like the config's own problems: with place, config path and
//! source line.

use std::path::PathBuf;

use super::Checked;
use super::merge::merge;
use super::problem::{Code, Problem, Severity};
use super::reader::{Step, show_path};
use super::report::{Fault, Reporter};
use super::tree::{Node, Place, Texts, Value};

/// Something about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub severity: Severity,
    pub code: Code,
    /// The way to the value that names the file; indices in digits. An index may lead into what is no list: where one or many may
    /// stand, one is the first.
    pub keys: Vec<String>,
    pub file: PathBuf,
    /// A sentence that goes on after the name of the file.
    pub message: String,
    pub hint: Option<String>,
}

impl Checked {
    /// Each remark at its place in the sources, in their order.
    #[must_use]
    pub fn locate(&self, remarks: Vec<Remark>) -> Vec<Problem> {
        let mut texts = Texts::new();
        // Nothing is noted in it: the texts were found good.
        let tree = merge(&self.input, &mut texts, &mut Reporter::default());
        let mut report = Reporter::default();
        for Remark { severity, code, keys, file, message, hint } in remarks {
            let (node, path) = find(&tree, &keys);
            let is_reference =
                node.is_some_and(|node| matches!(&node.value, Value::Scalar(scalar) if scalar.typed.contains("${")));
            let file = if is_reference { "the file behind the reference".into() } else { file.display().to_string() };
            let fault = Fault { code, message: format!("{file} {message}"), hint };
            report.note(severity, node.map_or(Place::DEFAULT, |node| node.place), || path, fault);
        }
        report.close(&texts).0
    }
}

fn find<'n, 's>(tree: &'n Node<'s>, keys: &[String]) -> (Option<&'n Node<'s>>, String) {
    let mut node = Some(tree);
    let mut steps = Vec::with_capacity(keys.len());
    for key in keys {
        let index = key.parse::<usize>().ok();
        node = match (node.map(|node| &node.value), index) {
            (Some(Value::List(items)), Some(index)) => {
                steps.push(Step::Index(index));
                items.get(index)
            }
            // One, where many may stand.
            (Some(Value::Map(_)), Some(0)) if node.is_some_and(|node| node.get(key).is_none()) => node,
            _ => {
                steps.push(Step::Key(key));
                node.and_then(|node| node.get(key))
            }
        };
    }
    (node, show_path(&steps))
}
