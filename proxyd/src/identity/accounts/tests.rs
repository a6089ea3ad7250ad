//! The endpoints without their connection: what each says to whom. Negative cases first.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::config::Secret;
use shared::config::identity::{Lockout, TokenAlgorithm};

use super::*;
use crate::identity::claims::Claims;
use crate::identity::mint::{Mint, TokenType};

mod bursts;
mod ended;
mod recover;

const PASSWORD: &str = "correct horse battery";
const OTHER: &str = "staple of another kind";
const NOW_S: i64 = 1_800_000_000;

fn config() -> identity::Accounts {
    identity::Accounts {
        prefix: "/auth".into(),
        register: true,
        roles: vec!["user".into()],
        verify: false,
        access_token: Duration::from_mins(30),
        refresh_token: Duration::from_hours(24),
        algorithm: TokenAlgorithm::Hs256,
        secret: None,
        issuer: "proxyd".into(),
        audience: None,
        min_password: 10,
        lockout: Lockout { attempts: 3, within: Duration::from_mins(1), lasts: Duration::from_mins(10) },
        mail: None,
    }
}

fn accounts(config: identity::Accounts) -> Arc<Accounts> {
    let state = State::in_memory();
    Accounts::compile(&Arc::new(config), &state, &state.mint, None).unwrap()
}

/// Asks one endpoint, at a time and from an address: the code of its failure, or its answer.
async fn ask_at(
    accounts: &Arc<Accounts>,
    path: &str,
    body: Json,
    token: &str,
    now_s: i64,
    from: &str,
) -> Result<Json, Failure> {
    let endpoint = Endpoint::at(path).unwrap();
    let caller = match token {
        "" => Err(Denial::Missing),
        token => accounts.caller(token.as_bytes(), now_s),
    };
    let call = Call::json(&body.to_string());
    let mut asked = Asked { call, network: network(from.parse().unwrap()), now_s, principal: None };
    accounts.outcome(endpoint, &mut asked, caller).await.map(|outcome| outcome.json)
}

async fn ask(accounts: &Arc<Accounts>, path: &str, body: Json) -> Result<Json, Failure> {
    ask_at(accounts, path, body, "", NOW_S, "192.0.2.1").await
}

async fn ask_as(accounts: &Arc<Accounts>, token: &str, path: &str, body: Json) -> Result<Json, Failure> {
    ask_at(accounts, path, body, token, NOW_S, "192.0.2.1").await
}

#[track_caller]
fn fails(outcome: Result<Json, Failure>, code: &str) {
    match outcome {
        Ok(json) => panic!("{code} expected: {json}"),
        Err(failure) => assert_eq!(failure.code(), code, "{failure:?}"),
    }
}

async fn ann(accounts: &Arc<Accounts>) {
    ask(accounts, "/register", json!({"name": "Ann", "email": "ann@example.com", "password": PASSWORD})).await.unwrap();
}

async fn login(accounts: &Arc<Accounts>, name: &str, password: &str) -> Result<(String, String), Failure> {
    let tokens = ask(accounts, "/login", json!({"name": name, "password": password})).await?;
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    Ok((text("access_token"), text("refresh_token")))
}

