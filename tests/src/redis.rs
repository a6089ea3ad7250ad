//! A real `redis-server`, started on a free port in a folder of its own, ended with the test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::Home;
use crate::tls::Pair;
use crate::wait::eventually;

/// What the reference page says a proxy needs: no test of a proxy has more.
const PAGE: &str = include_str!("../../docs/reference/limits.md");

/// A running server; it can be ended and started again on the same port.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    args: Vec<String>,
    /// Of the scheme and the user in its URL.
    before_host: &'static str,
    home: Home,
}

impl Redis {
    /// Starts one and waits until it answers. Its URL is of a user who may do what the reference page says, and no more.
    #[track_caller]
    pub fn start() -> Self {
        let line = PAGE.lines().find_map(|line| line.strip_prefix("ACL SETUSER "));
        let user: Vec<&str> = line.expect("the page has the rights").split(' ').collect();
        Self::with("redis://proxyd:PASSWORD@", &[&["--user"], &*user].concat(), None)
    }

    /// The same, with a password.
    #[track_caller]
    pub fn with_password(password: &str) -> Self {
        Self::with("redis://", &["--requirepass", password], None)
    }

    /// The same over TLS alone, with this certificate. Asks for none of its clients.
    #[track_caller]
    pub fn with_tls(pair: &Pair, password: &str) -> Self {
        Self::with("rediss://", &["--requirepass", password, "--tls-auth-clients", "no"], Some(pair))
    }

    #[track_caller]
    fn with(before_host: &'static str, args: &[&str], pair: Option<&Pair>) -> Self {
        let (mut args, home): (Vec<String>, _) = (args.iter().map(|arg| (*arg).to_owned()).collect(), Home::default());
        if let Some(files) = pair.map(|pair| pair.write(&home, "redis")) {
            let [cert, key] = [files.cert, files.key].map(|path| path.display().to_string());
            args.extend(["--tls-cert-file".to_owned(), cert, "--tls-key-file".to_owned(), key]);
        }
        let mut redis = Self { child: None, port: 0, args, before_host, home };
        // Somebody else may take a port between its choice and its use.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
            redis.port = port.expect("there is a free port").port();
            if redis.try_run() {
                return redis;
            }
        }
        panic!("redis-server finds no port");
    }

    /// Starts it again, empty.
    #[track_caller]
    pub fn run(&mut self) {
        assert!(self.try_run(), "redis-server does not come up on {} again", self.address());
    }

    #[track_caller]
    fn try_run(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let port = self.port.to_string();
        if self.before_host.starts_with("rediss:") {
            command.args(["--port", "0", "--tls-port", &port]);
        } else {
            command.args(["--port", &port]);
        }
        command.args(&self.args).current_dir(self.home.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.spawn();
        let child = self
            .child
            .insert(started.expect("redis-server is there: ./check installs it, or: apt-get install redis-server"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        eventually("redis-server answers", || {
            if child.try_wait().expect("a child can be waited for").is_some() {
                return Some(false);
            }
            TcpStream::connect(address).ok().map(|_| true)
        })
    }

    /// Ends it at once, as a crash does.
    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `redis://127.0.0.1:PORT`, with whom to come as.
    pub fn url(&self) -> String {
        format!("{}{}", self.before_host, self.address())
    }

    /// What `redis-cli` says to a command.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(args).stdin(Stdio::null());
        let output = command.output().expect("redis-cli is there: it comes with redis-server");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}
