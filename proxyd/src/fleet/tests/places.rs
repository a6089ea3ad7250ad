//! Places among so many, held by leases.

use super::*;

fn places(most: u32) -> Meter {
    Meter::new(&Rule { algorithm: Algorithm::Concurrency { at_most: most }, ..Rule::default() })
}

/// Whether it was given, and how many are left.
fn told(text: &str) -> (bool, u32) {
    let verdict = places(2).told(text).unwrap_or_else(|| panic!("{text}")).verdict;
    (verdict.allowed, verdict.remaining)
}

#[test]
fn as_many_as_there_are_and_each_once() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        let take = async |who: &str| told(&link.take_place("test:{k}", 2, who).await.unwrap());
        assert_eq!(told(&link.places_held("test:{k}", 2).await.unwrap()), (true, 2));
        assert_eq!((take("a").await, take("a").await), ((true, 1), (true, 1)), "asked once more");
        assert_eq!((take("b").await, take("c").await), ((true, 0), (false, 0)));
        assert_eq!(take("b").await, (true, 0), "it has its place");
        assert_eq!(told(&link.places_held("test:{k}", 2).await.unwrap()), (false, 0));
        link.free_places(&[("test:{k}", "a"), ("test:{none}", "a")]).await.unwrap();
        assert_eq!(take("c").await, (true, 0));
        let ttl: i64 = asked(&link, &["PTTL", "test:{k}"]).await.unwrap();
        assert!((25_000..=31_000).contains(&ttl), "{ttl}");
        // Whose lease has ended gives place.
        let _: u32 = asked(&link, &["ZADD", "test:{k}", "1", "b"]).await.unwrap();
        assert_eq!(take("d").await, (true, 0));
        // An engine that forgot them is told again.
        let _: String = asked(&link, &["FLUSHALL"]).await.unwrap();
        link.hold_places("test:{k}", &["c", "d", "e"]).await.unwrap();
        assert_eq!(take("f").await, (false, 0));
    });
}

/// Who holds a place, as the engine has it.
async fn held(link: &Link) -> Vec<String> {
    asked(link, &["ZRANGE", "test:{k}", "0", "-1"]).await.unwrap()
}

/// As a worker runs.
fn run_local<T>(future: impl Future<Output = T>) -> T {
    let options = tokio::runtime::LocalOptions::default();
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap().block_on(future)
}

#[test]
fn a_thread_holds_its_places_and_gives_them_back() {
    let server = Server::start(&[]);
    let url = server.url("");
    run_local(async {
        let engine = Engine::compile(Some(&settings(&url)), None).unwrap();
        let fleet = Fleet::new(&Arc::default());
        let (link, leases) = (fleet.link(&engine), fleet.leases());
        let open = || leases.open(&link, "test:{k}".into()).unwrap();
        let (one, two, refused, owed) = (open(), open(), open(), open());
        for place in [&one, &two] {
            link.take_place("test:{k}", 9, &place.who()).await.unwrap();
            place.taken();
        }
        assert_eq!(held(&link).await.len(), 2);
        refused.refused();
        owed.owed();
        let patience = Instant::now();
        while held(&link).await.len() != 3 {
            assert!(patience.elapsed() < Duration::from_secs(20), "what is owed is told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(two);
        drop((one, owed));
        let patience = Instant::now();
        while !held(&link).await.is_empty() {
            assert!(patience.elapsed() < Duration::from_secs(20), "all are given back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn an_engine_that_is_silent_does_not_keep_another_from_being_told() {
    let server = Server::start(&[]);
    let url = server.url("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("redis://{}", listener.local_addr().unwrap());
    run_local(async {
        let fleet = Fleet::new(&Arc::default());
        let silent = fleet.link(&Engine::compile(Some(&settings(&silent_url)), None).unwrap());
        let link = fleet.link(&Engine::compile(Some(&settings(&url)), None).unwrap());
        let leases = fleet.leases();
        let owed = |link: &Rc<Link>, key: String| {
            let place = leases.open(link, key.into()).unwrap();
            place.owed();
            place
        };
        let _there: Vec<Place> = (0..300).map(|n| owed(&silent, format!("{{{n}}}"))).collect();
        let _here = owed(&link, "test:{k}".to_owned());
        let started = Instant::now();
        while held(&link).await.is_empty() {
            assert!(started.elapsed() < Duration::from_secs(4), "the other engine is told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
