//! A running `proxyd`: started on free ports in a folder of its own, asked through its doors, ended with the test.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::binaries;
use crate::control::Control;
use crate::ctl::{Ran, proxyctl};
use crate::home::Home;
use crate::message::{Request, Response};
use crate::wait::{PATIENCE, until};

/// How a daemon is to be started.
#[derive(Debug)]
pub struct Start {
    home: Home,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    binary: PathBuf,
    sets: Vec<(String, String)>,
}

impl Start {
    /// With this config, on free ports, everything it keeps in a new folder.
    pub fn new(yaml: &str) -> Self {
        Self::in_home(&Home::default(), yaml)
    }

    /// The same in a folder that a daemon has used before.
    pub fn in_home(home: &Home, yaml: &str) -> Self {
        home.write("config.yaml", yaml);
        let sets = [
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("server.state_dir", home.file("data").display().to_string()),
            ("admin.listen", "127.0.0.1:0".to_owned()),
            ("admin.socket", home.file("proxyd.sock").display().to_string()),
            ("log.access", home.file("access.log").display().to_string()),
        ];
        Self {
            home: home.clone(),
            args: vec!["--config".to_owned(), "config.yaml".to_owned()],
            environment: Vec::new(),
            binary: binaries::path("proxyd"),
            sets: sets.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        }
    }

    /// Leaves a key to the config.
    #[must_use]
    pub fn leave(mut self, key: &str) -> Self {
        self.sets.retain(|(known, _)| known != key);
        self
    }

