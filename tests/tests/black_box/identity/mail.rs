//! Mails: over TLS or not at all, to one address so many of each kind, and none that is written is lost to a silent one.

use serde_json::{Value, json};
use tests::tls::{Authority, Pair};
use tests::{Home, MailServer, Proxyd, Request, Response, Start, eventually};

const PASSWORD: &str = "correct horse battery";

/// Accounts at `/auth` whose mails go to this server.
fn config(server: &MailServer, tls: &str, more: &str) -> String {
    format!(
        "identity:\n  accounts:\n    prefix: /auth\n    register: on\n    verify: true\n    mail: {{host: 127.0.0.1, port: {}, tls: {tls}, \
         from: noreply@example.com, {more}reset_url: \"http://127.0.0.1:1/reset?token={{token}}\", \
         verify_url: \"http://127.0.0.1:1/verify?token={{token}}\"}}\n\
         routes:\n  - {{path: /auth/, serve: accounts}}\n",
        server.address().port()
    )
}

/// One that trusts this authority, and no other.
fn start(yaml: &str, authority: &Authority) -> Proxyd {
    let home = Home::default();
    let trusted = home.write("ca.pem", authority.pem());
    Start::in_home(&home, yaml)
        .env("SSL_CERT_FILE", &trusted.display().to_string())
        .env("SMTP_PASSWORD", "s3cret")
        .run()
}

fn post(proxyd: &Proxyd, endpoint: &str, body: Value) -> Response {
    Request::post(&format!("/auth/{endpoint}"), body.to_string())
        .header("Content-Type", "application/json")
        .send(proxyd.address())
}

fn register(proxyd: &Proxyd) {
    let ann = json!({"name": "ann", "email": "ann@example.com", "password": PASSWORD});
    assert_eq!(post(proxyd, "register", ann).status, 202);
}

/// Waits until a mail was given up.
fn given_up(proxyd: &Proxyd, why: &str) {
    eventually("a mail is given up", || {
        proxyd.admin_get("/metrics").text().contains("proxyd_mails_total{outcome=\"failed\"} 1").then_some(())
    });
    let said = proxyd.output();
    let line = said.lines().find(|line| line.contains("a mail was not sent"));
    assert!(line.is_some_and(|line| line.contains(why)), "{why}: {line:?}");
    assert!(!said.contains("ann@example.com"), "{said}");
}

fn pair(authority: &Authority) -> Pair {
    authority.signs("mail", &["127.0.0.1"])
}

#[test]
fn a_mail_and_a_password_go_in_tls_alone() {
    let authority = Authority::new("ours");
    let who = "user: relay, password: \"${env:SMTP_PASSWORD}\", ";
    for (tls, server) in
        [("starttls", MailServer::starttls(&pair(&authority))), ("implicit", MailServer::implicit(&pair(&authority)))]
    {
        let proxyd = start(&config(&server, tls, who), &authority);
        register(&proxyd);
        let letter = server.mail(0);
        assert!(letter.in_tls && letter.to == ["ann@example.com"], "{tls}: {letter:?}");
        let logins = server.logins();
        assert!(!logins.is_empty() && logins.iter().all(|login| login.in_tls), "{tls}: {logins:?}");
    }
}

#[test]
fn a_server_without_tls_gets_neither_a_mail_nor_a_password() {
    let authority = Authority::new("ours");
    let server = MailServer::start();
    let who = "user: relay, password: \"${env:SMTP_PASSWORD}\", ";
    let proxyd = start(&config(&server, "starttls", who), &authority);
    register(&proxyd);
    given_up(&proxyd, "the mail server lacks what is needed");
    assert!(server.greetings() > 0 && server.mails().is_empty() && server.logins().is_empty(), "{:?}", server.logins());
}

#[test]
fn a_server_that_is_another_gets_nothing() {
    let authority = Authority::new("ours");
    let (elsewhere, unknown) = (authority.signs("mail", &["mail.example.com"]), pair(&Authority::new("theirs")));
    for (tls, server) in [
        ("starttls", MailServer::starttls(&elsewhere)),
        ("starttls", MailServer::starttls(&unknown)),
        ("implicit", MailServer::implicit(&elsewhere)),
        ("implicit", MailServer::implicit(&unknown)),
    ] {
        let proxyd = start(&config(&server, tls, ""), &authority);
        register(&proxyd);
        given_up(&proxyd, "invalid peer certificate");
        assert!(server.mails().is_empty(), "{tls}");
    }
}

#[test]
fn silent_questions_use_up_no_letter() {
    let (server, authority) = (MailServer::start(), Authority::new("ours"));
    let proxyd = start(&config(&server, "off", ""), &authority);
    register(&proxyd);
    assert_eq!(post(&proxyd, "verify", json!({"token": server.mail(0).token()})).status, 200);
    let ask = |endpoint: &str| assert_eq!(post(&proxyd, endpoint, json!({"email": "Ann@example.com"})).status, 202);
    // Verified already: nothing is written.
    for _ in 0..9 {
        ask("resend-verification");
    }
    // Neither do letters about registrations count.
    for index in 1..=4 {
        register(&proxyd);
        server.mail(index);
    }
    for index in 5..=9 {
        ask("forgot");
        assert_eq!(server.mail(index).headers.get("subject"), Some("Set a new password"));
    }
    // There were enough of these. Another's comes, and is the next.
    ask("forgot");
    let bob = json!({"name": "bob", "email": "bob@example.com", "password": PASSWORD});
    assert_eq!(post(&proxyd, "register", bob).status, 202);
    assert_eq!(server.mail(10).to, ["bob@example.com"]);
}
