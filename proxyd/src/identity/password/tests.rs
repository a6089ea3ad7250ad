//! Right and wrong passwords, and that nobody can tell an unknown name by time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use shared::config::Secret;
use shared::config::identity::{Basic, BasicUser};

use super::*;
use crate::exchange::Denial;

const WRONG: Refusal = Refusal::Denied(Denial::PasswordWrong);

/// Cheap, for tests.
fn argon(password: &str, passes: u32) -> String {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, passes, 1, None).unwrap());
    argon.hash_password(password.as_bytes()).unwrap().to_string()
}

fn bcrypted(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn user(name: &str, hash: &str) -> BasicUser {
    BasicUser {
        user: name.into(),
        password_hash: Secret::new(hash),
        roles: vec!["admin".into()],
        scopes: vec!["read".into()],
    }
}

fn basic(users: Vec<BasicUser>, file: Option<&Path>, cache: Duration) -> Arc<Basic> {
    Arc::new(Basic { users_file: file.map(Path::to_owned), users, realm: "x".into(), cache })
}

fn compile(config: &Arc<Basic>) -> Result<Arc<Verifier>, String> {
    Verifier::compile(config, None, &Arc::default())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn check(verifier: &Arc<Verifier>, user: &str, password: &str) -> Result<String, Refusal> {
    let checked = Arc::clone(verifier).check(user.to_owned(), password.as_bytes().to_vec(), None);
    block_on(checked).map(|user| user.name.to_string())
}

#[test]
fn which_hashes_are_taken() {
    let check = |hash: &str, expected: Option<&str>| {
        let problem = examine(hash).err();
        assert_eq!(problem.is_some(), expected.is_some(), "{hash}: {problem:?}");
        let problem = problem.unwrap_or_default();
        assert!(problem.contains(expected.unwrap_or_default()), "{problem}");
        assert!(hash.len() < 14 || !problem.contains(hash), "{problem}");
    };
    check("", Some("no hash"));
    check("plain text", Some("no hash"));
    check("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", Some("htpasswd -B"));
    check("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Some("SHA-1"));
    check("rqXexS6ZhobKA", Some("crypt"));
    check("$6$salt$hash", Some("SHA-512"));
    check("$2x$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", Some("faulty"));
    check("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", Some("argon2id"));
    check("$argon2id$v=19$m=64,t=1,p=1", Some("malformed"));
    check("$argon2id$", Some("malformed"));
    check("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", Some("1 GiB"));
    check("$argon2id$v=19$m=64,t=999,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", Some("passes"));
    check("$2y$31$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui", Some("cost"));
    check("$2y$05$short", Some("malformed"));
    check(&argon("x", 1), None);
    check(&bcrypted("x"), None);
    check(super::verifier::NOBODY, None);
    // Made by `htpasswd -B`.
    check("$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", None);
}

#[test]
fn what_verifies() {
    assert!(verify(&argon("secret", 1), b"secret") && !verify(&argon("secret", 1), b"Secret"));
    let hash = bcrypted("secret");
    for version in ["$2a$", "$2b$", "$2y$"] {
        let hash = format!("{version}{}", &hash[4..]);
        assert!(verify(&hash, b"secret") && !verify(&hash, b"secret "), "{version}");
    }
    // bcrypt itself looks at 72 bytes, and repeats what is shorter behind its NUL.
    let longest = "a".repeat(72);
    let hash = bcrypted(&longest);
    assert!(verify(&hash, longest.as_bytes()) && !verify(&hash, format!("{longest}X").as_bytes()));
    assert!(!verify(&bcrypted("secret"), b"secret\0secret"));
    assert!(!verify("secret", b"secret") && !verify("", b""));
    let hashed = hash::hash(b"secret").unwrap();
    assert!(hashed.starts_with("$argon2id$v=19$") && verify(&hashed, b"secret") && !verify(&hashed, b""));
}

#[test]
fn lines_of_a_file() {
    let check = |text: &str, expected: Result<usize, &str>| match (htpasswd::parse(text), expected) {
        (Ok(users), Ok(count)) => assert_eq!(users.len(), count, "{text}"),
        (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
        (parsed, _) => panic!("{text}: {parsed:?}"),
    };
    let hash = bcrypted("x");
    check("", Ok(0));
    check(&format!("# people\n\nann:{hash}\r\nBob:{hash}\n"), Ok(2));
    check(&format!("ann:{hash}\nbob\n"), Err("line 2"));
    check(&format!("ann :{hash}"), Err("line 1: a name has"));
    let marked = htpasswd::parse(&format!("\u{feff}ann:{hash}\n")).unwrap();
    assert!(marked.contains_key("ann"));
    check(&format!("ann:{hash}\n\nann:{hash}\n"), Err("line 3: this user is there already"));
    check(&format!(":{hash}"), Err("line 1"));
    check(&format!("{}:{hash}", "x".repeat(129)), Err("line 1"));
    check("ann:$apr1$x$y", Err("line 1: MD5"));
    check("ann:secret", Err("line 1: this is no hash"));
    assert!(!htpasswd::parse("ann:secret").unwrap_err().contains("secret"));
}

#[test]
fn who_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("bob:{}\n", bcrypted("builder"))).unwrap();
    let verifier = compile(&basic(vec![user("ann", &argon("secret", 1))], Some(&file), Duration::ZERO)).unwrap();
    for (name, password) in
        [("ann", ""), ("ann", "Secret"), ("ann", "builder"), ("Ann", "secret"), ("eve", "secret"), ("", "")]
    {
        assert_eq!(check(&verifier, name, password), Err(WRONG), "{name}:{password}");
    }
    assert_eq!(check(&verifier, "ann", &"x".repeat(1025)), Err(WRONG));
    assert_eq!(check(&verifier, "ann", "secret"), Ok("ann".into()));
    assert_eq!(check(&verifier, "bob", "builder"), Ok("bob".into()));
    assert_eq!(check(&compile(&basic(vec![], None, Duration::ZERO)).unwrap(), "ann", "secret"), Err(WRONG));
    let refused = |config: Arc<Basic>, part: &str| {
        let problem = compile(&config).unwrap_err();
        assert!(problem.contains(part), "{problem}");
    };
    refused(basic(vec![user("bob", &argon("x", 1))], Some(&file), Duration::ZERO), "twice");
    refused(basic(vec![], Some(&folder.path().join("missing")), Duration::ZERO), "missing");
    refused(basic(vec![user("eve", "secret")], None, Duration::ZERO), "user eve");
}

#[test]
fn a_right_password_is_remembered_for_a_while_and_a_wrong_one_is_not() {
    let config = basic(vec![user("ann", &argon("secret", 1))], None, Duration::from_millis(300));
    let verifier = compile(&config).unwrap();
    let remembered = |verifier: &Arc<Verifier>, password: &[u8]| verifier.remembered("ann", password).is_some();
    assert!(check(&verifier, "ann", "wrong").is_err() && !remembered(&verifier, b"wrong"));
    assert!(!remembered(&verifier, b"secret"));
    check(&verifier, "ann", "secret").unwrap();
    let started = Instant::now();
    assert_eq!(*verifier.remembered("ann", b"secret").unwrap().roles, [Box::<str>::from("admin")]);
    // The same config keeps it, another does not.
    let same = Verifier::compile(&config, Some(&verifier), &Arc::default()).unwrap();
    assert!(Arc::ptr_eq(&same, &verifier));
    let other = basic(vec![user("ann", &argon("other", 1))], None, Duration::from_mins(5));
    assert!(!remembered(&Verifier::compile(&other, Some(&verifier), &Arc::default()).unwrap(), b"secret"));
    while remembered(&verifier, b"secret") {
        assert!(started.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(started.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_file_that_changes_is_read_again_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    let write = |text: &str| {
        // As editors do: another file in its place.
        let next = folder.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    write(&format!("ann:{}\n", argon("one", 1)));
    let verifier = compile(&basic(vec![], Some(&file), Duration::from_mins(5))).unwrap();
    check(&verifier, "ann", "one").unwrap();
    let until = |password: &str, expected: Result<String, Refusal>| {
        let started = Instant::now();
        while check(&verifier, "ann", password) != expected {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    write(&format!("ann:{}\n", argon("two", 1)));
    until("two", Ok("ann".into()));
    assert_eq!(check(&verifier, "ann", "one"), Err(WRONG));
    write("ann\n");
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(check(&verifier, "ann", "two"), Ok("ann".into()));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(check(&verifier, "ann", "two"), Ok("ann".into()));
    write("");
    until("two", Err(WRONG));
}

#[test]
fn who_was_removed_is_not_let_in_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("ann:{}\nbob:{0}\n", argon("one", 1))).unwrap();
    let verifier = compile(&basic(vec![], Some(&file), Duration::from_mins(5))).unwrap();
    check(&verifier, "ann", "one").unwrap();
    check(&verifier, "bob", "one").unwrap();
    std::fs::write(&file, format!("bob:{}\n", argon("one", 2))).unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    assert!(verifier.remembered("ann", b"one").is_none());
    assert_eq!(check(&verifier, "ann", "one"), Err(WRONG));
    assert_eq!(check(&verifier, "bob", "one"), Ok("bob".into()));
    assert!(verifier.remembered("bob", b"one").is_some());
}

#[test]
fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    let verifier = compile(&basic(vec![user("ann", &argon("secret", 60))], None, Duration::ZERO)).unwrap();
    let median = |name: &str| {
        let mut times: Vec<Duration> = (0..15)
            .map(|_| {
                let started = Instant::now();
                assert!(check(&verifier, name, "wrong").is_err());
                started.elapsed()
            })
            .collect();
        times.sort();
        times[7]
    };
    let (wrong, unknown) = (median("ann"), median("eve"));
    assert!(unknown < wrong * 2 && wrong < unknown * 2, "wrong {wrong:?}, unknown {unknown:?}");
}

#[test]
fn too_many_are_told_to_come_later_and_two_are_computed_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let turns = Turns::default();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let outcomes = block_on(async {
        let all = (0..80).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            turns.run(None, move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut outcomes = Vec::new();
        std::future::poll_fn(|context| {
            all.retain_mut(|run| match run.as_mut().poll(context) {
                std::task::Poll::Ready(outcome) => {
                    outcomes.push(outcome.is_some());
                    false
                }
                std::task::Poll::Pending => true,
            });
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        outcomes
    });
    // Two at once, 64 that waited, and the rest.
    assert_eq!(outcomes.iter().filter(|done| **done).count(), 66);
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(block_on(turns.run(None, || 1)), Some(1));
}

#[test]
fn who_waits_takes_no_place_of_another_queue_or_network() {
    let queues = Queues::default();
    let (one, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
    block_on(async {
        let (free, held) = std::sync::mpsc::sync_channel::<()>(0);
        let held = Arc::new(std::sync::Mutex::new(held));
        let mut all: Vec<_> = (0..100)
            .map(|_| {
                let held = Arc::clone(&held);
                Box::pin(queues.new_passwords.run(one, move || drop(held.lock().map(|held| held.recv()))))
            })
            .collect();
        let mut refused = 0;
        std::future::poll_fn(|context| {
            all.retain_mut(|run| match run.as_mut().poll(context) {
                std::task::Poll::Ready(done) => {
                    assert!(done.is_none());
                    refused += 1;
                    false
                }
                std::task::Poll::Pending => true,
            });
            std::task::Poll::Ready(())
        })
        .await;
        // Two that have their turn, and 16 that wait.
        assert_eq!((refused, all.len()), (82, 18));
        let last = async { tokio::join!(queues.new_passwords.run(other, || 1), queues.logins.run(one, || 2)) };
        let mut last = Box::pin(last);
        std::future::poll_fn(|context| {
            assert!(last.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(free);
        for run in all {
            assert!(run.await.is_some());
        }
        assert_eq!(last.await, (Some(1), Some(2)));
        assert!(queues.new_passwords.is_idle());
    });
}