    /// `--set KEY=VALUE`, in place of an earlier one.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self = self.leave(key);
        self.sets.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another binary in place of the one that was built.
    #[must_use]
    pub fn binary(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.binary);
        self
    }

    /// Another config file, or a directory.
    #[must_use]
    pub fn config(mut self, path: &str) -> Self {
        self.args = vec!["--config".to_owned(), path.to_owned()];
        self
    }

    /// Further arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// These arguments alone, without `--config` and without any `--set`.
    #[must_use]
    pub fn only_args(mut self, args: &[&str]) -> Self {
        self.args.clear();
        self.sets.clear();
        self.args(args)
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    fn command(&self) -> Command {
        self.command_of(&self.binary.display().to_string(), &[])
    }

    /// A command that is given what proxyd would be given, after `before`.
    fn command_of(&self, program: &str, before: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(before);
        command.current_dir(self.home.path()).args(&self.args);
        for (key, value) in &self.sets {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PROXY") {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").envs(self.environment.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn run(self) -> Proxyd {
        let mut started = self.spawn();
        started.wait_until_serving();
        started
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub fn spawn(self) -> Proxyd {
        let append = |name: &str| {
            let path = self.home.file(name);
            File::options().create(true).append(true).open(path).expect("an output file can be made")
        };
        let mut command = self.command();
        command.stdout(append("stdout.log")).stderr(append("stderr.log"));
        self.spawn_as(command)
    }

    /// Starts it as a service manager does that has opened its sockets: traffic, admin and control, in this order. Standard
    /// input, output and error bring them, since those are what a child can be given.
    #[track_caller]
    pub fn activated(self, sockets: [OwnedFd; 3]) -> Proxyd {
        let script =
            "exec 3<&0 4<&1 5<&2 0</dev/null 1>>stdout.log 2>>stderr.log; LISTEN_FDS=3 LISTEN_PID=$$ exec \"$@\"";
        let mut command = self.command_of("sh", &["-c", script, "sh", &self.binary.display().to_string()]);
        let [traffic, admin, control] = sockets;
        command.stdin(traffic).stdout(admin).stderr(control);
        let mut started = self.spawn_as(command);
        started.wait_until_serving();
        started
    }

    #[track_caller]
    fn spawn_as(self, mut command: Command) -> Proxyd {
        let child = command.spawn().expect("proxyd can be started");
        let socket = self
            .sets
            .iter()
            .find(|(key, _)| key == "admin.socket")
            .map_or_else(|| self.home.file("proxyd.sock"), |(_, value)| PathBuf::from(value));
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Proxyd { child, successor: None, home: self.home, socket, address: nowhere, admin: nowhere }
    }

    /// Starts it in the expectation that it ends by itself, within [`PATIENCE`].
    #[track_caller]
    pub fn ends(self) -> Ran {
        let mut started = self.spawn();
        let status = started.wait_exit(PATIENCE);
        Ran { code: status.code(), stdout: started.home.read("stdout.log"), stderr: started.home.read("stderr.log") }
    }
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Proxyd {
    child: Child,
    /// The process that took over, after an upgrade. Nobody's child by then.
    successor: Option<Pid>,
    home: Home,
    socket: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Proxyd {
    /// Starts one with this config and waits until it serves.
    #[track_caller]
    pub fn start(yaml: &str) -> Self {
        Start::new(yaml).run()
    }

    /// How long it may take to start: longer with more to read.
    fn patience(&self) -> Duration {
        /// What even an unoptimised daemon on a busy machine reads in a second.
        const BYTES_A_SECOND: u64 = 1 << 18;
        let bytes = std::fs::metadata(self.home.path().join("config.yaml")).map_or(0, |file| file.len());
        PATIENCE + Duration::from_secs(bytes / BYTES_A_SECOND)
    }

    #[track_caller]
    pub fn wait_until_serving(&mut self) {
        let status = until("proxyd serves", self.patience(), || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("proxyd ended at once with {status}\n{}", self.output());
            }
            let mut control = Control::try_connect(&self.socket).ok()?;
            let status = control.try_ask("status", &json!({})).ok()?;
            (status.get("state") == Some(&json!("serving"))).then_some(status)
        });
        self.note_addresses(&status);
    }

    fn note_addresses(&mut self, status: &Value) {
        let listeners = addresses(status.get("listeners"));
        self.address = *listeners.first().unwrap_or_else(|| panic!("no listener: {status}"));
        if let Some(admin) = addresses(status.get("admin")).first() {
            self.admin = *admin;
        }
    }

    /// The first traffic listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin listener.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn pid(&self) -> Pid {
        self.successor.unwrap_or_else(|| Pid::from_raw(self.child.id().cast_signed()))
    }

    /// After an upgrade: the process that serves now is meant from here on. The one before, which drains.
    #[track_caller]
    pub fn follow(&mut self) -> Pid {
        let before = self.pid();
        let now = until("another process answers", PATIENCE, || {
            let status = Control::try_connect(&self.socket).ok()?.try_ask("status", &json!({})).ok()?;
            let pid = Pid::from_raw(i32::try_from(status.get("pid")?.as_u64()?).ok()?);
            (pid != before && status.get("state") == Some(&json!("serving"))).then_some(pid)
        });
        self.successor = Some(now);
        let status = self.status();
        self.note_addresses(&status);
        before
    }

    /// Waits until a process has ended that may be nobody's child.
    #[track_caller]
    pub fn wait_gone(&mut self, pid: Pid, limit: Duration) {
        until("a process ends", limit, || {
            let _ = self.child.try_wait();
            is_gone(pid).then_some(())
        });
    }

    /// Sends a GET to the first traffic listener.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        Request::get(target).send(self.address)
    }

    /// Sends a GET to the admin listener.
    #[track_caller]
    pub fn admin_get(&self, target: &str) -> Response {
        self.admin_send(&Request::get(target))
    }

    /// Sends a request to the admin listener, under its own name.
    #[track_caller]
    pub fn admin_send(&self, request: &Request) -> Response {
        request.clone().host(&self.admin.to_string()).send(self.admin)
    }

    #[track_caller]
    pub fn control(&self) -> Control {
        Control::connect(&self.socket)
    }

    /// Asks over the socket for a single reply.
    #[track_caller]
    pub fn try_ask(&self, command: &str, args: &Value) -> Result<Value, Value> {
        self.control().try_ask(command, args)
    }

    /// Asks over the socket; an error fails the test.
    #[track_caller]
    pub fn ask(&self, command: &str, args: &Value) -> Value {
        self.try_ask(command, args).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Asks over the socket for a stream; an error fails the test.
    #[track_caller]
    pub fn stream(&self, command: &str, args: &Value) -> Vec<Value> {
        self.control().try_stream(command, args).unwrap_or_else(|error| panic!("{command}: {error}")).0
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask("status", &json!({}))
    }

    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.status().get("generation").and_then(Value::as_u64).expect("a generation is a number")
    }

    /// Runs `proxyctl` against this daemon's socket.
    #[track_caller]
    pub fn ctl(&self, args: &[&str]) -> Ran {
        let socket = self.socket.display().to_string();
        let mut all = vec!["--socket", &socket];
        all.extend_from_slice(args);
        proxyctl(self.home.path(), &all)
    }

    /// Writes the config file, whole.
    pub fn write_config(&self, yaml: &str) {
        // As editors do: a reload never meets half a file.
        let new = self.home.write("config.yaml.new", yaml);
        std::fs::rename(new, self.home.file("config.yaml")).expect("a file can be renamed");
    }

    /// Writes the config file and reloads; an error fails the test.
    #[track_caller]
    pub fn reload_with(&self, yaml: &str) -> Value {
        self.write_config(yaml);
        self.ask("reload", &json!({}))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the daemon can be signalled");
    }

    /// Ends it, whether it runs or has ended by itself.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        // After an upgrade, or in the middle of one, there are others: all that run in our folder.
        for pid in running_in(self.home.path()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        until("proxyd ends", limit, || self.child.try_wait().expect("a child can be waited for"))
    }

    /// Stops it as a service manager does, and waits; a bad end fails the test.
    #[track_caller]
    pub fn stop(mut self) -> Home {
        self.signal(Signal::SIGTERM);
        if let Some(successor) = self.successor {
            self.wait_gone(successor, PATIENCE);
        }
        let status = self.wait_exit(PATIENCE);
        assert!(status.success(), "proxyd ended with {status}\n{}", self.output());
        self.home.clone()
    }

    /// Ends it without a chance to tidy up.
    #[track_caller]
    pub fn kill_nine(mut self) -> Home {
        self.signal(Signal::SIGKILL);
        self.wait_exit(PATIENCE);
        self.home.clone()
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("memory is a number")
    }

    /// A metric's value: the sum over all its samples whose labels hold all of `labels`.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.admin_get("/metrics").text();
        let samples = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok())).sum()
    }

    /// Audit rows that a query finds, once there are at least `count`.
    #[track_caller]
    pub fn audit(&self, query: &Value, count: usize) -> Vec<Value> {
        let mut latest = Vec::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if latest.len() >= count {
                return latest;
            }
            assert!(std::time::Instant::now() < deadline, "want {count} rows for {query}, have {latest:#?}");
            latest = self.stream("audit", query);
            std::thread::sleep(Duration::from_millis(if latest.len() >= count { 0 } else { 20 }));
        }
    }

    /// Everything it wrote so far.
    pub fn output(&self) -> String {
        format!("--- stderr\n{}\n--- stdout\n{}", self.home.read("stderr.log"), self.home.read("stdout.log"))
    }
}

impl Drop for Proxyd {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        self.end();
        if std::thread::panicking() {
            let state = ended.map_or_else(|| "was running".to_owned(), |status| format!("had ended with {status}"));
            let output = self.output();
            let tail = output.len().saturating_sub(8000);
            let tail = output.char_indices().map(|(at, _)| at).find(|at| *at >= tail).unwrap_or(0);
            eprintln!("proxyd {state}; it said:\n{}", output.get(tail..).unwrap_or_default());
        }
    }
}

/// The processes whose working directory is this folder.
fn running_in(folder: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_there = |path: &Path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == folder);
    let found = processes.flatten().map(|entry| entry.path()).filter(|path| is_there(path));
    found.filter_map(|path| path.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

/// Whether a process has ended; one that only waits to be looked after by its parent has.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| matches!(rest.trim_start().chars().next(), None | Some('Z' | 'X')))
}

/// The socket addresses in a text or a list of texts, a scheme before them or not.
fn addresses(value: Option<&Value>) -> Vec<SocketAddr> {
    let texts: Vec<&str> = match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.iter().filter_map(|text| text.trim_start_matches("http://").trim_end_matches('/').parse().ok()).collect()
}
