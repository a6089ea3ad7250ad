//! Which keys open, and for how long.

use directory::{Directory, NewKey};

use super::*;

fn key(name: &str) -> NewKey {
    NewKey { name: name.into(), by: "test".into(), ..NewKey::default() }
}

/// The key's name, or why it is refused.
fn said(ring: &KeyRing, presented: &str, now_s: i64) -> Result<String, Denial> {
    ring.find(presented.as_bytes(), now_s).map(|known| known.name.to_string())
}

#[test]
fn what_is_no_key_of_ours_is_unknown() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (row, text) = directory.key_create(key("a"), 0).unwrap();
    let ring = KeyRing::of(&[row]);
    let text = text.reveal();
    let flipped = |at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        String::from_utf8(bytes).unwrap()
    };
    for presented in [
        String::new(),
        "pk_".into(),
        text[..54].into(),
        format!("{text}x"),
        format!(" {text}"),
        flipped(5),
        flipped(54),
    ] {
        assert_eq!(said(&ring, &presented, 0), Err(Denial::KeyUnknown), "{presented}");
    }
    assert_eq!(said(&ring, text, 0), Ok("a".into()));
    assert!(KeyRing::looks_like_key(flipped(54).as_bytes()) && !KeyRing::looks_like_key(b"eyJhbGciOi"));
}

#[test]
fn keys_end_and_come_at_once() {
    let mut directory = Directory::open_in_memory().unwrap();
    let ring = KeyRing::default();
    let (row, text) = directory.key_create(NewKey { expires_s: Some(100), ..key("a") }, 0).unwrap();
    assert_eq!(said(&ring, text.reveal(), 0), Err(Denial::KeyUnknown));
    ring.put(&row);
    assert_eq!(said(&ring, text.reveal(), 99), Ok("a".into()));
    assert_eq!(said(&ring, text.reveal(), 100), Err(Denial::KeyExpired));
    let (row, next) = directory.key_rotate("a", 10, 50).unwrap();
    ring.put(&row);
    for (presented, now_s, expected) in [
        (&text, 59, Ok("a".to_owned())),
        (&text, 60, Err(Denial::KeyExpired)),
        (&next, 60, Ok("a".to_owned())),
        (&next, 100, Err(Denial::KeyExpired)),
    ] {
        assert_eq!(said(&ring, presented.reveal(), now_s), expected, "{now_s}");
    }
    // Rotated once more, the first text is nothing any more.
    let (row, last) = directory.key_rotate("a", 10, 51).unwrap();
    ring.put(&row);
    assert_eq!(said(&ring, text.reveal(), 52), Err(Denial::KeyUnknown));
    assert_eq!((said(&ring, next.reveal(), 52), said(&ring, last.reveal(), 52)), (Ok("a".into()), Ok("a".into())));
    ring.put(&directory.key_revoke("a", 53).unwrap());
    assert_eq!(said(&ring, last.reveal(), 52), Err(Denial::KeyRevoked));
    assert_eq!(said(&ring, next.reveal(), 52), Err(Denial::KeyRevoked));
    ring.reload(&[]);
    assert_eq!(said(&ring, last.reveal(), 52), Err(Denial::KeyUnknown));
    assert!(ring.is_empty() && ring.shards.iter().all(|shard| shard.load().is_empty()));
}

#[test]
fn two_keys_with_one_prefix_both_work() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (mut one, text) = directory.key_create(key("one"), 0).unwrap();
    let (mut other, next) = directory.key_rotate("one", 60, 0).unwrap();
    // As if both texts, of two keys, had been drawn with the prefix of the first.
    let same = |row: &KeyRow| KeyRow { prefix: one.prefix.clone(), ..row.clone() };
    let presented = |text: &str| format!("{}{}", one.prefix, &text[11..]);
    let second = presented(next.reveal());
    other = KeyRow {
        hash: directory::digest(second.as_bytes()),
        earlier: None,
        id: "other".into(),
        name: "other".into(),
        ..same(&other)
    };
    for ring in [KeyRing::of(&[one.clone(), other.clone()]), {
        let ring = KeyRing::default();
        ring.put(&one);
        ring.put(&other);
        ring
    }] {
        assert_eq!((said(&ring, text.reveal(), 0), said(&ring, &second, 0)), (Ok("one".into()), Ok("other".into())));
        one.revoked_s = Some(0);
        ring.put(&one);
        one.revoked_s = None;
        assert_eq!(
            (said(&ring, text.reveal(), 0), said(&ring, &second, 0)),
            (Err(Denial::KeyRevoked), Ok("other".into()))
        );
        ring.reload(std::slice::from_ref(&other));
        assert_eq!(
            (said(&ring, text.reveal(), 0), said(&ring, &second, 0)),
            (Err(Denial::KeyUnknown), Ok("other".into()))
        );
    }
    // And one key whose two texts have the same.
    let earlier = Some(directory::Earlier { prefix: one.prefix.clone(), hash: one.hash, until_s: 60 });
    let ring = KeyRing::default();
    ring.put(&KeyRow { earlier, ..other });
    assert_eq!((said(&ring, text.reveal(), 0), said(&ring, &second, 0)), (Ok("other".into()), Ok("other".into())));
}

