//! Revoked tokens on their way: who reads what, and that nothing is passed over.

use super::*;

fn rows(from: u32, to: u32, until_s: i64) -> Vec<(String, i64)> {
    (from..to).map(|number| (format!("row{number}"), until_s)).collect()
}

#[test]
fn what_is_new_is_read_and_not_all_that_there_is() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        let number = async || link.revoked_number().await.unwrap();
        let since = async |since, to| {
            let rows = link.revoked_since(since, to).await.unwrap();
            rows.map(|mut rows| {
                rows.sort();
                rows
            })
        };
        assert_eq!(number().await, None);
        link.share_revoked(&rows(0, 3, 100), 1).await.unwrap();
        assert_eq!((number().await, since(0, 1).await.map(|rows| rows.len())), (Some(1), Some(3)));
        link.share_revoked(&rows(3, 4, 100), 1).await.unwrap();
        assert_eq!((number().await, since(1, 2).await), (Some(2), Some(vec!["row3".to_owned()])));
        // What is known already is no news, whoever tells it once more.
        link.share_revoked(&rows(0, 4, 100), 1).await.unwrap();
        assert_eq!((number().await, since(2, 2).await), (Some(2), Some(Vec::new())));
        // Many at once, more than one answer holds.
        link.share_revoked(&rows(10, 4_510, 100), 1).await.unwrap();
        assert_eq!(number().await, Some(7));
        assert_eq!(since(2, 7).await.map(|rows| rows.len()), Some(4_500));
        assert_eq!(since(4, 6).await.map(|rows| rows.len()), Some(2_000));
        assert_eq!(link.shared_revoked(1).await.unwrap().len(), 4_504);
        // What has expired goes.
        link.share_revoked(&rows(5_000, 5_001, 300), 200).await.unwrap();
        assert_eq!(link.shared_revoked(1).await.unwrap(), ["row5000"]);
    });
}

#[test]
fn where_it_is_not_known_what_came_all_is_to_be_read() {
    let server = Server::start(&[]);
    run(async {
        let link = link(&server.url(""));
        link.share_revoked(&rows(0, 1, 100), 1).await.unwrap();
        // A proxy of before, which keeps no news.
        let _: u32 = asked(&link, &["ZADD", "test:revoked", "100", "theirs"]).await.unwrap();
        let _: u32 = asked(&link, &["INCR", "test:revoked:number"]).await.unwrap();
        assert_eq!(link.revoked_since(1, 2).await.unwrap(), None);
        link.share_revoked(&rows(1, 2, 100), 1).await.unwrap();
        assert_eq!(link.revoked_since(1, 3).await.unwrap(), None);
        assert_eq!(link.revoked_since(2, 3).await.unwrap(), Some(vec!["row1".to_owned()]));
        // Too long ago.
        let _: u32 = asked(&link, &["INCRBY", "test:revoked:number", "1000"]).await.unwrap();
        link.share_revoked(&rows(2, 3, 100), 1).await.unwrap();
        assert_eq!(link.revoked_since(3, 1_004).await.unwrap(), None);
        assert_eq!(link.revoked_since(1_003, 1_004).await.unwrap(), Some(vec!["row2".to_owned()]));
        let left: u32 = asked(&link, &["ZCARD", "test:revoked:news"]).await.unwrap();
        assert_eq!(left, 1, "news do not grow for ever");
        // Lost.
        let _: u32 = asked(&link, &["DEL", "test:revoked:number", "test:revoked:news"]).await.unwrap();
        link.share_revoked(&rows(0, 3, 100), 1).await.unwrap();
        assert_eq!(link.revoked_number().await.unwrap(), Some(1), "there is a number again, though no row is new");
        assert_eq!(link.revoked_since(0, 1).await.unwrap(), None);
    });
}
