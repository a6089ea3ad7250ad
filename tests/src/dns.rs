//! A name server that a test tells what to say, over UDP (RFC 1035 section 4).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What stands at a name.
#[derive(Clone, Debug)]
pub enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Srv { priority: u16, weight: u16, port: u16, target: String },
}

/// A server on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Names {
    address: SocketAddr,
    said: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// By name in lower case: how long it holds in seconds, and what.
    names: Mutex<BTreeMap<String, (u32, Vec<Record>)>>,
    silent: AtomicBool,
    stop: AtomicBool,
    asked: AtomicUsize,
}

impl Record {
    /// Its number (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Aaaa(_) => 28,
            Self::Srv { .. } => 33,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::A(ip) => ip.octets().to_vec(),
            Self::Aaaa(ip) => ip.octets().to_vec(),
            Self::Srv { priority, weight, port, target } => {
                let mut bytes: Vec<u8> =
                    [priority, weight, port].iter().flat_map(|number| number.to_be_bytes()).collect();
                for label in target.split('.').filter(|label| !label.is_empty()) {
                    bytes.push(label.len() as u8);
                    bytes.extend(label.as_bytes());
                }
                bytes.push(0);
                bytes
            }
        }
    }
}

impl Default for Names {
    fn default() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("a socket knows its address");
        let said = Arc::new(Said::default());
        let says = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut room = [0; 1500];
            while let Ok((bytes, from)) = socket.recv_from(&mut room) {
                if says.stop.load(Ordering::SeqCst) {
                    return;
                }
                says.asked.fetch_add(1, Ordering::SeqCst);
                let answer = says.answer(room.get(..bytes).unwrap_or_default());
                if let Some(answer) = answer.filter(|_| !says.silent.load(Ordering::SeqCst)) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, said }
    }
}

impl Said {
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut at = 12;
        let mut name = Vec::new();
        loop {
            let length = usize::from(*question.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            name.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(question.get(at..at + 2)?.try_into().ok()?);
        let names = self.names.lock().expect("no test panicked while saying a name");
        let known = names.get(&name.join("."));
        let found: Vec<&Record> =
            known.iter().flat_map(|(_, records)| records).filter(|one| one.kind() == kind).collect();
        let mut answer = question.get(..2)?.to_vec();
        // An answer with authority, and whether there is such a name (section 4.1.1).
        answer.extend([0x85, if known.is_some() { 0x80 } else { 0x83 }, 0, 1]);
        answer.extend((found.len() as u16).to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question.get(12..at + 4)?);
        for record in found {
            let bytes = record.bytes();
            // The name that was asked for, of the Internet.
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([0, 1]);
            answer.extend(known.map_or(0, |(ttl, _)| *ttl).to_be_bytes());
            answer.extend((bytes.len() as u16).to_be_bytes());
            answer.extend(bytes);
        }
        Some(answer)
    }
}

impl Names {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on these stand at the name, for so many seconds.
    pub fn say(&self, name: &str, ttl: u32, records: &[Record]) {
        let mut names = self.said.names.lock().expect("nobody panicked while answering");
        names.insert(name.to_lowercase(), (ttl, records.to_vec()));
    }

    /// There is no such name any more.
    pub fn forget(&self, name: &str) {
        self.said.names.lock().expect("nobody panicked while answering").remove(name);
    }

    /// Answers nothing, or does again.
    pub fn be_silent(&self, silent: bool) {
        self.said.silent.store(silent, Ordering::SeqCst);
    }

    /// How many questions came.
    pub fn asked(&self) -> usize {
        self.said.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.said.stop.store(true, Ordering::SeqCst);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(&[], self.address);
        }
    }
}