#[tokio::test]
async fn who_cannot_register_is_told_why() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let check = async |body: Json, code: &str| fails(ask(&accounts, "/register", body).await, code);
    check(json!({}), "invalid_request").await;
    check(json!({"name": "bob", "password": PASSWORD, "roles": ["admin"]}), "invalid_request").await;
    check(json!({"name": "bob", "password": PASSWORD, "to": "/x"}), "invalid_request").await;
    check(json!({"name": "bob@example.com", "password": PASSWORD}), "invalid_request").await;
    check(json!({"name": "0123456789abcdef", "password": PASSWORD}), "invalid_request").await;
    check(json!({"name": "bob", "email": "bob", "password": PASSWORD}), "invalid_request").await;
    check(json!({"name": "bob", "password": "short"}), "password_weak").await;
    check(json!({"name": "bob", "password": "1234567890"}), "password_weak").await;
    check(json!({"name": "bob.the.builder", "password": "Bob.The.Builder"}), "password_weak").await;
    check(json!({"name": "ANN", "password": PASSWORD}), "name_taken").await;
    check(json!({"name": "bob", "email": "Ann@Example.com", "password": PASSWORD}), "name_taken").await;
    let shut = super::tests::accounts(identity::Accounts { register: false, ..config() });
    fails(ask(&shut, "/register", json!({"name": "bob", "password": PASSWORD})).await, "registration_off");
    let mailless = super::tests::accounts(identity::Accounts { verify: true, ..config() });
    let bob = json!({"name": "bob", "email": "bob@example.com", "password": PASSWORD});
    fails(ask(&mailless, "/register", bob).await, "mail_unavailable");
    fails(ask(&mailless, "/register", json!({"name": "bob", "password": PASSWORD})).await, "invalid_request");
    let id = json!({"name": "0123456789ABCDEF", "email": "bob@example.com", "password": PASSWORD});
    fails(ask(&mailless, "/register", id).await, "invalid_request");
}

#[tokio::test]
async fn a_login_needs_name_and_password() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let id = accounts.state.directory(|directory| directory.user("ann")).unwrap().unwrap().id;
    for (name, password) in [("ann", OTHER), ("nobody", PASSWORD), (id.as_str(), PASSWORD), ("", PASSWORD), ("ann", "")]
    {
        fails(login(&accounts, name, password).await.map(|_| json!(name)), "password_wrong");
    }
    for (body, code) in [
        (json!({"password": PASSWORD}), "invalid_request"),
        (json!({"name": "ann", "email": "ann@example.com", "password": PASSWORD}), "invalid_request"),
        (json!({"name": "ann"}), "invalid_request"),
    ] {
        fails(ask(&accounts, "/login", body).await, code);
    }
    login(&accounts, "ann", PASSWORD).await.unwrap();
    ask(&accounts, "/login", json!({"email": "ANN@example.com", "password": PASSWORD})).await.unwrap();
    let change = |disabled| directory::UserChange { disabled: Some(disabled), ..Default::default() };
    accounts.state.directory(|directory| directory.user_set("ann", change(true), NOW_S)).unwrap();
    fails(login(&accounts, "ann", PASSWORD).await.map(|_| json!(0)), "password_wrong");
}

#[tokio::test]
async fn an_unknown_name_is_answered_as_a_known_one_and_as_late() {
    let lockout = Lockout { attempts: 1000, ..config().lockout };
    let accounts = accounts(identity::Accounts { lockout, ..config() });
    ann(&accounts).await;
    // The quickest of several says least of what else the machine does; a busy one gets another look.
    let mut quickest = [Duration::MAX; 2];
    for round in 1.. {
        for _ in 0..11 {
            for (name, quickest) in ["ann", "nobody"].iter().zip(&mut quickest) {
                let began = Instant::now();
                let failure = login(&accounts, name, OTHER).await.unwrap_err();
                *quickest = began.elapsed().min(*quickest);
                assert_eq!(failure, Failure::password_wrong());
            }
        }
        let [known, unknown] = quickest;
        if known.max(unknown) < known.min(unknown) * 3 / 2 + Duration::from_millis(3) {
            break;
        }
        assert!(round < 4, "{known:?} {unknown:?}");
    }
}

#[tokio::test]
async fn guessing_stops_whether_or_not_there_is_an_account() {
    let accounts = accounts(config());
    ann(&accounts).await;
    for name in ["ann", "nobody"] {
        for _ in 0..3 {
            fails(login(&accounts, name, OTHER).await.map(|_| json!(0)), "password_wrong");
        }
        assert_eq!(login(&accounts, name, PASSWORD).await.unwrap_err(), Failure::locked(600), "{name}");
        assert_eq!(login(&accounts, &name.to_uppercase(), PASSWORD).await.unwrap_err(), Failure::locked(600), "{name}");
    }
    let later = json!({"name": "ann", "password": PASSWORD});
    ask_at(&accounts, "/login", later, "", NOW_S + 600, "192.0.2.1").await.unwrap();
}

