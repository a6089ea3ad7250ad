//! The files that a config names for TLS and identity, read and judged: whether they are what they should be, fit together, and for how long.
//!
//! Private keys are read here and nowhere shown: of a key's file, messages say only what is wrong with it.

mod identity;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use shared::config::problem::Code;
use shared::config::{CertificateFiles, Config, Problem, Remark, Severity};

/// The largest file that is read: several times the authorities of a whole system.
const MAX_BYTES: u64 = 4 << 20;
/// How long before its end a certificate is warned about.
const SOON_S: i64 = 14 * DAY_S;
const DAY_S: i64 = 86_400;

/// What came of looking at all files.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) remarks: Vec<Found>,
    /// Files looked at.
    pub(crate) files: u64,
    /// When the first certificate ends, in seconds since 1970.
    pub(crate) first_end_s: Option<i64>,
}

/// One thing found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) remark: Remark,
    /// Whoever asks may not read the file; the daemon may.
    pub(crate) is_denied: bool,
}

/// Reads every file that the config names for TLS and identity.
pub(crate) fn examine(config: &Config, now: Timestamp) -> Examined {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut work = Work { provider, now_s: now.as_second(), examined: Examined::default() };
    for (index, listen) in config.server.listen.iter().enumerate() {
        let Some(tls) = &listen.tls else { continue };
        let index = index.to_string();
        let at = ["server", "listen", &index, "tls"];
        for (number, files) in tls.certificates.iter().enumerate() {
            let number = number.to_string();
            work.pair(&[&at[..], &["certificates", &number]].concat(), files);
        }
        if let Some(file) = &tls.client_ca {
            work.authorities(&[&at[..], &["client_ca"]].concat(), file);
        }
    }
    for upstream in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        let at = ["upstreams", &*upstream.name, "tls"];
        if let Some(file) = &tls.ca {
            work.authorities(&[&at[..], &["ca"]].concat(), file);
        }
        if let Some(files) = &tls.client {
            work.pair(&at, files);
        }
    }
    work.identity(&config.identity);
    work.examined
}

/// The same as problems of the config, in the order of its sources.
pub(crate) fn problems(checked: &shared::config::Checked, now: Timestamp) -> Vec<Problem> {
    let remarks = examine(&checked.config, now).remarks;
    checked.locate(remarks.into_iter().map(|found| found.remark).collect())
}

/// Why a file is no good.
struct Fault {
    code: Code,
    message: String,
    hint: Option<&'static str>,
    is_denied: bool,
}

impl Fault {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, is_denied: false }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidValue, message)
    }

    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

struct Work {
    provider: Arc<CryptoProvider>,
    now_s: i64,
    examined: Examined,
}

impl Work {
    /// A certificate with its chain, its key, and whether they belong together.
    fn pair(&mut self, at: &[&str], files: &CertificateFiles) {
        let cert_keys = [at, &["cert"]].concat();
        let key_keys = [at, &["key"]].concat();
        self.examined.files += 2;
        let chain = certificates(&files.cert, "certificate");
        if let Ok(chain) = &chain {
            self.age(&cert_keys, &files.cert, chain.iter().map(|one| one.end_s).min(), "a certificate that");
            if let Some(leaf) = chain.first().filter(|leaf| leaf.start_s > self.now_s) {
                let fault = Fault::new(
                    Code::Expires,
                    format!("holds a certificate that is not good before {}", moment(leaf.start_s)),
                );
                self.note(Severity::Warning, &cert_keys, &files.cert, fault.hint("look at this machine's clock"));
            }
        }
        let key = private_key(&files.key);
        match (chain, key) {
            (Ok(chain), Ok(key)) => {
                let chain = chain.into_iter().map(|one| one.der).collect();
                match CertifiedKey::from_der(chain, key, &self.provider) {
                    Ok(_) => {}
                    Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                        let fault = Fault::new(Code::Conflict, "is not the key of the certificate beside it")
                            .hint("the certificate's file must begin with the certificate of this key, its intermediates after it");
                        self.note(Severity::Error, &key_keys, &files.key, fault);
                    }
                    Err(Error::InvalidCertificate(error)) => {
                        let fault = Fault::invalid(format!("holds a certificate that cannot be used: {error:?}"));
                        self.note(Severity::Error, &cert_keys, &files.cert, fault);
                    }
                    Err(error) => {
                        let fault = Fault::invalid(format!("holds a private key that cannot be used: {error}")).hint(
                            "use an RSA key of 2048 bits or more, an ECDSA key (P-256, P-384, P-521), or Ed25519",
                        );
                        self.note(Severity::Error, &key_keys, &files.key, fault);
                    }
                }
            }
            (chain, key) => {
                if let Err(fault) = chain {
                    self.note(Severity::Error, &cert_keys, &files.cert, fault);
                }
                if let Err(fault) = key {
                    self.note(Severity::Error, &key_keys, &files.key, fault);
                }
            }
        }
    }

    /// Those who sign certificates. One that is past its time may stand among others that are not.
    fn authorities(&mut self, at: &[&str], file: &Path) {
        self.examined.files += 1;
        match certificates(file, "authority") {
            Ok(authorities) => {
                let mut store = RootCertStore::empty();
                let last_end_s = authorities.iter().map(|one| one.end_s).max();
                for (index, authority) in authorities.into_iter().enumerate() {
                    if let Err(error) = store.add(authority.der) {
                        let message =
                            format!("holds an authority that cannot be used (the {}. in it): {error}", index + 1);
                        self.note(Severity::Error, at, file, Fault::invalid(message));
                    }
                }
                self.age(at, file, last_end_s, "authorities, the last of which");
            }
            Err(fault) => self.note(Severity::Error, at, file, fault),
        }
    }

    fn age(&mut self, at: &[&str], file: &Path, end_s: Option<i64>, what: &str) {
        let Some(end_s) = end_s else { return };
        let first = self.examined.first_end_s.get_or_insert(end_s);
        *first = end_s.min(*first);
        let left_s = end_s - self.now_s;
        if left_s > SOON_S {
            return;
        }
        let when = match left_s / DAY_S {
            _ if left_s < 0 => "expired".to_owned(),
            0 => "expires within a day".to_owned(),
            1 => "expires in a day".to_owned(),
            days => format!("expires in {days} days"),
        };
        let fault = Fault::new(Code::Expires, format!("holds {what} {when} ({})", moment(end_s)));
        self.note(Severity::Warning, at, file, fault.hint("renew it, then reload"));
    }

    fn note(&mut self, severity: Severity, keys: &[&str], file: &Path, fault: Fault) {
        let remark = Remark {
            severity,
            code: fault.code,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            file: file.to_owned(),
            message: fault.message,
            hint: fault.hint.map(str::to_owned),
        };
        self.examined.remarks.push(Found { remark, is_denied: fault.is_denied });
    }
}

