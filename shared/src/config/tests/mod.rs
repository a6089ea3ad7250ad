//! The config language as a whole: texts in, meaning or problems out.

mod admission;
mod declarations;
mod hints;
mod identity;
mod layers;
mod limits;
mod meaning;
mod problems;
mod reach;
mod references;
mod stand_ins;
mod transport;
mod upstreams;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::source::Resolver;
use super::{Checked, Input, Problems, References, load};

/// Looks references up in a map; files by their path.
#[derive(Default)]
pub(super) struct Known(HashMap<String, String>);

impl Known {
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

impl Resolver for Known {
    fn env(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        self.0.get(&*path.to_string_lossy()).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}

/// Loads one text, with nothing to refer to.
pub(super) fn load_text(text: &str) -> Result<Checked, Problems> {
    load(&Input::text("config.yaml", text), &References::Resolve(&Known::default()))
}

/// Loads a text that must be good.
#[track_caller]
pub(super) fn good(text: &str) -> Checked {
    load_text(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
}

/// Every problem of every text, errors or warnings, for a snapshot.
#[track_caller]
pub(super) fn told(texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        let problems = match load_text(text) {
            Ok(checked) => Problems(checked.warnings),
            Err(problems) => problems,
        };
        assert!(!problems.0.is_empty(), "nothing is wrong with {text}");
        let _ = writeln!(all, "{}", problems.render(false));
    }
    all
}

/// The codes with their places, of a text that must be bad.
#[track_caller]
pub(super) fn bad(text: &str) -> Vec<String> {
    let problems = load_text(text).expect_err("this config must be refused");
    problems.0.iter().map(|p| format!("{}:{} {} {}", p.line, p.column, p.code.as_str(), p.path)).collect()
}