#[tokio::test]
async fn an_account_has_as_many_attempts_by_both_its_names() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let by_mail = async |password: &str| {
        ask(&accounts, "/login", json!({"email": "ann@example.com", "password": password})).await
    };
    for _ in 0..2 {
        fails(login(&accounts, "ann", OTHER).await.map(|_| json!(0)), "password_wrong");
    }
    // A right one forgives what was counted by either.
    by_mail(PASSWORD).await.unwrap();
    login(&accounts, "ann", PASSWORD).await.unwrap();
    for _ in 0..3 {
        fails(login(&accounts, "ann", OTHER).await.map(|_| json!(0)), "password_wrong");
    }
    assert_eq!(login(&accounts, "ann", PASSWORD).await.unwrap_err(), Failure::locked(600));
    for password in [PASSWORD, OTHER, PASSWORD] {
        assert_eq!(by_mail(password).await.unwrap_err(), Failure::password_wrong(), "and nobody learns whose it is");
    }
    assert_eq!(by_mail(PASSWORD).await.unwrap_err(), Failure::locked(600));
    let later = json!({"email": "ann@example.com", "password": PASSWORD});
    ask_at(&accounts, "/login", later, "", NOW_S + 600, "192.0.2.1").await.unwrap();
}

#[tokio::test]
async fn guessing_at_many_accounts_from_one_network_stops_too() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let try_from = async |index: usize, from: &str| {
        let body = json!({"name": format!("nobody{index}"), "password": OTHER});
        ask_at(&accounts, "/login", body, "", NOW_S, from).await
    };
    for index in 0..30 {
        fails(try_from(index, &format!("2001:db8::{index:x}")).await, "password_wrong");
    }
    fails(try_from(30, "2001:db8::ffff").await, "auth_locked");
    fails(try_from(31, "2001:db8:0:1::1").await, "password_wrong");
    // Right ones are no guesses.
    for _ in 0..31 {
        login(&accounts, "ann", PASSWORD).await.unwrap();
    }
}

