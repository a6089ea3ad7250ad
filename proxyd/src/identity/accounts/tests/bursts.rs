//! Many logins of one account at once: who is right comes in, and who is wrong has no more guesses than one after the other.

use super::*;

/// The codes of so many logins at once, of the same account by either of its names.
async fn burst(accounts: &Arc<Accounts>, count: usize, password: &'static str) -> Vec<&'static str> {
    let logins: Vec<_> = (0..count)
        .map(|index| {
            let accounts = Arc::clone(accounts);
            let who = if index % 2 == 0 { ("name", "ann") } else { ("email", "Ann@example.com") };
            // Each from a network of its own: the queues' share of one address is not what is asked for here.
            let from = format!("192.0.2.{index}");
            tokio::spawn(async move {
                let body = json!({who.0: who.1, "password": password});
                ask_at(&accounts, "/login", body, "", NOW_S, &from)
                    .await
                    .map_or_else(|failure| failure.code(), |_| "in")
            })
        })
        .collect();
    let mut codes = Vec::new();
    for login in logins {
        codes.push(login.await.unwrap());
    }
    codes
}

#[tokio::test]
async fn many_right_logins_at_once_all_come_in() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let codes = burst(&accounts, 12, PASSWORD).await;
    assert!(codes.iter().all(|code| *code == "in"), "{codes:?}");
    // None of them is left over as a guess.
    for _ in 0..2 {
        fails(login(&accounts, "ann", OTHER).await.map(|_| json!(0)), "password_wrong");
    }
    login(&accounts, "ann", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn many_wrong_logins_at_once_are_no_more_guesses() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let names = ["ann"; 12].map(|name| {
        let accounts = Arc::clone(&accounts);
        tokio::spawn(async move { login(&accounts, name, OTHER).await.map_or_else(|failure| failure.code(), |_| "in") })
    });
    let mut codes = Vec::new();
    for login in names {
        codes.push(login.await.unwrap());
    }
    assert_eq!(codes.iter().filter(|code| **code == "password_wrong").count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == "auth_locked").count(), 9, "{codes:?}");
    assert_eq!(login(&accounts, "ann", PASSWORD).await.unwrap_err(), Failure::locked(600));
}

#[tokio::test]
async fn who_is_right_among_those_who_guess_at_once_is_in_or_waits_for_the_lock() {
    let accounts = accounts(config());
    ann(&accounts).await;
    // Two guesses are left over for the owner's own mistakes, whoever logs in beside.
    let (right, wrong) = tokio::join!(burst(&accounts, 8, PASSWORD), burst(&accounts, 2, OTHER));
    assert!(right.iter().all(|code| *code == "in"), "{right:?}");
    assert!(wrong.iter().all(|code| *code == "password_wrong"), "{wrong:?}");
}
