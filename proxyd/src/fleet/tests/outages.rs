//! What a link makes of an engine that was ended, was demoted, answers with errors, or never was.

use super::*;

const LATER: Duration = Duration::from_mins(1);

/// Lets the link's connection hear what became of its other end.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

#[test]
fn an_engine_that_came_back_costs_no_question() {
    let mut server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        assert_eq!(link.set("a", b"1", LATER).await, Ok(()));
        server.restart();
        pause().await;
        assert_eq!(link.set_new("a", b"2", LATER).await, Ok(true), "the old connection is known to be over");
        server.restart();
        // This thread did nothing since, and has not heard that the connection is over.
        assert_eq!(link.get("a").await, Ok(None), "asked once more");
        let meter = meter(Algorithm::FixedWindow, &[(3, 60)], 1);
        server.restart();
        let text = link.count("test:{k}", &meter.form(), Aim::Take, &meter.arguments(), None).await.unwrap();
        assert_eq!(meter.told(&text).unwrap().verdict.remaining, 2);
        server.restart();
        assert_eq!(
            link.set_new("a", b"3", LATER).await,
            Err(StoreError::Broken),
            "its answer might be of the first time"
        );
        assert_eq!(link.set_new("a", b"3", LATER).await, Ok(true));
        server.end();
        assert_eq!(link.get("a").await, Err(StoreError::Broken), "it may have been heard");
        assert_eq!(link.get("a").await, Err(StoreError::Connect));
    });
}

/// An address that leads to one server first, and to another then.
struct Moving(tempfile::TempDir);

impl Moving {
    fn to(server: &Server) -> Self {
        let moving = Self(tempfile::tempdir().unwrap());
        moving.leads_to(server);
        moving
    }

    fn leads_to(&self, server: &Server) {
        let _ = std::fs::remove_file(self.0.path().join("redis.sock"));
        std::os::unix::fs::symlink(server.socket(), self.0.path().join("redis.sock")).unwrap();
    }

    fn url(&self) -> String {
        format!("unix:{}", self.0.path().join("redis.sock").display())
    }
}

#[test]
fn a_demoted_engine_is_left_for_the_one_that_took_its_place() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let moving = Moving::to(&first);
    run(async {
        let link = link(&moving.url());
        assert_eq!(link.set("a", b"first", LATER).await, Ok(()));
        let _: String = asked(&super::link(&first.url("")), &["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
        assert_eq!(
            link.set("a", b"1", LATER).await,
            Err(StoreError::Answer),
            "a young connection stays: it is no loop"
        );
        assert_eq!(link.get("a").await, Ok(Some(b"first".to_vec())));
        moving.leads_to(&second);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let meter = meter(Algorithm::FixedWindow, &[(3, 60)], 1);
        let text = link.count("test:{k}", &meter.form(), Aim::Take, &meter.arguments(), None).await.unwrap();
        assert_eq!(meter.told(&text).unwrap().verdict.remaining, 2, "asked there, by the same question");
        assert_eq!(link.get("a").await, Ok(None));
    });
}

#[test]
fn a_run_of_errors_ends_a_connection_and_opens_no_breaker() {
    let (first, second) = (Server::start(&[]), Server::start(&[]));
    let moving = Moving::to(&first);
    run(async {
        let link = link(&moving.url());
        let _: String = asked(&link, &["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        moving.leads_to(&second);
        for _ in 0..10 {
            assert_eq!(link.set("a", b"1", LATER).await, Err(StoreError::Answer));
        }
        assert_eq!(link.engine.state(), State::Closed, "it answers");
        assert_eq!(link.set("a", b"1", LATER).await, Ok(()));
    });
}

#[test]
fn a_connection_that_does_not_come_about_counts_once_however_many_wait() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let link = link(&format!("unix:{}/none", folder.path().display()));
        let (a, b, c, d) = tokio::join!(link.get("a"), link.get("b"), link.get("c"), link.get("d"));
        assert_eq!([a, b, c, d], [const { Err(StoreError::Connect) }; 4]);
        assert_eq!(link.engine.state(), State::Closed, "that was one failure");
        for expected in [StoreError::Connect, StoreError::Connect, StoreError::Open] {
            assert_eq!(link.get("a").await, Err(expected));
        }
    });
}

/// Somebody who begins to ask and leaves at once.
async fn asks_and_leaves(link: &Link) {
    tokio::select! {
        biased;
        answer = link.get("a") => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    pause().await;
}

#[test]
fn what_came_of_a_connection_that_nobody_waited_for_is_no_answer_later() {
    let mut server = Server::start(&[]);
    run(async {
        let late = link(&server.url(""));
        server.end();
        std::fs::remove_file(server.socket()).unwrap();
        asks_and_leaves(&late).await;
        server.restart();
        assert_eq!(late.get("a").await, Ok(None), "a failure of before");
        let early = link(&server.url(""));
        asks_and_leaves(&early).await;
        server.restart();
        pause().await;
        assert_eq!(early.set_new("a", b"1", LATER).await, Ok(true), "a connection that is over since");
    });
}
