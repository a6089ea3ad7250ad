//! The engine away, and the engine there: a real `redis-server`, whose script is compared with our own arithmetic.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::config::policy::{Algorithm, Rule, Window};
use shared::config::{Redis, Secret};
use shared::decide::limit::{Counters, Meter};

use super::question::Again;
use super::*;

mod outages;
mod places;
mod revoked;
mod rights;

/// Settings for tests.
pub(super) fn settings(url: &str) -> Redis {
    Redis {
        url: Secret::new(url.to_owned()),
        prefix: "test:".into(),
        timeout: Duration::from_millis(500),
        connect_timeout: Duration::from_millis(500),
        failures: 3,
        open_for: Duration::from_millis(20),
    }
}

/// A server on a socket of its own, ended with the test.
struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { child: Self::run(folder.path(), args), folder }
    }

    /// Ended, and started again at the same place, empty.
    fn restart(&mut self) {
        self.end();
        self.child = Self::run(self.folder.path(), &[]);
    }

    fn run(folder: &Path, args: &[&str]) -> Child {
        let socket = folder.join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .args(args)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is there: apt-get install redis-server, or ./check, which does it");
        let patience = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(patience.elapsed() < Duration::from_secs(20), "redis-server does not come up");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn url(&self, query: &str) -> String {
        format!("unix:{}{query}", self.socket().display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn link(url: &str) -> Rc<Link> {
    let engine = Engine::compile(Some(&settings(url)), None).unwrap();
    Fleet::new(&Arc::default()).link(&engine)
}

/// What the engine says to a command of tests.
async fn asked<T: redis::FromRedisValue>(link: &Link, words: &[&str]) -> Result<T, StoreError> {
    let mut question = redis::Cmd::new();
    question.arg(words);
    link.ask(question, Again::Yes).await
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn an_engine_that_is_away_is_not_asked_for_long() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    run(async {
        let link = link(&format!("redis://127.0.0.1:{port}"));
        for expected in [StoreError::Connect, StoreError::Connect, StoreError::Connect, StoreError::Open] {
            assert_eq!(link.get("a").await, Err(expected));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(link.get("a").await, Err(StoreError::Connect), "a trial");
        assert_eq!(link.get("a").await, Err(StoreError::Open));
    });
}

#[test]
fn an_engine_that_says_nothing_costs_its_time_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    run(async {
        let link = link(&format!("redis://127.0.0.1:{port}"));
        let started = Instant::now();
        assert_eq!(link.get("a").await, Err(StoreError::Connect), "nobody greets us");
        assert!(started.elapsed() < Duration::from_secs(3));
    });
}

#[test]
fn whoever_waits_while_it_connects_shares_the_one_attempt() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        let (one, two) = tokio::join!(link.get("a"), link.set("b", b"1", Duration::from_secs(9)));
        assert_eq!((one, two), (Ok(None), Ok(())));
        let clients: String = asked(&link, &["INFO", "clients"]).await.unwrap();
        assert!(clients.contains("connected_clients:1\r"), "{clients}");
    });
}

#[test]
fn values_are_kept_for_their_time() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        let second = Duration::from_mins(1);
        assert_eq!(link.get("a").await, Ok(None));
        assert_eq!(link.set("a", b"one\0", second).await, Ok(()));
        assert_eq!(link.set_new("a", b"two", second).await, Ok(false));
        assert_eq!(link.get("a").await, Ok(Some(b"one\0".to_vec())));
        assert_eq!(link.contains("a").await, Ok(true));
        assert_eq!(link.keep("a", second).await, Ok(true));
        assert_eq!(link.keep("b", second).await, Ok(false));
        assert_eq!((link.replace("a", b"3", second).await, link.get("a").await), (Ok(true), Ok(Some(b"3".to_vec()))));
        assert_eq!((link.replace("b", b"3", second).await, link.get("b").await), (Ok(false), Ok(None)));
        assert_eq!((link.remove("a").await, link.remove("a").await), (Ok(true), Ok(false)));
        assert_eq!(link.contains("a").await, Ok(false));
        assert_eq!(link.set_new("a", b"two", Duration::ZERO).await, Ok(true));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(link.get("a").await, Ok(None), "a millisecond is the least");
        assert_eq!(link.set("a", &vec![0; 100_000], second).await, Err(StoreError::Answer));
        let keys: Vec<String> = asked(&link, &["KEYS", "*"]).await.unwrap();
        assert!(keys.is_empty(), "{keys:?}");
    });
}

#[test]
fn passwords_and_databases_are_of_the_url() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    run(async {
        let wrong = link(&server.url("?pass=other"));
        assert_eq!(wrong.get("a").await, Err(StoreError::Refused));
        assert_eq!(link(&server.url("")).get("a").await, Err(StoreError::Refused));
        let (two, three) = (link(&server.url("?pass=s3cret&db=2")), link(&server.url("?pass=s3cret&db=3")));
        assert_eq!(two.set("a", b"2", Duration::from_secs(9)).await, Ok(()));
        assert_eq!((two.get("a").await, three.get("a").await), (Ok(Some(b"2".to_vec())), Ok(None)));
        // What was refused once is tried again.
        let _: String = asked(&two, &["CONFIG", "SET", "requirepass", "other"]).await.unwrap();
        assert_eq!(wrong.get("a").await, Ok(None));
    });
}

