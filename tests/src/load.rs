//! A load: a few threads, each with a keep-alive connection, that send requests until told to stop and count what
//! came back. It fails nothing by itself; the test looks at the tally.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::wire::Wire;

/// A running load.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What a load met.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Responses by status.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that got no whole response, and how it went.
    pub failed: Vec<String>,
    /// Connections opened.
    pub connections: usize,
    /// Ids of the requests that were answered.
    pub ids: Vec<String>,
}

impl Tally {
    /// Requests answered, whatever the status.
    pub fn answered(&self) -> usize {
        self.statuses.values().sum()
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failed.extend(other.failed);
        self.connections += other.connections;
        self.ids.extend(other.ids);
    }
}

impl Load {
    /// Sends GETs of `target` over `connections` connections at once; each request has an id of its own, made from
    /// `prefix`.
    pub fn start(address: SocketAddr, target: &str, connections: usize, prefix: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..connections)
            .map(|thread| {
                let stop = Arc::clone(&stop);
                let target = target.to_owned();
                let prefix = format!("{prefix}-{thread}");
                std::thread::spawn(move || one_connection(address, &target, &prefix, &stop))
            })
            .collect();
        Self { stop, threads }
    }

    /// Lets the requests under way end, and tells what all met.
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let mut total = Tally::default();
        for thread in self.threads {
            total.add(thread.join().expect("a load does not panic"));
        }
        total
    }
}

fn one_connection(address: SocketAddr, target: &str, prefix: &str, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut wire: Option<Wire> = None;
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        let reused = wire.is_some();
        let Some(mut open) = wire.take().or_else(|| TcpStream::connect(address).ok().map(Wire::over)) else {
            tally.failed.push("cannot connect".to_owned());
            std::thread::sleep(std::time::Duration::from_millis(10));
            continue;
        };
        if !reused {
            tally.connections += 1;
        }
        number += 1;
        let id = format!("{prefix}-{number}");
        let sent = open.try_send(format!("GET {target} HTTP/1.1\r\nHost: load.test\r\nX-Request-ID: {id}\r\n\r\n"));
        let response = if sent { open.try_response("GET") } else { None };
        match response {
            Some(response) if response.whole => {
                *tally.statuses.entry(response.status).or_default() += 1;
                tally.ids.push(id);
                if !response.headers.has("connection", "close") {
                    wire = Some(open);
                }
            }
            Some(response) => tally.failed.push(format!("{id}: {} without its whole body", response.status)),
            None => tally.failed.push(format!("{id}: closed without an answer (reused connection: {reused})")),
        }
    }
    tally
}