/// One certificate, with the time that it is good for.
struct Certificate {
    der: CertificateDer<'static>,
    start_s: i64,
    end_s: i64,
}

/// All certificates of a file; at least one.
fn certificates(file: &Path, what: &str) -> Result<Vec<Certificate>, Fault> {
    let text = read(file)?;
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(&text) {
        let der = der.map_err(|error| not_pem(&error))?;
        let number = found.len() + 1;
        let (rest, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| Fault::invalid(format!("holds a {what} that is none (the {number}. in it)")))?;
        if !rest.is_empty() {
            return Err(Fault::invalid(format!("holds a {what} with more after its end (the {number}. in it)")));
        }
        let validity = parsed.validity();
        let (start_s, end_s) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        found.push(Certificate { der: der.clone(), start_s, end_s });
    }
    if found.is_empty() {
        return Err(Fault::invalid(format!("holds no {what}"))
            .hint("it must be PEM: blocks that begin with `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        if !matches!(error, PemError::NoItemsFound) {
            return not_pem(&error);
        }
        if text.windows(9).any(|window| window == b"ENCRYPTED") {
            return Fault::invalid("holds a private key that is encrypted")
                .hint("decrypt it: `openssl pkey -in KEY -out PLAIN`");
        }
        Fault::invalid("holds no private key")
            .hint("it must be PEM: a block that begins with `-----BEGIN PRIVATE KEY-----`")
    })
}

fn not_pem(error: &PemError) -> Fault {
    // Its words quote labels and lines; a line may be of a key.
    let why = match error {
        PemError::MissingSectionEnd { .. } => "a block has no end",
        PemError::IllegalSectionStart { .. } => "a block does not begin as one",
        PemError::Base64Decode(_) => "a block is not base64",
        PemError::Io(_) | PemError::NoItemsFound | PemError::SectionTooLarge | _ => "it cannot be taken apart",
    };
    Fault::invalid(format!("is not PEM: {why}"))
}

/// A whole file, bounded; only of a plain file, so that a pipe does not keep anybody waiting.
fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |error: io::Error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let fault = Fault { is_denied, ..Fault::new(Code::Unreadable, format!("cannot be read: {error}")) };
        if is_denied { fault.hint("ask as the user that the daemon runs as") } else { fault }
    };
    let is_file = std::fs::metadata(file).map_err(failed)?.is_file();
    if !is_file {
        return Err(Fault::new(Code::Unreadable, "is no plain file"));
    }
    let mut text = Vec::new();
    File::open(file).and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Fault::new(Code::TooLarge, "is larger than 4 MiB"));
    }
    Ok(text)
}

/// A time in whole seconds, UTC.
pub(crate) fn moment(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "a far time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests;
