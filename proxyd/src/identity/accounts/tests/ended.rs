//! Logins that have ended, where the disk takes nothing and where the config changes.

use super::*;

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
