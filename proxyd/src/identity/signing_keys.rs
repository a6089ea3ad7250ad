//! `identity.signing_keys`: keys that several proxies sign with, each in a file.

use std::io::Read;
use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;

use super::mint::Mint;

/// A longer file is no key.
const LONGEST: u64 = 16 * 1024;

/// How one is made.
const MAKE: &str = "`openssl genpkey -algorithm ed25519` makes one";

/// Reads the keys: the first one signs, and tokens of all are good. Blocks.
pub(super) fn read(paths: &[PathBuf]) -> Result<Mint, String> {
    let at = |path: &Path, why: &str| format!("{}: {why}", path.display());
    let mut keys = Vec::new();
    for path in paths {
        let key = file(path).and_then(|text| pkcs8(&text)).map_err(|why| at(path, &why))?;
        let kid = Mint::ed_dsa(&key).map_err(|error| at(path, &format!("{error}; {MAKE}")))?;
        let kid = kid.kid().unwrap_or_default().to_owned();
        if keys.iter().any(|(_, known)| *known == kid) {
            return Err(at(path, "is the key of another file too"));
        }
        keys.push((key, kid));
    }
    Mint::ed_dsa_of(keys.iter().map(|(key, _)| key.as_slice())).map_err(|error| error.to_string())
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > LONGEST {
        return Err(format!("is larger than {LONGEST} bytes"));
    }
    Ok(text)
}

/// The key of a file: in PEM, or bare, as `signing.key` in the state folder is.
fn pkcs8(text: &[u8]) -> Result<Vec<u8>, String> {
    // A key in DER is a sequence.
    if text.first() == Some(&0x30) {
        return Ok(text.to_vec());
    }
    let mut all = Pem::iter_from_buffer(text);
    let first = all.next().ok_or_else(|| format!("holds no private key in PEM; {MAKE}"))?;
    let pem = first.map_err(|_| "is not PEM".to_owned())?;
    if all.next().is_some() {
        return Err("holds more than one key: each stands in a file of its own".to_owned());
    }
    match &*pem.label {
        "PRIVATE KEY" => Ok(pem.contents),
        "ENCRYPTED PRIVATE KEY" => Err("holds a key behind a passphrase, which nobody is there to type".to_owned()),
        "PUBLIC KEY" | "CERTIFICATE" => Err("holds a public key: tokens are signed with the private one".to_owned()),
        _ => Err(format!("holds no private key in PKCS#8; {MAKE}")),
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::identity::claims::Claims;
    use crate::identity::jwt::testing;
    use crate::identity::mint::TokenType;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn the_first_signs_and_tokens_of_all_are_good() {
        let folder = tempfile::tempdir().unwrap();
        let keep = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (old, new) = (Mint::generate().unwrap(), Mint::generate().unwrap());
        // As the state folder keeps it, and as openssl writes it.
        let (old_file, new_file) = (keep("old.key", &old), keep("new.pem", pem("PRIVATE KEY", &new).as_bytes()));
        let before = read(std::slice::from_ref(&old_file)).unwrap();
        assert_eq!(before.jwks(), Mint::ed_dsa(&old).unwrap().jwks());
        let both = read(&[new_file.clone(), old_file.clone()]).unwrap();
        assert_eq!(both.kid(), Mint::ed_dsa(&new).unwrap().kid());
        let sign = |mint: &Mint| mint.sign(TokenType::Access, &Claims::default()).unwrap();
        for mint in [&before, &both] {
            assert!(testing::holds(both.keys(), &sign(mint)));
        }
        assert!(!testing::holds(before.keys(), &sign(&both)));
        assert!(both.jwks().contains(both.kid().unwrap()) && both.jwks().contains(before.kid().unwrap()));
        let twice = read(&[old_file.clone(), keep("copy", pem("PRIVATE KEY", &old).as_bytes())]).unwrap_err();
        assert!(twice.ends_with("copy: is the key of another file too"), "{twice}");
    }

    #[test]
    fn what_is_no_key_is_refused_by_name_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.pem");
        let check = |text: &[u8], expected: &str| {
            std::fs::write(&path, text).unwrap();
            let error = read(std::slice::from_ref(&path)).unwrap_err();
            assert!(error.contains("signing.pem: ") && error.contains(expected), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        };
        let key = Mint::generate().unwrap();
        let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        check(b"", "holds no private key in PEM; `openssl genpkey -algorithm ed25519` makes one");
        check(b"s3cret", "holds no private key in PEM");
        check(b"0s3cret", "is not an Ed25519 key in PKCS#8; `openssl");
        check(" ".repeat(17_000).as_bytes(), "is larger than 16384 bytes");
        check(pem("PRIVATE KEY", other.as_ref()).as_bytes(), "is not an Ed25519 key");
        check(pem("EC PRIVATE KEY", b"s3cret").as_bytes(), "no private key in PKCS#8");
        check(pem("ENCRYPTED PRIVATE KEY", b"s3cret").as_bytes(), "behind a passphrase");
        check(pem("PUBLIC KEY", b"s3cret").as_bytes(), "holds a public key");
        check(pem("PRIVATE KEY", &key).repeat(2).as_bytes(), "more than one key");
        std::fs::remove_file(&path).unwrap();
        assert!(read(&[path]).unwrap_err().contains("cannot be read: "));
    }
}
