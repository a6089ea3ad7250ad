//! What holds after each change, after a restart, and when the disk says no.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

struct Fixture {
    folder: tempfile::TempDir,
    registry: Registry,
}

const SECOND: i64 = 1_000_000;

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path().join("registry.json"));
        Self { folder, registry }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("registry.json")
    }

    fn restart(&mut self) {
        self.registry = Registry::open(self.path());
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    #[track_caller]
    fn check(&self, set: &[(&str, Option<State>, Option<u32>)], registered: &[(&str, u32, Option<i64>)]) {
        let overlay = self.registry.overlay("u");
        let got: Vec<_> = overlay.set.iter().map(|set| (&*set.address, set.state, set.weight)).collect();
        assert_eq!(got, set);
        let got: Vec<_> = overlay.registered.iter().map(|one| (&*one.address, one.weight, one.expires_us)).collect();
        assert_eq!(got, registered);
    }
}

fn registration(port: u16, ttl: Option<u64>) -> Registration {
    Registration {
        host: "h".into(),
        port,
        address: format!("h:{port}").into(),
        weight: 1,
        backup: false,
        ttl: ttl.map(Duration::from_secs),
    }
}

#[test]
fn settings_hold_until_they_are_undone_and_over_a_restart() {
    let mut fixture = Fixture::new();
    let set = |fixture: &Fixture, state, weight| fixture.registry.set("u", "h:1", state, weight).unwrap();
    let change = set(&fixture, Some(State::Drain), None);
    assert_eq!(change.before, Setting::default());
    assert_eq!(change.after, Setting { state: Some(State::Drain), weight: None });
    set(&fixture, None, Some(0));
    fixture.check(&[("h:1", Some(State::Drain), Some(0))], &[]);
    assert_eq!(fs::metadata(fixture.path()).unwrap().permissions().mode() & 0o777, 0o600);
    fixture.restart();
    fixture.check(&[("h:1", Some(State::Drain), Some(0))], &[]);
    set(&fixture, Some(State::Ready), None);
    fixture.check(&[("h:1", None, Some(0))], &[]);
    set(&fixture, Some(State::Down), Some(1));
    fixture.check(&[("h:1", Some(State::Down), Some(1))], &[]);
    assert_eq!(fixture.registry.overlay("other"), Arc::default());
    fixture.registry.set("u", "h:2", Some(State::Drain), None).unwrap();
    let undone = fixture.registry.set("u", "h:2", Some(State::Ready), None).unwrap();
    assert_eq!((undone.before.state, undone.after.state), (Some(State::Drain), None));
    fixture.check(&[("h:1", Some(State::Down), Some(1))], &[]);
    let version = fixture.registry.version();
    set(&fixture, Some(State::Down), None);
    assert_eq!(fixture.registry.version(), version, "nothing changed");
}

#[test]
fn a_registered_endpoint_stays_as_long_as_it_says() {
    let mut fixture = Fixture::new();
    let register = |fixture: &Fixture, wanted: &Registration, now| fixture.registry.register("u", wanted, now).unwrap();
    let first = register(&fixture, &registration(1, Some(30)), SECOND);
    assert_eq!((first.renewed, first.before, first.expires_us), (false, None, Some(31 * SECOND)));
    register(&fixture, &registration(2, None), SECOND);
    fixture.check(&[], &[("h:1", 1, Some(31 * SECOND)), ("h:2", 1, None)]);

    // A renewal writes nothing and is no change.
    let (text, version) = (fixture.text(), fixture.registry.version());
    fs::remove_file(fixture.path()).unwrap();
    let again = register(&fixture, &registration(1, Some(30)), 20 * SECOND);
    assert_eq!((again.renewed, again.expires_us), (true, Some(50 * SECOND)));
    fixture.check(&[], &[("h:1", 1, Some(50 * SECOND)), ("h:2", 1, None)]);
    assert!(!fixture.path().exists() && fixture.registry.version() == version);
    fs::write(fixture.path(), text).unwrap();

    // With another weight it is another registration.
    let heavier = Registration { weight: 5, ..registration(1, Some(30)) };
    let other = register(&fixture, &heavier, 21 * SECOND);
    assert_eq!((other.renewed, other.before), (false, Some(registration(1, Some(30)))));

    assert!(!fixture.registry.is_due(51 * SECOND - 1));
    assert_eq!(fixture.registry.expire(51 * SECOND - 1), []);
    fixture.registry.set("u", "h:1", Some(State::Drain), None).unwrap();
    assert!(fixture.registry.is_due(51 * SECOND));
    let gone = fixture.registry.expire(51 * SECOND);
    assert_eq!(gone, [Expired { upstream: "u".to_owned(), before: heavier.clone() }]);
    assert_eq!(fixture.registry.expire(51 * SECOND), []);
    // Who comes back is found as it was left.
    fixture.check(&[("h:1", Some(State::Drain), None)], &[("h:2", 1, None)]);
    register(&fixture, &heavier, 60 * SECOND);

    // After a start everybody has their whole time.
    fixture.restart();
    fixture.check(&[("h:1", Some(State::Drain), None)], &[("h:1", 5, Some(30 * SECOND)), ("h:2", 1, None)]);
    assert_eq!(fixture.registry.deregister("u", "h:1").unwrap(), heavier);
    fixture.check(&[], &[("h:2", 1, None)]);
    assert!(matches!(fixture.registry.deregister("u", "h:1"), Err(RegistryError::NotRegistered)));
    assert!(matches!(fixture.registry.deregister("other", "h:2"), Err(RegistryError::NotRegistered)));
}

