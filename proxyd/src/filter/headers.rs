//! The filter `headers`: the operator's edits of what is sent upstream and of what goes back.

use shared::config::policy::{HeaderEdit, Headers as Policy};

use crate::exchange::{Headers, Name, Request, Response, Value};

/// The edits, with names and values made ready.
#[derive(Debug)]
pub struct Compiled {
    request: Box<[Edit]>,
    response: Box<[Edit]>,
}

#[derive(Debug)]
enum Edit {
    Remove(Name),
    Set(Name, Value),
    Add(Name, Value),
}

impl Compiled {
    /// Makes the edits ready. Names and values were checked with the config.
    pub fn new(policy: &Policy) -> Self {
        Self { request: edits(&policy.request), response: edits(&policy.response) }
    }

    pub(super) fn on_request(&self, request: &mut Request) {
        apply(&self.request, request.head.headers_mut());
    }

    pub(super) fn on_response(&self, response: &mut Response) {
        apply(&self.response, response.head.headers_mut());
    }
}

fn edits(edits: &[HeaderEdit]) -> Box<[Edit]> {
    let edit = |edit: &HeaderEdit| match edit {
        HeaderEdit::Remove(name) => Some(Edit::Remove(Name::parse(name)?)),
        HeaderEdit::Set(name, value) => Some(Edit::Set(Name::parse(name)?, Value::parse(value)?)),
        HeaderEdit::Add(name, value) => Some(Edit::Add(Name::parse(name)?, Value::parse(value)?)),
    };
    edits.iter().filter_map(edit).collect()
}

fn apply(edits: &[Edit], headers: &mut Headers) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => headers.remove(name),
            Edit::Set(name, value) => headers.set(name, value.clone()),
            Edit::Add(name, value) => headers.add(name, value.clone()),
        }
    }
}
