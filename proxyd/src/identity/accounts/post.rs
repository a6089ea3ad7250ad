//! Sends mails: a bounded number at once, behind the back of the request that asked for one, so that its time tells nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{Address, AsyncTransport, Tokio1Executor};
use shared::config::identity::{Mail, MailTls};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::letters::Letter;
use super::secret;

/// Mails that wait or are under way; beyond it none is taken.
const MOST_WAITING: usize = 256;
/// Connections to the mail server at once.
const MOST_AT_ONCE: usize = 4;
/// Of one attempt, the connection included.
const LONGEST: Duration = Duration::from_secs(10);
/// Before each attempt.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30)];

/// See the module.
pub(super) struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    queue: Arc<Queue>,
}

/// What outlives a reload.
struct Queue {
    places: Arc<Semaphore>,
    wires: Semaphore,
    sent: AtomicU64,
    failed: AtomicU64,
}

/// Room for one mail.
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Post {
    /// Reads the certificates of the system, and takes the queue over from the one before.
    pub(super) fn compile(config: &Mail, before: Option<&Self>) -> Result<Self, String> {
        let from: Mailbox =
            config.from.parse().map_err(|error| format!("mails cannot be from `{}`: {error}", config.from))?;
        let tls = || {
            TlsParameters::new(config.host.to_string())
                .map_err(|error| format!("no TLS with the mail server `{}`: {error}", config.host))
        };
        let tls = match config.tls {
            MailTls::Off => Tls::None,
            MailTls::StartTls => Tls::Required(tls()?),
            MailTls::Implicit => Tls::Wrapper(tls()?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&*config.host)
            .port(config.port)
            .tls(tls)
            .timeout(Some(LONGEST));
        if let (Some(user), Some(password)) = (&config.user, &config.password) {
            transport = transport.credentials(Credentials::new(user.to_string(), password.reveal().to_owned()));
        }
        let fresh = || {
            Arc::new(Queue {
                places: Arc::new(Semaphore::new(MOST_WAITING)),
                wires: Semaphore::new(MOST_AT_ONCE),
                sent: AtomicU64::new(0),
                failed: AtomicU64::new(0),
            })
        };
        let queue = before.map_or_else(fresh, |before| Arc::clone(&before.queue));
        Ok(Self { transport: transport.build(), from, queue })
    }

    /// Room for a mail; none where too many wait.
    pub(super) fn place(&self) -> Option<Place> {
        Arc::clone(&self.queue.places).try_acquire_owned().ok().map(Place)
    }

    /// Mails that were sent, and that were given up.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.queue.sent.load(Ordering::Relaxed), self.queue.failed.load(Ordering::Relaxed))
    }

    /// Sends one, and tries again where that may help. Nobody waits for it: what goes wrong is counted and logged.
    pub(super) async fn send(&self, letter: Letter, place: Place) {
        let outcome = match self.message(letter) {
            Some(message) => self.deliver(&message).await,
            None => Err("its address is none".to_owned()),
        };
        drop(place);
        match outcome {
            Ok(()) => self.queue.sent.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                // Neither the address nor what the server says of it, nor the text with its token.
                tracing::warn!(%error, "a mail was not sent");
                self.queue.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    fn message(&self, letter: Letter) -> Option<Message> {
        let (local, domain) = letter.to.split_once('@')?;
        let to = Mailbox::new(None, Address::new(local, domain).ok()?);
        let id = format!("<{}@{}>", secret::id()?, self.from.email.domain());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .ok()
    }

    async fn deliver(&self, message: &Message) -> Result<(), String> {
        let mut last = String::new();
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            let Ok(_wire) = self.queue.wires.acquire().await else { return Err("the queue is closed".to_owned()) };
            match tokio::time::timeout(LONGEST, self.transport.send(message.clone())).await {
                Ok(Ok(_)) => return Ok(()),
                // Another attempt would end the same way: it was refused, or the server lacks TLS or shows a certificate that is not
                // its own.
                Ok(Err(error)) if error.is_permanent() || error.is_client() || tls_fault(&error).is_some() => {
                    return Err(kind(&error));
                }
                Ok(Err(error)) => last = kind(&error),
                Err(_) => "the mail server did not answer in time".clone_into(&mut last),
            }
        }
        Err(last)
    }
}

/// What went wrong, without the server's words: they may repeat the address.
fn kind(error: &Error) -> String {
    if let Some(status) = error.status() {
        return format!("the mail server answered {status}");
    }
    if let Some(fault) = tls_fault(error) {
        return format!("no TLS with the mail server: {fault}");
    }
    let kind = if error.is_timeout() {
        "the mail server did not answer in time"
    } else if error.is_tls() {
        "no TLS with the mail server"
    } else if error.is_response() {
        "the mail server's answer makes no sense"
    } else if error.is_client() {
        "the mail server lacks what is needed"
    } else {
        "no connection to the mail server"
    };
    kind.to_owned()
}

/// What TLS says, if it is that; the error shows it as one of its connection.
fn tls_fault(error: &Error) -> Option<&rustls::Error> {
    let mut next = std::error::Error::source(error);
    while let Some(within) = next {
        if let Some(fault) = within.downcast_ref() {
            return Some(fault);
        }
        next = match within.downcast_ref::<std::io::Error>() {
            // Its source would be that of what it holds.
            Some(io) => io.get_ref().map(|held| held as &(dyn std::error::Error + 'static)),
            None => within.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(from: &str) -> Result<Post, String> {
        let config = Mail {
            host: "127.0.0.1".into(),
            port: 25,
            tls: MailTls::Off,
            user: None,
            password: None,
            from: from.into(),
            reset_url: "".into(),
            verify_url: "".into(),
        };
        Post::compile(&config, None)
    }

    #[test]
    fn a_sender_that_is_none_is_refused() {
        for from in ["", "proxy", "a@b\r\nBcc: c@d", "a@b, c@d"] {
            assert!(post(from).is_err(), "{from:?}");
        }
        for from in ["noreply@example.com", "The Gateway <noreply@example.com>"] {
            assert!(post(from).is_ok(), "{from:?}");
        }
    }

    #[test]
    fn a_mail_has_one_reader_and_the_lines_that_are_ours() {
        let post = post("The Gateway <noreply@example.com>").unwrap();
        let letter =
            |to: &str| Letter { to: to.to_owned(), subject: "Subject", text: "A\nBcc: eve@evil.example\n".into() };
        let check = |to: &str, expected: bool| {
            let message = post.message(letter(to));
            assert_eq!(message.is_some(), expected, "{to:?}");
            let Some(message) = message else { return };
            let text = String::from_utf8(message.formatted()).unwrap();
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let names: Vec<_> = head.lines().filter_map(|line| line.split_once(": ").map(|(name, _)| name)).collect();
            for name in &names {
                let ours = ["From", "To", "Subject", "Message-ID", "Date", "Content-Type", "Content-Transfer-Encoding"];
                assert!(ours.contains(name), "{text}");
            }
            assert_eq!(message.envelope().to().len(), 1);
        };
        check("ann@example.com\r\nBcc: eve@evil.example", false);
        check("ann@example.com,eve@evil.example", false);
        check("ann@example.com>, <eve@evil.example", false);
        check("ann\r\n@example.com", false);
        check("", false);
        check("ann@example.com", true);
    }
}
