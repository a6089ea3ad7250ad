//! Who a caller of the HTTP door is: nobody in particular on a loopback listener without `admin.auth`, otherwise whoever
//! their password or token says.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use shared::config::{AdminAuth, AdminBasic, Role};
use shared::control::Access;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::attempts::Attempts;

/// Verifications at once: each takes tens of milliseconds of a core and as many megabytes, by design.
const VERIFICATIONS: usize = 2;

/// Passwords remembered as right, so that not each request costs a verification.
const REMEMBERED: usize = 16;

/// How long a password is remembered.
const MEMORY: Duration = Duration::from_mins(5);

/// What the listener knows of those who came.
#[derive(Debug)]
pub(super) struct Gate {
    verifications: Semaphore,
    remembered: Mutex<Vec<Remembered>>,
    failures: Mutex<Attempts>,
    /// Callers who said nothing: told what to do, and not held against those who do.
    silent: Mutex<Attempts>,
}

#[derive(Debug)]
struct Remembered {
    /// Of user, password and hash: a changed hash is another one.
    digest: [u8; 32],
    until: Instant,
}

/// Who was let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) access: Access,
    pub(super) actor: String,
}

/// Why somebody was not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No credentials; whether that is worth a row.
    Silent { record: bool },
    /// Wrong ones, or such as cannot be read.
    Wrong { who: String, record: bool },
    /// Too many wrong ones from there.
    TooMany { wait: Duration },
}

/// What a caller presents.
#[derive(PartialEq, Eq)]
enum Credentials {
    Absent,
    Password { user: String, password: String },
    Token(String),
    Unreadable,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            verifications: Semaphore::new(VERIFICATIONS),
            remembered: Mutex::default(),
            failures: Mutex::default(),
            silent: Mutex::default(),
        }
    }
}

impl Gate {
    /// Lets a caller in or not. `local` is the address they came in at.
    pub(super) async fn admit(
        &self,
        auth: Option<&AdminAuth>,
        headers: &HeaderMap,
        address: IpAddr,
        local: IpAddr,
    ) -> Result<Admitted, Refused> {
        let Some(auth) = auth else {
            // The check demands `auth` off loopback; this holds even if a listener is still open from before.
            if local.to_canonical().is_loopback() && address.to_canonical().is_loopback() {
                return Ok(Admitted { access: Access::Local, actor: format!("local caller at {address}") });
            }
            return Err(Refused::Silent { record: false });
        };
        let now = Instant::now();
        let credentials = Credentials::read(headers);
        if credentials == Credentials::Absent {
            let record = lock(&self.silent).failed(address, now);
            return Err(Refused::Silent { record });
        }
        if let Some(wait) = lock(&self.failures).wait(address, now) {
            return Err(Refused::TooMany { wait });
        }
        let (found, who) = match credentials {
            Credentials::Token(token) => (token_role(auth, &token), "a token".to_owned()),
            Credentials::Password { user, password } => {
                let who = format!("user {}", shown(&user));
                (self.password_role(auth, user, password).await, who)
            }
            Credentials::Absent | Credentials::Unreadable => (None, "unreadable credentials".to_owned()),
        };
        match found {
            Some((role, name)) => Ok(Admitted { access: Access::Role(role), actor: format!("{name} at {address}") }),
            None => Err(Refused::Wrong { who, record: lock(&self.failures).failed(address, now) }),
        }
    }

    async fn password_role(&self, auth: &AdminAuth, user: String, password: String) -> Option<(Role, String)> {
        let known = auth.basic.iter().find(|basic| *basic.user == *user);
        // An unknown user costs the same time as a known one.
        let measured = known.or(auth.basic.first())?;
        let hash = measured.password_hash.reveal().to_owned();
        let digest = digest(&[&user, &password, &hash]);
        let right = self.remembers(&digest) || {
            let _turn = self.verifications.acquire().await.ok()?;
            let verified = tokio::task::spawn_blocking(move || verify(&hash, &password)).await.unwrap_or(false);
            if verified && known.is_some() {
                self.remember(digest);
            }
            verified
        };
        let AdminBasic { user, role, .. } = known.filter(|_| right)?;
        Some((*role, format!("user {user}")))
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        let now = Instant::now();
        let mut remembered = lock(&self.remembered);
        remembered.retain(|one| now < one.until);
        remembered.iter().any(|one| bool::from(one.digest.ct_eq(digest)))
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= REMEMBERED {
            remembered.remove(0);
        }
        remembered.push(Remembered { digest, until: Instant::now() + MEMORY });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every token is compared, and as a digest: neither its place nor its length nor its beginning shows in the time.
fn token_role(auth: &AdminAuth, token: &str) -> Option<(Role, String)> {
    let given = digest(&[token]);
    let mut found = None;
    for candidate in &auth.tokens {
        if bool::from(digest(&[candidate.token.reveal()]).ct_eq(&given)) {
            found = Some((candidate.role, format!("token {}", candidate.name)));
        }
    }
    found
}

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// A name that a stranger gave, fit for a log: short and without controls.
fn shown(user: &str) -> String {
    user.chars().filter(|c| !c.is_control()).take(64).collect()
}

impl Credentials {
    fn read(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let (first, None) = (all.next(), all.next()) else { return Self::Unreadable };
        let Some(first) = first else { return Self::Absent };
        let Some((scheme, rest)) = first.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return Self::Unreadable;
        };
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Token(rest.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unreadable;
        }
        let pair = base64(rest).and_then(|bytes| String::from_utf8(bytes).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => Self::Password { user: user.to_owned(), password: password.to_owned() },
            None => Self::Unreadable,
        }
    }
}

/// Decodes base64 (RFC 4648 section 4), with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;
    use hyper::header::HeaderValue;
    use shared::config::{AdminToken, Secret};

