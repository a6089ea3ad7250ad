//! The lines on the socket: `{"v":1,"id":7,"command":"audit","args":{"last":50}}` and their answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Command, ControlError, ErrorCode};

/// The version spoken.
pub const VERSION: u32 = 1;

/// A line the daemon receives is at most this long, newline included.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// The caller's mark on a request, echoed in every line of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    Number(i64),
    Text(String),
}

/// A request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ask {
    pub v: u32,
    pub id: Id,
    #[serde(flatten)]
    pub command: Command,
}

/// What a line of an answer carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The whole reply.
    Ok(Value),
    /// One of many.
    Event(Value),
    /// After the last event; what is to be said about the whole.
    End(Value),
    Error(ControlError),
}

/// An answer line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wire {
    pub v: u32,
    /// Null when the request's own could not be read.
    pub id: Option<Id>,
    #[serde(flatten)]
    pub answer: Answer,
}

impl Ask {
    /// Reads a request line. The error carries the id where that could be read, so that the answer finds its request.
    pub fn parse(line: &[u8]) -> Result<Self, (Option<Id>, ControlError)> {
        let malformed = |message: &str| ControlError::new(ErrorCode::MalformedRequest, message);
        let value: Value =
            serde_json::from_slice(line).map_err(|error| (None, malformed(&format!("not a JSON object: {error}"))))?;
        let Value::Object(mut object) = value else {
            return Err((None, malformed("not a JSON object")));
        };
        let id = match object.remove("id") {
            None => return Err((None, malformed("`id` is missing: an integer or a string, echoed in the answer"))),
            Some(value) => serde_json::from_value::<Id>(value)
                .map_err(|_| (None, malformed("`id` must be an integer or a string")))?,
        };
        let fail = |error: ControlError| (Some(id.clone()), error);
        match object.remove("v").as_ref().map(Value::as_u64) {
            Some(Some(version)) if version == u64::from(VERSION) => {}
            Some(Some(version)) => {
                let message = format!("version {version} is not spoken here; this daemon speaks version {VERSION}");
                return Err(fail(ControlError::new(ErrorCode::UnsupportedVersion, message)));
            }
            Some(None) | None => return Err(fail(malformed("`v` must be the protocol version, 1"))),
        }
        let Some(Value::String(name)) = object.remove("command") else {
            return Err(fail(malformed("`command` must be a command's name")));
        };
        let args = object.remove("args").unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        if let Some(key) = object.keys().next() {
            return Err(fail(malformed(&format!("unknown key `{key}`; a request has v, id, command and args"))));
        }
        let command = Command::parse(&name, args).map_err(fail)?;
        Ok(Self { v: VERSION, id, command })
    }
}

impl Command {
    /// A command from its name and its arguments.
    pub fn parse(name: &str, args: Value) -> Result<Self, ControlError> {
        if !Self::NAMES.contains(&name) {
            let message = format!("unknown command `{name}`; known are {}", Self::NAMES.join(", "));
            return Err(ControlError::new(ErrorCode::UnknownCommand, message));
        }
        let whole = serde_json::json!({ "command": name, "args": args });
        serde_json::from_value(whole)
            .map_err(|error| ControlError::new(ErrorCode::InvalidArguments, format!("arguments of `{name}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Nothing, ReloadArgs};

    fn check(line: &str, expected: Result<Command, ErrorCode>) {
        let got = Ask::parse(line.as_bytes()).map(|ask| ask.command).map_err(|(_, error)| error.code);
        assert_eq!(got, expected, "{line}");
    }

    #[test]
    fn lines_are_read_and_refused_by_code() {
        check(r#"{"v":1,"id":1,"command":"status"}"#, Ok(Command::Status(Nothing {})));
        check(r#"{"v":1,"id":"a","command":"status","args":{}}"#, Ok(Command::Status(Nothing {})));
        check(
            r#"{"v":1,"id":1,"command":"reload","args":{"dry_run":true}}"#,
            Ok(Command::Reload(ReloadArgs { dry_run: true, config: None })),
        );
        check("", Err(ErrorCode::MalformedRequest));
        check("[]", Err(ErrorCode::MalformedRequest));
        check(r#"{"v":1,"command":"status"}"#, Err(ErrorCode::MalformedRequest));
        check(r#"{"v":1,"id":1.5,"command":"status"}"#, Err(ErrorCode::MalformedRequest));
        check(r#"{"v":2,"id":1,"command":"status"}"#, Err(ErrorCode::UnsupportedVersion));
        check(r#"{"v":1,"id":1,"command":"fly"}"#, Err(ErrorCode::UnknownCommand));
        check(r#"{"v":1,"id":1,"command":"status","args":{"x":1}}"#, Err(ErrorCode::InvalidArguments));
        check(r#"{"v":1,"id":1,"command":"reload","args":{"dry_run":"yes"}}"#, Err(ErrorCode::InvalidArguments));
        check(r#"{"v":1,"id":1,"command":"status","more":1}"#, Err(ErrorCode::MalformedRequest));
    }

    #[test]
    fn an_ask_survives_the_wire() {
        for command in [Command::Status(Nothing {}), Command::Reload(ReloadArgs { dry_run: true, config: None })] {
            let ask = Ask { v: VERSION, id: Id::Number(7), command };
            let line = serde_json::to_vec(&ask).unwrap();
            assert_eq!(Ask::parse(&line).map_err(|(_, error)| error), Ok(ask));
        }
    }
}
