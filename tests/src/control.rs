//! A caller on the control socket: JSON lines out, JSON lines in.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// An open connection to the control socket.
#[derive(Debug)]
pub struct Control {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
    next_id: i64,
}

impl Control {
    /// Connects, or says why not.
    pub fn try_connect(socket: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(stream.try_clone()?);
        Ok(Self { stream, lines, next_id: 1 })
    }

    /// Connects.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        Self::try_connect(socket).unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()))
    }

    /// Writes these bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the daemon takes what is sent");
    }

    /// Writes these bytes as they are; false where the daemon is gone.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Reads one line; none at the end of the connection.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the daemon does not answer: {error}"),
        }
    }

    /// Asks, without reading the answer; the id to look for.
    pub fn send(&mut self, command: &str, args: &Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let mut line = json!({"v": 1, "id": id, "command": command, "args": args}).to_string();
        line.push('\n');
        self.send_bytes(line.as_bytes());
        id
    }

    /// Asks for a single reply: its `ok`, or its `error`.
    #[track_caller]
    pub fn try_ask(&mut self, command: &str, args: &Value) -> Result<Value, Value> {
        let id = self.send(command, args);
        let line = self.line().expect("the daemon answers before it closes");
        assert_eq!(line.get("id"), Some(&json!(id)), "{line}");
        assert_eq!(line.get("v"), Some(&json!(1)), "{line}");
        if let Some(error) = line.get("error") {
            return Err(error.clone());
        }
        Ok(line.get("ok").unwrap_or_else(|| panic!("neither ok nor error: {line}")).clone())
    }

    /// Asks for a stream: its events and what its end says, or its error.
    #[track_caller]
    pub fn try_stream(&mut self, command: &str, args: &Value) -> Result<(Vec<Value>, Value), Value> {
        let id = self.send(command, args);
        let mut events = Vec::new();
        loop {
            let line = self.line().expect("the daemon ends its stream before it closes");
            assert_eq!(line.get("id"), Some(&json!(id)), "{line}");
            if let Some(event) = line.get("event") {
                events.push(event.clone());
            } else if let Some(end) = line.get("end") {
                return Ok((events, end.clone()));
            } else if let Some(error) = line.get("error") {
                return Err(error.clone());
            } else {
                panic!("no event, no end, no error: {line}");
            }
        }
    }
}