#[test]
fn last_uses_are_written_once_a_minute() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (row, text) = directory.key_create(key("a"), 0).unwrap();
    let ring = KeyRing::of(std::slice::from_ref(&row));
    let use_at = |now_s: i64| drop(ring.find(text.reveal().as_bytes(), now_s).unwrap());
    let check = |all: bool, now_s: i64, expected: Option<i64>| {
        let due: Vec<i64> = ring.take_used(all, now_s).iter().map(|(_, used_s)| *used_s).collect();
        assert_eq!(due, expected.into_iter().collect::<Vec<_>>(), "{now_s}");
    };
    check(true, 0, None);
    use_at(1000);
    use_at(1003);
    check(false, 1005, Some(1003));
    check(false, 1005, None);
    use_at(1010);
    check(false, 1064, None);
    check(false, 1065, Some(1010));
    use_at(1070);
    // A change of the key forgets no use.
    ring.put(&row);
    assert_eq!(ring.used_s(&row.id), Some(1070));
    check(true, 1071, Some(1070));
}

#[test]
fn a_principal_is_made_once_for_a_generation() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (row, text) = directory.key_create(key("a"), 0).unwrap();
    let ring = KeyRing::of(&[row]);
    let known = ring.find(text.reveal().as_bytes(), 0).unwrap();
    let user = |user: &str| Some(crate::exchange::Principal { user: user.into(), ..Default::default() });
    let said = |generation, name| known.made().principal(generation, |_| user(name)).unwrap().user.to_string();
    assert_eq!([said(1, "a"), said(1, "b"), said(2, "c"), said(1, "d")], ["a", "a", "c", "d"]);
    assert!(known.made().principal(2, |_| None).is_none());
}

#[test]
fn each_text_ends_for_itself() {
    let mut directory = Directory::open_in_memory().unwrap();
    let new = NewKey { expires_s: Some(900), ..key("a") };
    let (row, old) = directory.key_create(new, 0).unwrap();
    let ring = KeyRing::of(&[row]);
    let found = |text: &str, now_s| ring.find(text.as_bytes(), now_s).unwrap();
    let until =
        |text: &str| ring.until(directory::prefix_of(text.as_bytes()).unwrap(), &directory::digest(text.as_bytes()));
    let before = ring.changes();
    assert_eq!(until(old.reveal()), Some((i64::MAX, 900)));
    let (row, new) = directory.key_rotate("a", 60, 100).unwrap();
    ring.put(&row);
    assert!(ring.changes() > before);
    assert_eq!((until(old.reveal()), until(new.reveal())), (Some((160, 900)), Some((i64::MAX, 900))));
    // Whoever comes with the old one does not rest on the new one.
    let (earlier, now) = (found(old.reveal(), 150), found(new.reveal(), 150));
    let user = |user: &str| Some(crate::exchange::Principal { user: user.into(), ..Default::default() });
    assert_eq!(&*now.made().principal(1, |_| user("new")).unwrap().user, "new");
    assert_eq!(&*earlier.made().principal(1, |_| user("old")).unwrap().user, "old");
    assert!(earlier.hash != now.hash && old.reveal().starts_with(earlier.shown()));
    let row = directory.key_revoke("a", 170).unwrap();
    ring.put(&row);
    assert_eq!((until(old.reveal()), until(new.reveal())), (None, None));
}

/// Shown, not judged: `ROUNDS=1000000 cargo test --release -p proxyd --lib identity::keys -- --nocapture`.
#[test]
fn what_a_key_costs() {
    let mut directory = Directory::open_in_memory().unwrap();
    let (row, text) = directory.key_create(key("a"), 0).unwrap();
    let many: Vec<KeyRow> = (0..10_000)
        .map(|number: u32| {
            let prefix = format!("pk_{number:08}");
            KeyRow { id: number.to_string(), prefix, hash: directory::digest(&number.to_le_bytes()), ..row.clone() }
        })
        .chain([row.clone()])
        .collect();
    let ring = KeyRing::of(&many);
    let presented = text.reveal().as_bytes();
    let rounds: i64 = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(100);
    let started = std::time::Instant::now();
    for round in 0..rounds {
        std::hint::black_box(ring.find(std::hint::black_box(presented), round / 1000).is_ok());
    }
    println!("KeyRing::find: {} ns", started.elapsed().as_nanos() / rounds as u128);
    let started = std::time::Instant::now();
    ring.put(&row);
    println!("KeyRing::put among 10,000: {} us", started.elapsed().as_micros());
}