#[tokio::test]
async fn one_address_makes_so_many_accounts_and_shuts_nobody_out() {
    let lockout = Lockout { attempts: 1, ..config().lockout };
    let accounts = accounts(identity::Accounts { lockout, ..config() });
    ann(&accounts).await;
    let register = async |index: usize, from: &str| {
        let body = json!({"name": format!("user{index}"), "password": PASSWORD});
        ask_at(&accounts, "/register", body, "", NOW_S, from).await
    };
    for index in 1..10 {
        register(index, "192.0.2.1").await.unwrap();
    }
    fails(register(10, "192.0.2.1").await, "auth_locked");
    register(10, "192.0.2.2").await.unwrap();
    login(&accounts, "ann", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let refresh = async |token: &str| {
        let tokens = ask(&accounts, "/refresh", json!({"refresh_token": token})).await?;
        Ok::<_, Failure>(tokens["refresh_token"].as_str().unwrap().to_owned())
    };
    for token in ["", "x", &"A".repeat(43), &"A".repeat(10_000)] {
        fails(refresh(token).await.map(Json::from), "refresh_invalid");
    }
    let (access, first) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let (elsewhere, other) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let second = refresh(&first).await.unwrap();
    let third = refresh(&second).await.unwrap();
    fails(refresh(&first).await.map(Json::from), "refresh_reused");
    for token in [&first, &second, &third] {
        fails(refresh(token).await.map(Json::from), "refresh_invalid");
    }
    fails(ask_as(&accounts, &access, "/me", json!({})).await, "token_revoked");
    ask_as(&accounts, &elsewhere, "/me", json!({})).await.expect("another login goes on");
    let other = refresh(&other).await.expect("another login goes on");
    let late = json!({"refresh_token": other});
    fails(ask_at(&accounts, "/refresh", late, "", NOW_S + 24 * 3600, "192.0.2.1").await, "refresh_invalid");
    let change = directory::UserChange { disabled: Some(true), ..Default::default() };
    accounts.state.directory(|directory| directory.user_set("ann", change, NOW_S)).unwrap();
    fails(refresh(&other).await.map(Json::from), "refresh_invalid");
}

#[tokio::test]
async fn a_password_change_ends_every_session_but_its_own() {
    let accounts = accounts(config());
    ann(&accounts).await;
    let (access, refresh) = login(&accounts, "ann", PASSWORD).await.unwrap();
    let change = async |token: &str, password: &str, new: &str| {
        ask_as(&accounts, token, "/change-password", json!({"password": password, "new_password": new})).await
    };
    fails(change("", PASSWORD, OTHER).await, "auth_required");
    fails(change("a.b.c", PASSWORD, OTHER).await, "token_malformed");
    fails(change(&access, OTHER, OTHER).await, "password_wrong");
    fails(change(&access, PASSWORD, "Ann@Example.com").await, "password_weak");
    let new = change(&access, PASSWORD, OTHER).await.unwrap();
    fails(ask_as(&accounts, &access, "/me", json!({})).await, "token_revoked");
    fails(ask(&accounts, "/refresh", json!({"refresh_token": refresh})).await, "refresh_invalid");
    fails(login(&accounts, "ann", PASSWORD).await.map(|_| json!(0)), "password_wrong");
    let new = new["access_token"].as_str().unwrap();
    let me = ask_as(&accounts, new, "/me", json!({})).await.unwrap();
    assert_eq!((&me["name"], &me["email"], &me["roles"]), (&json!("Ann"), &json!("ann@example.com"), &json!(["user"])));
    assert!(me.get("password_hash").is_none() && me["created"].as_str().unwrap().ends_with('Z'), "{me}");
    for _ in 0..3 {
        fails(change(new, PASSWORD, PASSWORD).await, "password_wrong");
    }
    fails(change(new, OTHER, PASSWORD).await, "auth_locked");
}

#[tokio::test]
async fn a_disk_that_does_not_answer_takes_two_threads_and_so_many_wait() {
    let accounts = accounts(config());
    let state = Arc::clone(&accounts.state);
    let (free, held) = std::sync::mpsc::sync_channel::<()>(0);
    let disk = std::thread::spawn(move || state.directory(|_| Ok(held.recv())));
    while !accounts.state.is_directory_busy() {
        tokio::task::yield_now().await;
    }
    // From one network as many as may wait of one; those of others have their places.
    let asked = (0..80).map(|index| {
        let (accounts, from) = (Arc::clone(&accounts), if index < 24 { 0 } else { index });
        let (body, from) = (json!({"refresh_token": "A".repeat(43)}), format!("192.0.2.{from}"));
        tokio::spawn(async move { ask_at(&accounts, "/refresh", body, "", NOW_S, &from).await })
    });
    let asked: Vec<_> = asked.collect();
    let began = std::time::Instant::now();
    while asked.iter().filter(|asked| asked.is_finished()).count() < 14 {
        assert!(began.elapsed().as_secs() < 20, "{}", asked.iter().filter(|asked| asked.is_finished()).count());
        tokio::task::yield_now().await;
    }
    drop(free);
    disk.join().unwrap().unwrap().unwrap_err();
    let mut codes = Vec::new();
    for asked in asked {
        codes.push(asked.await.unwrap().unwrap_err().code());
    }
    let count = |code: &str| codes.iter().filter(|other| **other == code).count();
    assert_eq!((count("auth_unavailable"), count("refresh_invalid")), (14, 66), "{codes:?}");
    assert_eq!(codes.iter().take(24).filter(|code| **code == "auth_unavailable").count(), 6, "{codes:?}");
}

#[tokio::test]
async fn a_login_ends() {
    let accounts = accounts(config());
    ann(&accounts).await;
    fails(ask(&accounts, "/logout", json!({})).await, "auth_required");
    fails(ask(&accounts, "/logout-all", json!({})).await, "auth_required");
    let (one, two, three) = (
        login(&accounts, "ann", PASSWORD).await.unwrap(),
        login(&accounts, "ann", PASSWORD).await.unwrap(),
        login(&accounts, "ann", PASSWORD).await.unwrap(),
    );
    // By one of its access tokens: the others end too.
    let later = ask(&accounts, "/refresh", json!({"refresh_token": one.1})).await.unwrap();
    ask_as(&accounts, &one.0, "/logout", json!({})).await.unwrap();
    for token in [&one.0, later["access_token"].as_str().unwrap()] {
        fails(ask_as(&accounts, token, "/me", json!({})).await, "token_revoked");
    }
    fails(ask(&accounts, "/refresh", json!({"refresh_token": later["refresh_token"]})).await, "refresh_invalid");
    // It is remembered as long as it would be taken.
    accounts.state.tick(false, NOW_S + 1801).unwrap();
    fails(ask_at(&accounts, "/me", json!({}), &one.0, NOW_S + 1801, "192.0.2.1").await, "token_revoked");
    // By its refresh token.
    ask(&accounts, "/logout", json!({"refresh_token": two.1})).await.unwrap();
    fails(ask(&accounts, "/refresh", json!({"refresh_token": two.1})).await, "refresh_invalid");
    fails(ask_as(&accounts, &two.0, "/me", json!({})).await, "token_revoked");
    ask(&accounts, "/logout", json!({"refresh_token": "A"})).await.unwrap();
    ask_as(&accounts, &three.0, "/me", json!({})).await.unwrap();
    // All of them.
    ask_as(&accounts, &three.0, "/logout-all", json!({})).await.unwrap();
    fails(ask_as(&accounts, &three.0, "/me", json!({})).await, "token_revoked");
    fails(ask(&accounts, "/refresh", json!({"refresh_token": three.1})).await, "refresh_invalid");
}

#[tokio::test]
async fn an_access_token_is_ours_alone() {
    let accounts = accounts(identity::Accounts { audience: Some("api".into()), ..config() });
    ann(&accounts).await;
    let good = login(&accounts, "ann", PASSWORD).await.unwrap().0;
    let denied = |token: &str, now_s: i64| match accounts.check(token.as_bytes(), now_s) {
        Checked::Denied(denial) => denial,
        checked @ (Checked::Good(_) | Checked::NeedsKeys(_) | Checked::Unavailable) => panic!("{token}: {checked:?}"),
    };
    assert!(matches!(accounts.check(good.as_bytes(), NOW_S), Checked::Good(_)));
    assert_eq!(denied(&good, NOW_S + 1802), Denial::TokenExpired);
    assert_eq!(denied(&good, NOW_S - 10), Denial::TokenNotYetValid);
    let user = accounts.state.directory(|directory| directory.user("ann")).unwrap().unwrap();
    let claims = |change: fn(&mut Json)| {
        let mut claims = json!({
            "iss": "proxyd", "aud": "api", "sub": "Ann", "uid": user.id, "sid": "f", "jti": "j", "iat": NOW_S,
            "exp": NOW_S + 60, "roles": ["admin"], "epoch": 0,
        });
        change(&mut claims);
        Claims::parse(claims.to_string().as_bytes()).unwrap()
    };
    let key = &accounts.tokens;
    let sign = |claims: &Claims| key.sign(TokenType::Access, claims);
    assert!(matches!(accounts.check(sign(&claims(|_| ())).as_bytes(), NOW_S), Checked::Good(_)));
    // Signed by others, and by ourselves for another purpose.
    let other = Mint::hs256(&[7; 32]).unwrap().sign(TokenType::Access, &claims(|_| ())).unwrap();
    assert_eq!(denied(&other, NOW_S), Denial::TokenSignature);
    let internal = accounts.state.mint.sign(TokenType::Access, &claims(|_| ())).unwrap();
    assert_eq!(denied(&internal, NOW_S), Denial::TokenAlgorithm);
    assert_eq!(denied(&key.sign(TokenType::Jwt, &claims(|_| ())), NOW_S), Denial::TokenMalformed);
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.", good.split('.').nth(1).unwrap());
    assert!(matches!(denied(&none, NOW_S), Denial::TokenAlgorithm | Denial::TokenMalformed));
    // Claims that are not as they are made here.
    for (change, expected) in [
        ((|claims: &mut Json| claims["iss"] = json!("other")) as fn(&mut Json), Denial::TokenIssuer),
        (|claims| claims["aud"] = json!("other"), Denial::TokenAudience),
        (|claims| claims["uid"] = json!("0000000000000000"), Denial::TokenRevoked),
        (|claims| claims["uid"] = Json::Null, Denial::TokenClaims),
        (|claims| claims["sid"] = Json::Null, Denial::TokenClaims),
        (|claims| claims["epoch"] = json!(1), Denial::TokenRevoked),
        (|claims| claims["epoch"] = json!(-1), Denial::TokenRevoked),
        (|claims| claims["epoch"] = json!(4_294_967_296_u64), Denial::TokenRevoked),
        (|claims| claims["epoch"] = json!("0"), Denial::TokenRevoked),
        (|claims| claims["exp"] = Json::Null, Denial::TokenClaims),
    ] {
        assert_eq!(denied(&sign(&claims(change)), NOW_S), expected);
    }
    // The operator disables an account, or removes it.
    let change = |disabled| directory::UserChange { disabled: Some(disabled), ..Default::default() };
    let set =
        |disabled| accounts.state.directory(|directory| directory.user_set("ann", change(disabled), NOW_S)).unwrap();
    accounts.state.standing.note(&set(true));
    assert_eq!(denied(&good, NOW_S), Denial::TokenRevoked);
    accounts.state.standing.note(&set(false));
    assert_eq!(denied(&good, NOW_S), Denial::TokenRevoked, "it stays ended");
    let again = login(&accounts, "ann", PASSWORD).await.unwrap().0;
    let removed = accounts.state.directory(|directory| directory.user_remove("ann")).unwrap();
    accounts.state.standing.forget(&removed.id);
    assert_eq!(denied(&again, NOW_S), Denial::TokenRevoked);
}

#[tokio::test]
async fn a_reload_keeps_tokens_and_guesses_and_another_key_ends_them() {
    let state = State::in_memory();
    let compile = |config: identity::Accounts, before: Option<&Arc<Accounts>>| {
        Accounts::compile(&Arc::new(config), &state, &state.mint, before).unwrap()
    };
    let first = compile(config(), None);
    ann(&first).await;
    let token = login(&first, "ann", PASSWORD).await.unwrap().0;
    for _ in 0..3 {
        let _ = login(&first, "nobody", OTHER).await;
    }
    let is_good = |accounts: &Arc<Accounts>| matches!(accounts.check(token.as_bytes(), NOW_S), Checked::Good(_));
    let second = compile(identity::Accounts { min_password: 20, ..config() }, Some(&first));
    assert!(is_good(&second));
    fails(login(&second, "nobody", OTHER).await.map(|_| json!(0)), "auth_locked");
    assert!(is_good(&compile(config(), None)), "a restart reads what is kept");
    let secret = Some(Secret::new("0123456789abcdef0123456789abcdef"));
    assert!(!is_good(&compile(identity::Accounts { secret, ..config() }, Some(&first))));
    let ed_dsa = compile(identity::Accounts { algorithm: TokenAlgorithm::EdDsa, ..config() }, Some(&first));
    assert!(!is_good(&ed_dsa));
    let token = login(&ed_dsa, "ann", PASSWORD).await.unwrap().0;
    assert!(matches!(ed_dsa.check(token.as_bytes(), NOW_S), Checked::Good(_)));
    let short = identity::Accounts { secret: Some(Secret::new("short")), ..config() };
    assert!(Accounts::compile(&Arc::new(short), &state, &state.mint, None).is_err());
}

#[test]
fn an_address_of_ipv6_is_its_network() {
    let check = |address: &str, expected: &str| {
        assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
    };
    check("192.0.2.7", "192.0.2.7");
    check("::ffff:192.0.2.7", "192.0.2.7");
    check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
}