#[test]
fn a_link_is_kept_while_the_engine_is_and_made_anew_when_it_broke() {
    let server = Server::start(&[]);
    let (first, second) = (settings(&server.url("")), settings(&server.url("?db=1")));
    run(async {
        let fleet = Fleet::new(&Arc::default());
        let engine = Engine::compile(Some(&first), None).unwrap();
        let link = fleet.link(&engine);
        assert!(Rc::ptr_eq(&link, &fleet.link(&Engine::compile(Some(&first), Some(&engine)).unwrap())));
        assert!(!Rc::ptr_eq(&link, &fleet.link(&Engine::compile(Some(&second), Some(&engine)).unwrap())));
        assert_eq!(link.get("a").await, Ok(None));
        let killed: Result<redis::Value, _> = asked(&link, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]).await;
        let _ = killed;
        let patience = Instant::now();
        while link.get("a").await != Ok(None) {
            assert!(patience.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

fn meter(algorithm: Algorithm, limits: &[(u32, u64)], cost: u32) -> Meter {
    let window = |(requests, per_s): &(u32, u64)| Window { requests: *requests, per: Duration::from_secs(*per_s) };
    Meter::new(&Rule { limits: limits.iter().map(window).collect(), algorithm, cost, ..Rule::default() })
}

/// A reproducible stream of numbers.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 31) % bound
    }
}

/// Random requests; each time the script must say what our own arithmetic says at the script's time.
#[test]
fn the_script_counts_as_we_do() {
    let server = Server::start(&[]);
    let largest = (4_000_000_000, 30 * 86_400);
    run(async {
        let link = link(&server.url(""));
        for seed in 0..60 {
            let mut random = Seeded(seed);
            let mut limits: Vec<(u32, u64)> = (1..=1 + random.below(3))
                .map(|n| {
                    (1 + random.below(if seed % 3 == 0 { 6 } else { 4_000_000 }) as u32, n * (1 + random.below(2)))
                })
                .collect();
            if seed % 4 == 0 {
                limits.push(largest);
            }
            let burst = (random.below(2) == 0).then(|| 1 + random.below(10) as u32);
            let algorithm = match seed % 3 {
                0 => Algorithm::SlidingWindow,
                1 => Algorithm::FixedWindow,
                _ => Algorithm::TokenBucket { burst },
            };
            let cost = 1 + random.below(if seed % 2 == 0 { 1 } else { 1000 }) as u32;
            let meter = meter(algorithm, &limits, cost);
            let mut ours = Counters::default();
            for step in 0..40 {
                let aim = if random.below(4) == 0 { Aim::Look } else { Aim::Take };
                let key = format!("test:{{{seed}}}");
                let text = link.count(&key, &meter.form(), aim, &meter.arguments(), None).await.unwrap();
                let told = meter.told(&text).unwrap_or_else(|| panic!("{text}"));
                let expected = match aim {
                    Aim::Take => meter.take(&mut ours, told.now_us),
                    Aim::Look => meter.peek(&ours, told.now_us),
                };
                assert_eq!(
                    told.verdict, expected,
                    "seed {seed} step {step}: {limits:?} {algorithm:?} by {cost}: {text}"
                );
                if random.below(8) == 0 {
                    tokio::time::sleep(Duration::from_millis(random.below(60))).await;
                }
            }
        }
        let ttl: i64 = asked(&link, &["PTTL", "test:{0}"]).await.unwrap();
        assert!(ttl > 0, "{ttl}");
    });
}

#[test]
fn the_script_is_exact_where_numbers_are_large() {
    let server = Server::start(&[]);
    let month = 30 * 86_400;
    run(async {
        let link = link(&server.url(""));
        for algorithm in [Algorithm::SlidingWindow, Algorithm::FixedWindow, Algorithm::TokenBucket { burst: None }] {
            let meter = meter(algorithm, &[(4_000_000_000, month)], 1_333_333_333);
            let key = meter.form();
            for expected in [true, true, true, false, false] {
                let text = link.count(&key, &meter.form(), Aim::Take, &meter.arguments(), None).await.unwrap();
                assert_eq!(meter.told(&text).unwrap().verdict.allowed, expected, "{algorithm:?}: {text}");
            }
            let one = Meter::new(&Rule {
                limits: vec![Window { requests: 4_000_000_000, per: Duration::from_secs(month) }],
                algorithm,
                ..Rule::default()
            });
            let text = link.count(&key, &one.form(), Aim::Look, &one.arguments(), None).await.unwrap();
            let remaining = one.told(&text).unwrap().verdict.remaining;
            // The bucket has drained by some requests since.
            assert!((1..5_000_000).contains(&remaining), "{algorithm:?}: {remaining}");
        }
    });
}

#[test]
fn forms_count_apart_and_are_bounded() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        for requests in 1..=30 {
            let meter = meter(Algorithm::FixedWindow, &[(requests, 60)], 1);
            let text = link.count("test:{k}", &meter.form(), Aim::Take, &meter.arguments(), None).await.unwrap();
            assert!(meter.told(&text).unwrap().verdict.allowed);
        }
        let forms: u32 = asked(&link, &["HLEN", "test:{k}"]).await.unwrap();
        assert!(forms <= 8, "{forms}");
        let _: String = asked(&link, &["SCRIPT", "FLUSH"]).await.unwrap();
        let meter = meter(Algorithm::FixedWindow, &[(30, 60)], 1);
        let text = link.count("test:{k}", &meter.form(), Aim::Take, &meter.arguments(), None).await.unwrap();
        assert_eq!(meter.told(&text).unwrap().verdict.remaining, 28, "the script is told anew, the counts are there");
        let _: redis::Value = asked(&link, &["SET", "test:{k}", "x"]).await.unwrap();
        let wrong = link.count("test:{k}", &meter.form(), Aim::Take, &meter.arguments(), None).await;
        assert_eq!(wrong, Err(StoreError::Answer), "somebody else's value is no count");
    });
}
