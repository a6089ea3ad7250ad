//! Argon2id in PHC form, and bcrypt as `htpasswd -B` writes it.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};

/// More memory for one password is a slip of the pen, in KiB: 1 GiB.
const MOST_MEMORY: u32 = 1 << 20;

/// More passes, or lanes, are one too.
const MOST_PASSES: u32 = 64;

/// 2^16 rounds take seconds.
const MOST_COST: u32 = 16;

/// Bytes of a password that bcrypt looks at. Of a longer one the rest would not matter; nor would what stands behind a NUL, where it
/// repeats what stands before it.
const MOST_BCRYPT: usize = 72;

/// Whether this is a hash that passwords can be checked with; what is wrong with it, without the hash itself.
pub fn examine(hash: &str) -> Result<(), String> {
    let known = [
        ("$argon2id$", None),
        ("$2a$", None),
        ("$2b$", None),
        ("$2y$", None),
        ("$argon2i$", Some("argon2i is not taken: use argon2id")),
        ("$argon2d$", Some("argon2d is not taken: use argon2id")),
        ("$apr1$", Some("MD5 ($apr1$, the default of htpasswd) is too weak: use `htpasswd -B`")),
        ("{SHA}", Some("SHA-1 ({SHA}, `htpasswd -s`) is too weak: use `htpasswd -B`")),
        ("$1$", Some("MD5 crypt ($1$) is too weak: use `htpasswd -B`")),
        ("$5$", Some("SHA-256 crypt ($5$) is not taken: use `htpasswd -B`")),
        ("$6$", Some("SHA-512 crypt ($6$) is not taken: use `htpasswd -B`")),
        ("$2x$", Some("bcrypt $2x$ is of a faulty implementation: hash the password again")),
    ];
    let Some((start, refused)) = known.iter().find(|(start, _)| hash.starts_with(start)) else {
        let is_crypt =
            hash.len() == 13 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
        let problem =
            if is_crypt { "this is a password of crypt, which is too weak" } else { "this is no hash that is known" };
        return Err(format!("{problem}: use argon2id in PHC form, or bcrypt (`htpasswd -B`)"));
    };
    if let Some(refused) = refused {
        return Err((*refused).to_owned());
    }
    if *start == "$argon2id$" {
        let malformed = || "this argon2id hash is malformed".to_owned();
        let parsed = PasswordHash::new(hash).map_err(|_| malformed())?;
        let params = Params::try_from(&parsed).map_err(|_| malformed())?;
        if parsed.salt.is_none() || parsed.hash.is_none() {
            return Err(malformed());
        }
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_PASSES {
            return Err("this argon2id hash costs more than 1 GiB, 64 passes or 64 lanes".to_owned());
        }
        return Ok(());
    }
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "this bcrypt hash is malformed".to_owned())?;
    if (4..=MOST_COST).contains(&parts.get_cost()) {
        Ok(())
    } else {
        Err(format!("the cost of this bcrypt hash is not between 4 and {MOST_COST}"))
    }
}

/// Whether this is the password. Takes its time, and for argon2id its memory.
pub fn verify(hash: &str, password: &[u8]) -> bool {
    if examine(hash).is_err() {
        return false;
    }
    if hash.starts_with("$argon2id$") {
        PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    } else {
        // The work is done in any case: how long it takes tells nothing.
        let is_right = bcrypt::verify(password, hash).unwrap_or(false);
        is_right && password.len() <= MOST_BCRYPT && !password.contains(&0)
    }
}

/// The hash that is kept of a password: argon2id, by what its authors recommend. The system may give no randomness for its salt.
pub fn hash(password: &[u8]) -> Result<String, String> {
    let hashed = Argon2::default().hash_password(password);
    hashed.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}
