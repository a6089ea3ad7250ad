//! Logins that have ended, where the disk takes nothing and where the config changes.

use super::*;

fn refuse_writes(accounts: &Arc<Accounts>, now: bool) {
    accounts.state.directory(|directory| directory.refuse_writes(now)).unwrap();
}

async fn is_revoked(accounts: &Arc<Accounts>, token: &str) {
    fails(ask_as(accounts, token, "/me", json!({})).await, "token_revoked");
}

#[tokio::test]
async fn a_logout_holds_though_the_disk_does_not_take_it() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let (access, refresh) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let (by_refresh, other) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let (one, two) =
        (login(&accounts, "ann", PASSWORD).await.unwrap(), login(&accounts, "ann", PASSWORD).await.unwrap());
    refuse_writes(&accounts, true);
    fails(ask_as(&accounts, &access, "/logout", json!({})).await, "auth_unavailable");
    fails(ask(&accounts, "/logout", json!({"refresh_token": other})).await, "auth_unavailable");
    is_revoked(&accounts, &access).await;
    is_revoked(&accounts, &by_refresh).await;
    // One login with the access token, another with the refresh token.
    fails(ask_as(&accounts, &one.0, "/logout", json!({"refresh_token": two.1})).await, "auth_unavailable");
    is_revoked(&accounts, &one.0).await;
    is_revoked(&accounts, &two.0).await;
    refuse_writes(&accounts, false);
    // Not even in the seconds before it is written.
    fails(ask(&accounts, "/refresh", json!({"refresh_token": refresh})).await, "refresh_invalid");
    accounts.state.tick(false, NOW_S).unwrap();
    assert!(accounts.state.revoked.unkept(1).is_empty());
    // Nobody gets another token by it, however late.
    fails(ask(&accounts, "/refresh", json!({"refresh_token": other})).await, "refresh_invalid");
    is_revoked(&accounts, &access).await;
    let hash = secret::hash_of(&other).unwrap();
    assert_eq!(accounts.state.directory(|directory| directory.refresh_family(&hash)).unwrap(), None);
}

#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_its_login_though_the_disk_does_not_take_it() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let (access, first) = login(&accounts, "ann", PASSWORD).await.unwrap();
    ask(&accounts, "/refresh", json!({"refresh_token": first})).await.unwrap();
    let (elsewhere, other) = login(&accounts, "ann", PASSWORD).await.unwrap();
    refuse_writes(&accounts, true);
    fails(ask(&accounts, "/refresh", json!({"refresh_token": first})).await, "auth_unavailable");
    is_revoked(&accounts, &access).await;
    // One that was not used ends nothing.
    fails(ask(&accounts, "/refresh", json!({"refresh_token": other})).await, "auth_unavailable");
    ask_as(&accounts, &elsewhere, "/me", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_login_that_ended_stays_ended_when_tokens_last_shorter_after_a_restart() {
    let state = State::in_memory();
    let compile = |hours| {
        let config = identity::Accounts { access_token: Duration::from_hours(hours), ..config() };
        Accounts::compile(&Arc::new(config), &state, &state.mint, None).unwrap()
    };
    let long = compile(24);
    ann(&long).await;
    let (access, refresh) = login(&long, "ann", PASSWORD).await.unwrap();
    // Another process, with another config.
    let short = compile(1);
    ask(&short, "/logout", json!({"refresh_token": refresh})).await.unwrap();
    let late_s = NOW_S + 23 * 3600;
    state.tick(false, late_s).unwrap();
    fails(ask_at(&short, "/me", json!({}), &access, late_s, "192.0.2.1").await, "token_revoked");
}

#[tokio::test]
async fn whoever_knows_an_id_keeps_nobody_from_changing_a_password() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let (access, _) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let id = accounts.state.directory(|directory| directory.user("ann")).unwrap().unwrap().id;
    for _ in 0..3 {
        fails(login(&accounts, &id, OTHER).await.map(|_| json!(0)), "password_wrong");
    }
    fails(login(&accounts, &id, OTHER).await.map(|_| json!(0)), "auth_locked");
    let change = json!({"password": PASSWORD, "new_password": OTHER});
    ask_as(&accounts, &access, "/change-password", change).await.unwrap();
}
