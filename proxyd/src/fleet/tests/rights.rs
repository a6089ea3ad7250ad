//! The rights that the reference page says a proxy needs: with these all that is asked is answered, and none is too many.

use super::*;

const PAGE: &str = include_str!("../../../../docs/reference/limits.md");

/// The words of the page's `ACL SETUSER` line.
fn rights() -> Vec<&'static str> {
    let line = PAGE.lines().find(|line| line.starts_with("ACL SETUSER proxyd ")).expect("the page has the line");
    line.split(' ').collect()
}

/// All that is asked anywhere.
async fn everything(url: &str) -> Result<(), StoreError> {
    let settings = Redis { prefix: "proxyd:".into(), ..settings(url) };
    let engine = Engine::compile(Some(&settings), None).unwrap();
    let link = Fleet::new(&Arc::default()).link(&engine);
    let (value, second) = (b"1".as_slice(), Duration::from_secs(1));
    link.set("session:a", value, second).await?;
    link.set_new("mark:a", value, second).await?;
    link.get("session:a").await?;
    link.replace("session:a", value, second).await?;
    link.contains("mark:a").await?;
    link.keep("session:a", second).await?;
    link.remove("session:a").await?;
    let meter = meter(Algorithm::FixedWindow, &[(100, 60)], 1);
    link.count("proxyd:limit:{top/a/b}", &meter.form(), Aim::Take, &meter.arguments(), None).await?;
    link.take_place("proxyd:places:{top/a/b}", 5, "one").await?;
    link.places_held("proxyd:places:{top/a/b}", 5).await?;
    link.hold_places("proxyd:places:{top/a/b}", &["one"]).await?;
    link.free_places(&[("proxyd:places:{top/a/b}", "one")]).await?;
    link.revoked_number().await?;
    link.share_revoked(&[("a".to_owned(), 5)], 1).await?;
    link.revoked_since(0, 1).await?;
    link.shared_revoked(1).await?;
    Ok(())
}

#[test]
fn the_rights_of_the_page_are_what_is_needed() {
    let server = Server::start(&[]);
    let url = server.url("?user=proxyd&pass=PASSWORD");
    run(async {
        let operator = link(&server.url(""));
        let _: String = asked(&operator, &rights()).await.unwrap();
        assert_eq!(everything(&url).await, Ok(()));
        let commands: Vec<&str> = rights().into_iter().filter_map(|word| word.strip_prefix('+')).collect();
        // Where the URL names a database.
        for command in commands.into_iter().filter(|command| *command != "select") {
            let _: String = asked(&operator, &["ACL", "SETUSER", "proxyd", &format!("-{command}")]).await.unwrap();
            let _: String = asked(&operator, &["FLUSHALL"]).await.unwrap();
            let _: String = asked(&operator, &["SCRIPT", "FLUSH"]).await.unwrap();
            assert_eq!(everything(&url).await, Err(StoreError::Refused), "without {command}");
            let _: String = asked(&operator, &["ACL", "SETUSER", "proxyd", &format!("+{command}")]).await.unwrap();
        }
        assert_eq!(everything(&server.url("?user=proxyd&pass=PASSWORD&db=3")).await, Ok(()));
        let _: String = asked(&operator, &["ACL", "SETUSER", "proxyd", "-select"]).await.unwrap();
        let unselected = everything(&server.url("?user=proxyd&pass=PASSWORD&db=3")).await;
        assert_eq!(unselected, Err(StoreError::Refused));
        assert_eq!(everything(&url).await, Ok(()), "the database of the start needs no choice");
    });
}