#[test]
fn a_broken_file_is_set_aside() {
    let long = format!("{{\"version\":1,\"upstreams\":{{}}{}}}", " ".repeat(MOST_BYTES));
    let many: serde_json::Map<_, _> =
        (0..=MOST_ENTRIES).map(|n| (format!("h:{n}"), serde_json::json!({ "weight": 1 }))).collect();
    let many = serde_json::json!({ "version": 1, "upstreams": { "u": { "set": many } } }).to_string();
    for text in [
        "",
        "{",
        "[]",
        "{\"version\":2,\"upstreams\":{}}",
        "{\"version\":1,\"upstreams\":{},\"x\":1}",
        "{\"version\":1,\"upstreams\":{\"u\":{\"set\":{\"h:1\":{\"state\":\"asleep\"}}}}}",
        "{\"version\":1,\"upstreams\":{\"u\":{\"set\":{\"h:1\":{\"weight\":65536}}}}}",
        "{\"version\":1,\"upstreams\":{\"u\":{\"registered\":{\"h:0\":{\"host\":\"h\",\"port\":0,\"weight\":1}}}}}",
        &long,
        &many,
    ] {
        let mut fixture = Fixture::new();
        fs::write(fixture.path(), text).unwrap();
        fixture.restart();
        fixture.check(&[], &[]);
        let aside = fixture.folder.path().join("registry.json.broken");
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        assert!(!fixture.path().exists());
        fixture.registry.set("u", "h:1", Some(State::Down), None).unwrap();
        fixture.restart();
        fixture.check(&[("h:1", Some(State::Down), None)], &[]);
    }
}

#[test]
fn what_cannot_be_written_does_not_hold() {
    let fixture = Fixture::new();
    fixture.registry.register("u", &registration(1, Some(30)), 0).unwrap();
    // Root may write into any folder, but not into one that is not there.
    let moved = fixture.folder.path().with_extension("moved");
    fs::rename(fixture.folder.path(), &moved).unwrap();
    let version = fixture.registry.version();
    let failed = fixture.registry.set("u", "h:1", Some(State::Drain), None).unwrap_err();
    assert!(failed.to_string().contains("registry.json cannot be written"), "{failed}");
    assert!(fixture.registry.register("u", &registration(2, None), 0).is_err());
    assert!(fixture.registry.deregister("u", "h:1").is_err());
    fixture.check(&[], &[("h:1", 1, Some(30 * SECOND))]);
    assert_eq!(fixture.registry.version(), version);
    assert!(fixture.registry.register("u", &registration(1, Some(30)), SECOND).unwrap().renewed);

    // What is over is over, and is written when that can be done.
    assert_eq!(fixture.registry.expire(31 * SECOND).len(), 1);
    fixture.check(&[], &[]);
    assert!(fixture.registry.is_due(31 * SECOND));
    fs::rename(&moved, fixture.folder.path()).unwrap();
    assert!(fixture.text().contains("h:1"));
    assert_eq!(fixture.registry.expire(32 * SECOND), []);
    assert!(!fixture.registry.is_due(32 * SECOND) && !fixture.text().contains("h:1"), "{}", fixture.text());
}

#[test]
fn the_number_and_length_of_entries_are_bounded() {
    let mut fixture = Fixture::new();
    let set = (0..MOST_ENTRIES).map(|n| (format!("h:{n}"), serde_json::json!({ "weight": 1 })));
    let set: serde_json::Map<_, _> = set.collect();
    let text = serde_json::json!({ "version": 1, "upstreams": { "u": { "set": set } } });
    fs::write(fixture.path(), text.to_string()).unwrap();
    fixture.restart();
    assert_eq!(fixture.registry.overlay("u").set.len(), MOST_ENTRIES);
    let full = fixture.registry.register("u", &registration(1, None), 0);
    assert!(matches!(full, Err(RegistryError::TooMany)));
    fixture.registry.set("u", "h:1", None, Some(2)).unwrap();

    let long = Fixture::new();
    let host = "h".repeat(MOST_BYTES);
    let too_long = Registration { host: host.as_str().into(), ..registration(1, None) };
    assert!(matches!(long.registry.register("u", &too_long, 0), Err(RegistryError::TooLarge)));
    assert!(!long.path().exists());
}

#[test]
fn only_one_process_changes_it() {
    let fixture = Fixture::new();
    fixture.registry.register("u", &registration(1, Some(30)), 0).unwrap();
    fixture.registry.let_go();
    let refused = fixture.registry.set("u", "h:1", Some(State::Drain), None);
    assert!(matches!(refused, Err(RegistryError::Elsewhere)));
    assert_eq!(fixture.registry.expire(31 * SECOND), []);
    fixture.registry.take_back();
    assert_eq!(fixture.registry.expire(31 * SECOND).len(), 1);
}
