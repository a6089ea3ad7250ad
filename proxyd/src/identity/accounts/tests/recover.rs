//! New passwords: changed, or set anew by mail.

use super::*;
use crate::identity::accounts::recover::Purpose;

#[tokio::test]
async fn what_waits_with_the_old_password_comes_to_nothing_once_there_is_a_new_one() {
    let accounts = accounts(config());
    ann(&accounts).await;
    for path in ["/login", "/change-password"] {
        let password_hash = password::hash(PASSWORD.as_bytes()).unwrap();
        let set = |hash: &str| accounts.state.directory(|directory| directory.user_password("ann", hash, NOW_S));
        accounts.state.standing.note(&set(&password_hash).unwrap());
        let (access, _) = login(&accounts, "ann", PASSWORD).await.unwrap();
        // Both turns are taken: whoever comes waits.
        let (free, held) = std::sync::mpsc::sync_channel::<()>(0);
        let held = Arc::new(std::sync::Mutex::new(held));
        let taken: Vec<_> = (0..2)
            .map(|_| {
                let (accounts, held) = (Arc::clone(&accounts), Arc::clone(&held));
                let wait = move || held.lock().unwrap().recv();
                tokio::spawn(async move { accounts.state.queues.logins.run(None, wait).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let body = if path == "/login" {
            json!({"name": "ann", "password": PASSWORD})
        } else {
            json!({"password": PASSWORD, "new_password": OTHER})
        };
        let asking = Arc::clone(&accounts);
        let asked = tokio::spawn(async move { ask_as(&asking, &access, path, body).await });
        while accounts.state.queues.logins.is_idle() {
            tokio::task::yield_now().await;
        }
        let owners = set(&password::hash(b"the owner's new one").unwrap()).unwrap();
        accounts.state.standing.note(&owners);
        drop(free);
        for taken in taken {
            taken.await.unwrap();
        }
        let code = if path == "/login" { "password_wrong" } else { "token_revoked" };
        fails(asked.await.unwrap(), code);
        let now = accounts.state.directory(|directory| directory.user("ann")).unwrap().unwrap();
        assert!(now == owners, "{path}");
    }
}

#[tokio::test]
async fn a_reset_is_for_one_account_and_one_use() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let (access, _) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let put = |kind: &'static str| {
        let token = secret::fresh().unwrap();
        let put = accounts.state.directory(|directory| {
            let id = directory.user("ann")?.unwrap().id;
            directory.one_time_put(kind, &token.hash, &id, NOW_S + SHORT_TOKEN_S)
        });
        put.unwrap();
        token.text
    };
    let reset = async |token: &str, password: &str, now_s: i64| {
        ask_at(&accounts, "/reset", json!({"token": token, "password": password}), "", now_s, "192.0.2.1").await
    };
    fails(reset("", OTHER, NOW_S).await, "token_invalid");
    fails(reset(&"A".repeat(43), OTHER, NOW_S).await, "token_invalid");
    fails(reset(&put(VERIFY), OTHER, NOW_S).await, "token_invalid");
    fails(reset(&put(RESET), OTHER, NOW_S + SHORT_TOKEN_S).await, "token_invalid");
    let token = put(RESET);
    fails(ask(&accounts, "/verify", json!({"token": token})).await, "token_invalid");
    fails(reset(&token, "short", NOW_S).await, "password_weak");
    fails(reset(&token, "ann@example.com", NOW_S + SHORT_TOKEN_S - 1).await, "password_weak");
    fails(reset(&token, OTHER, NOW_S + SHORT_TOKEN_S).await, "token_invalid");
    reset(&token, OTHER, NOW_S).await.unwrap();
    fails(reset(&token, PASSWORD, NOW_S).await, "token_invalid");
    fails(ask_as(&accounts, &access, "/me", json!({})).await, "token_revoked");
    let me = ask_as(&accounts, &login(&accounts, "ann", OTHER).await.unwrap().0, "/me", json!({})).await.unwrap();
    assert_eq!(me["verified"], true, "whoever got the mail has the address");
}

#[tokio::test]
async fn who_leaves_before_the_password_is_set_has_the_token_still() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let token = secret::fresh().unwrap();
    let put = accounts.state.directory(|directory| {
        let id = directory.user("ann")?.unwrap().id;
        directory.one_time_put(RESET, &token.hash, &id, NOW_S + SHORT_TOKEN_S)
    });
    put.unwrap();
    let turns = &accounts.state.queues;
    let (free, held) = std::sync::mpsc::sync_channel::<()>(0);
    let held = Arc::new(std::sync::Mutex::new(held));
    for _ in 0..2 {
        let (accounts, held) = (Arc::clone(&accounts), Arc::clone(&held));
        let wait = move || held.lock().unwrap().recv();
        tokio::spawn(async move { accounts.state.queues.logins.run(None, wait).await });
    }
    tokio::task::yield_now().await;
    let (asking, body) = (Arc::clone(&accounts), json!({"token": token.text, "password": OTHER}));
    let asked = tokio::spawn(async move { ask(&asking, "/reset", body).await });
    while turns.new_passwords.is_idle() {
        tokio::task::yield_now().await;
    }
    asked.abort();
    drop(free);
    asked.await.unwrap_err();
    ask(&accounts, "/reset", json!({"token": token.text, "password": OTHER})).await.unwrap();
    login(&accounts, "ann", OTHER).await.unwrap();
}

/// A server that nobody reaches.
fn mail() -> identity::Mail {
    identity::Mail {
        host: "127.0.0.1".into(),
        port: 9,
        tls: identity::MailTls::Off,
        user: None,
        password: None,
        from: "noreply@example.com".into(),
        reset_url: "http://127.0.0.1/{token}".into(),
        verify_url: "http://127.0.0.1/{token}".into(),
    }
}

#[tokio::test]
async fn one_network_asks_for_so_many_mails_and_one_purpose_takes_nothing_of_another() {
    let accounts = accounts(identity::Accounts { mail: Some(mail()), ..config() });
    let ask_for = async |path: &str, from: &str| {
        ask_at(&accounts, path, json!({"email": "nobody@example.com"}), "", NOW_S, from).await
    };
    for path in ["/forgot", "/resend-verification"] {
        for _ in 0..30 {
            ask_for(path, "192.0.2.1").await.unwrap();
        }
        fails(ask_for(path, "192.0.2.1").await, "auth_locked");
        ask_for(path, "192.0.2.2").await.unwrap();
    }
    for purpose in [Purpose::Verify, Purpose::Register, Purpose::Reset] {
        let sent = (0..9).filter(|_| accounts.may_mail(purpose, "Ann@example.com", NOW_S)).count();
        assert_eq!(sent, 5);
        assert!(!accounts.may_mail(purpose, "ann@example.com", NOW_S));
    }
}

#[tokio::test]
async fn an_account_that_nobody_verifies_goes() {
    let accounts = accounts(identity::Accounts { verify: true, mail: Some(mail()), ..config() });
    for name in ["ann", "bob"] {
        let body = json!({"name": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        ask(&accounts, "/register", body).await.unwrap();
    }
    let there = |name: &'static str| accounts.state.directory(|directory| directory.user(name)).unwrap();
    while there("ann").is_none() || there("bob").is_none() {
        tokio::task::yield_now().await;
    }
    let verified = directory::UserChange { verified: Some(true), ..Default::default() };
    accounts.state.directory(|directory| directory.user_set("bob", verified, NOW_S)).unwrap();
    let ann = there("ann").unwrap();
    accounts.state.tick(false, NOW_S + 7 * 86_400 - 60).unwrap();
    assert!(there("ann").is_some() && accounts.state.standing.holds(&ann.id, 0));
    accounts.state.tick(false, NOW_S + 7 * 86_400).unwrap();
    assert!(there("ann").is_none() && !accounts.state.standing.holds(&ann.id, 0));
    assert!(there("bob").is_some());
}
