//! Logins that have ended, where the disk takes nothing and where the config changes.

use super::*;

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