    use super::*;

    fn auth() -> AdminAuth {
        let hash = Argon2::default().hash_password(b"opens sesame").unwrap().to_string();
        AdminAuth {
            basic: vec![AdminBasic { user: "ada".into(), password_hash: Secret::new(hash), role: Role::Operator }],
            tokens: vec![AdminToken { name: "ci".into(), token: Secret::new("s3cret"), role: Role::Reader }],
        }
    }

    async fn check(
        gate: &Gate,
        auth: Option<&AdminAuth>,
        header: Option<&str>,
        expected: Result<(Access, &str), &str>,
    ) {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(header).unwrap());
        }
        let address = "127.0.0.1".parse().unwrap();
        let got = gate.admit(auth, &headers, address, address).await;
        let got = match &got {
            Ok(admitted) => Ok((admitted.access, admitted.actor.as_str())),
            Err(Refused::Silent { .. }) => Err("silent"),
            Err(Refused::Wrong { .. }) => Err("wrong"),
            Err(Refused::TooMany { .. }) => Err("too many"),
        };
        assert_eq!(got, expected, "{header:?}");
    }

    #[tokio::test]
    async fn credentials_say_who_somebody_is() {
        let (gate, auth) = (Gate::default(), auth());
        let auth = Some(&auth);
        check(&gate, None, None, Ok((Access::Local, "local caller at 127.0.0.1"))).await;
        check(&gate, auth, None, Err("silent")).await;
        let reader = Access::Role(Role::Reader);
        check(&gate, auth, Some("Bearer s3cret"), Ok((reader, "token ci at 127.0.0.1"))).await;
        check(&gate, auth, Some("bearer  s3cret"), Ok((reader, "token ci at 127.0.0.1"))).await;
        check(&gate, auth, Some("Bearer s3cre"), Err("wrong")).await;
        check(&gate, auth, Some("Bearer "), Err("wrong")).await;
        let operator = Access::Role(Role::Operator);
        let right = "Basic YWRhOm9wZW5zIHNlc2FtZQ==";
        check(&gate, auth, Some(right), Ok((operator, "user ada at 127.0.0.1"))).await;
        assert_eq!(lock(&gate.remembered).len(), 1);
        check(&gate, auth, Some(right), Ok((operator, "user ada at 127.0.0.1"))).await;
        check(&gate, auth, Some("Basic YWRhOndyb25n"), Err("wrong")).await;
        // eve, with ada's password
        check(&gate, auth, Some("Basic ZXZlOm9wZW5zIHNlc2FtZQ=="), Err("wrong")).await;
        check(&gate, auth, Some("Basic ***"), Err("wrong")).await;
        check(&gate, auth, Some("Digest x"), Err("wrong")).await;
    }

    #[tokio::test]
    async fn guessing_is_slow() {
        let (gate, auth) = (Gate::default(), auth());
        for _ in 0..10 {
            check(&gate, Some(&auth), Some("Bearer guess"), Err("wrong")).await;
        }
        check(&gate, Some(&auth), Some("Bearer s3cret"), Err("too many")).await;
        check(&gate, Some(&auth), None, Err("silent")).await;
    }

    #[tokio::test]
    async fn nobody_is_let_in_without_credentials_from_elsewhere() {
        let gate = Gate::default();
        let (near, far) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        for (address, local) in [(far, far), (far, near), (near, far)] {
            assert!(gate.admit(None, &HeaderMap::new(), address, local).await.is_err());
        }
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("").as_deref(), Some(&b""[..]));
        assert_eq!(base64("Zm9vYmFy").as_deref(), Some(&b"foobar"[..]));
        assert_eq!(base64("Zm9vYg==").as_deref(), Some(&b"foob"[..]));
        assert_eq!(base64("Zm9vYg").as_deref(), Some(&b"foob"[..]));
        assert_eq!(base64("//79").as_deref(), Some(&[0xff, 0xfe, 0xfd][..]));
        assert_eq!(base64("A"), None);
        assert_eq!(base64("Zm9v*"), None);
        assert_eq!(base64("===="), None);
    }
}
