//! A daemon that says what it was told to say, and notes what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A place for sockets and files, and what was asked there.
pub(crate) struct Fake {
    pub(crate) dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Answers every line with `lines`, in which `ID` stands for the request's id.
    pub(crate) fn socket(lines: &[&str]) -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap(), asked: Arc::default() };
        let listener = UnixListener::bind(fake.path()).unwrap();
        let (asked, lines) = (Arc::clone(&fake.asked), owned(lines));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
                    let id = serde_json::from_str::<Value>(&line).map_or(Value::Null, |ask| ask["id"].clone());
                    asked.lock().unwrap().push(std::mem::take(&mut line));
                    for answer in &lines {
                        let _ = stream.write_all(answer.replace("ID", &id.to_string()).as_bytes());
                        let _ = stream.write_all(b"\n");
                    }
                }
            }
        });
        fake
    }

    /// Answers every HTTP request with `head` (status line and headers) and `body`; returns its URL too.
    pub(crate) fn http(head: &str, body: &str) -> (Self, String) {
        let fake = Self { dir: tempfile::tempdir().unwrap(), asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = format!("{head}\r\nconnection: close\r\n\r\n{body}");
        let asked = Arc::clone(&fake.asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let (mut request, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or_default() == 0 {
                        break;
                    }
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    request.push_str(&line);
                    if line == "\r\n" {
                        break;
                    }
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).unwrap();
                request.push_str(&String::from_utf8(sent).unwrap());
                asked.lock().unwrap().push(request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        (fake, url)
    }

    /// Where its socket is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("proxyd.sock")
    }

    /// What it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Its one question, without its id.
    pub(crate) fn one_ask(&self) -> Value {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let mut ask: Value = serde_json::from_str(&asked[0]).unwrap();
        ask.as_object_mut().unwrap().remove("id");
        ask
    }

    /// Runs proxyctl against its socket.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        run_with(args, &[("PROXYD_SOCKET", self.path().to_str().unwrap())], self.dir.path(), "")
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// What a run of proxyctl left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs proxyctl in `dir` with nothing of this process's environment but `variables`.
pub(crate) fn run_with(args: &[&str], variables: &[(&str, &str)], dir: &Path, input: &str) -> Run {
    let mut child = command(args, variables, dir).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (done, wait) = mpsc::sync_channel(1);
    thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(Duration::from_secs(30)) else {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        panic!("proxyctl {args:?} did not end");
    };
    let Output { status, stdout, stderr } = output.unwrap();
    Run {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// The command, ready to be started.
pub(crate) fn command(args: &[&str], variables: &[(&str, &str)], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxyctl"));
    command.args(args).current_dir(dir).env_clear().env("TZ", "Europe/Berlin").env("TMPDIR", dir);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
