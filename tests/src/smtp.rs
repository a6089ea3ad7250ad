//! A mail server that collects what it is sent (RFC 5321), or refuses it; in clear, by STARTTLS (RFC 3207) or in TLS from the
//! start (RFC 8314).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::message::Headers;
use crate::tls::{Pair, Server};
use crate::wait::eventually;

/// On a free port of 127.0.0.1; it stops listening when dropped.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    mails: Mutex<Vec<Mail>>,
    logins: Mutex<Vec<Login>>,
    greetings: AtomicUsize,
    refuses: AtomicBool,
    stop: AtomicBool,
}

/// Somebody who said who they are (RFC 4954).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The line, as it came.
    pub line: String,
    pub in_tls: bool,
}

/// How a connection is made safe.
#[derive(Clone)]
enum Safety {
    None,
    StartTls(Server),
    Implicit(Server),
}

/// A mail as it came.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub in_tls: bool,
    /// `MAIL FROM` and `RCPT TO`, without their brackets.
    pub from: String,
    pub to: Vec<String>,
    pub headers: Headers,
    pub text: String,
}

impl Mail {
    /// The line of the text that is a link.
    pub fn link(&self) -> &str {
        let link = self.text.lines().find(|line| line.starts_with("http"));
        link.unwrap_or_else(|| panic!("no link in {:?}", self.text))
    }

    /// What the link ends with, behind its last `=`.
    pub fn token(&self) -> &str {
        self.link().rsplit('=').next().unwrap_or_default()
    }
}

impl MailServer {
    /// Takes every mail, in clear.
    pub fn start() -> Self {
        Self::with(Safety::None)
    }

    /// Offers TLS with this certificate; what comes before it is taken too.
    pub fn starttls(pair: &Pair) -> Self {
        Self::with(Safety::StartTls(Server::new(pair, &[])))
    }

    /// Speaks TLS from the start.
    pub fn implicit(pair: &Pair) -> Self {
        Self::with(Safety::Implicit(Server::new(pair, &[])))
    }

    fn with(safety: Safety) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a listener knows its address");
        let seen = Arc::new(Seen::default());
        let server = Self { address, seen: Arc::clone(&seen) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (seen, safety) = (Arc::clone(&seen), safety.clone());
                // A client that leaves is no failure.
                std::thread::spawn(move || greet(stream, &safety, &seen).unwrap_or_default());
            }
        });
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it refuses every reader from now on (550).
    pub fn refuse(&self, refuses: bool) {
        self.seen.refuses.store(refuses, Ordering::SeqCst);
    }

    /// All mails so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.seen.mails.lock().unwrap().clone()
    }

    /// Who said who they are.
    pub fn logins(&self) -> Vec<Login> {
        self.seen.logins.lock().unwrap().clone()
    }

    /// How often it was greeted (`EHLO`).
    pub fn greetings(&self) -> usize {
        self.seen.greetings.load(Ordering::SeqCst)
    }

    /// Waits for the mail of this number, from 0.
    pub fn mail(&self, index: usize) -> Mail {
        eventually(&format!("mail {index}"), || self.mails().get(index).cloned())
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn greet(stream: TcpStream, safety: &Safety, seen: &Seen) -> std::io::Result<()> {
    match safety {
        Safety::None | Safety::StartTls(_) => {
            (&stream).write_all(GREETING)?;
            talk(stream, safety, seen, false)
        }
        Safety::Implicit(server) => {
            let stream = server.accept(stream).map_err(std::io::Error::other)?.plain;
            (&stream).write_all(GREETING)?;
            talk(stream, safety, seen, true)
        }
    }
}

const GREETING: &[u8] = b"220 mail.test ESMTP\r\n";

fn talk(stream: TcpStream, safety: &Safety, seen: &Seen, in_tls: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let say = |line: &str| (&stream).write_all(format!("{line}\r\n").as_bytes());
    let mut mail = Mail::default();
    while let Some(line) = lines.next() {
        let line = line?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let address =
            || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inside, _)| inside.to_owned());
        match verb.as_str() {
            "EHLO" | "HELO" => {
                seen.greetings.fetch_add(1, Ordering::SeqCst);
                let offers_tls = matches!(safety, Safety::StartTls(_)) && !in_tls;
                say(if offers_tls { "250-mail.test\r\n250-STARTTLS" } else { "250-mail.test" })?;
                say("250 AUTH PLAIN LOGIN")?;
            }
            "STARTTLS" => {
                let Safety::StartTls(server) = safety else { return say("502 no TLS here") };
                say("220 go on")?;
                let secure = server.accept(stream.try_clone()?).map_err(std::io::Error::other)?;
                return talk(secure.plain, safety, seen, true);
            }
            "AUTH" => {
                seen.logins.lock().unwrap().push(Login { line, in_tls });
                say("235 welcome")?;
            }
            "MAIL" => {
                mail = Mail { from: address().unwrap_or_default(), in_tls, ..Mail::default() };
                say("250 OK")?;
            }
            "RCPT" if seen.refuses.load(Ordering::SeqCst) => say("550 no such mailbox")?,
            "RCPT" => {
                mail.to.push(address().unwrap_or_default());
                say("250 OK")?;
            }
            "DATA" => {
                say("354 go on")?;
                let mut text = String::new();
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push_str("\r\n");
                }
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                mail.headers = Headers::of_head(&format!("\r\n{}", head.replace("\r\n ", " ")));
                mail.text = readable(body, &mail.headers);
                seen.mails.lock().unwrap().push(std::mem::take(&mut mail));
                say("250 taken")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Ok(());
            }
            _ => say("250 OK")?,
        }
    }
    Ok(())
}

/// The text without its transfer encoding (RFC 2045 section 6.7).
fn readable(body: &str, headers: &Headers) -> String {
    let body = body.replace("\r\n", "\n");
    if headers.get("content-transfer-encoding") != Some("quoted-printable") {
        return body;
    }
    let mut out = Vec::new();
    let joined = body.replace("=\n", "");
    let mut rest = joined.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let code: String = rest.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&code, 16).expect("quoted-printable is well-formed"));
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).expect("a mail is UTF-8")
}
