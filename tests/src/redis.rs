//! A real `redis-server`, started on a free port in a folder of its own, ended with the test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::Home;
use crate::wait::eventually;

/// A running server; it can be ended and started again on the same port.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    args: Vec<String>,
    home: Home,
}

impl Redis {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with a password.
    #[track_caller]
    pub fn with_password(password: &str) -> Self {
        Self::with(&["--requirepass", password])
    }

    #[track_caller]
    fn with(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut redis = Self { child: None, port: 0, args, home: Home::default() };
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
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &self.port.to_string()]);
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

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
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
