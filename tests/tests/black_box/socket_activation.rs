//! Sockets that a service manager has opened beforehand.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use serde_json::json;
use tests::load::Load;
use tests::{Home, PATIENCE, Request, Start, Wire};

use super::upgrade::{PLAIN, all_answered};

#[test]
fn sockets_of_a_service_manager_are_served() {
    let home = Home::default();
    let (traffic, admin) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (at, admin_at) = (traffic.local_addr().unwrap(), admin.local_addr().unwrap());
    let control = UnixListener::bind(home.file("proxyd.sock")).unwrap();
    let start = Start::in_home(&home, &format!("server: {{workers: 3}}\n{PLAIN}"))
        .set("server.listen", &at.to_string())
        .set("admin.listen", &admin_at.to_string());
    // Clients that come before it serves wait.
    let mut early = Wire::connect(at);
    early.send(Request::get("/early").bytes());
    let mut proxyd = start.activated([traffic.into(), admin.into(), control.into()]);
    assert_eq!(early.response("GET").status, 200);
    assert_eq!((proxyd.address(), proxyd.admin()), (at, admin_at));
    for _ in 0..20 {
        assert_eq!(proxyd.get("/").status, 200);
    }
    assert_eq!(proxyd.admin_get("/health").status, 200);
    let load = Load::start(at, "/load", 2, "load");
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    proxyd.wait_gone(before, PATIENCE);
    all_answered(&load.stop());
    let home = proxyd.stop();
    assert!(home.file("proxyd.sock").exists(), "its file is the service manager's");
}

#[test]
fn a_socket_of_a_service_manager_that_fits_nowhere_is_told() {
    let home = Home::default();
    let other = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (traffic, admin, stranger) = (other(), other(), other());
    let (at, admin_at, nowhere) =
        (traffic.local_addr().unwrap(), admin.local_addr().unwrap(), stranger.local_addr().unwrap());
    let start =
        Start::in_home(&home, PLAIN).set("server.listen", &at.to_string()).set("admin.listen", &admin_at.to_string());
    let proxyd = start.activated([traffic.into(), admin.into(), stranger.into()]);
    assert_eq!(proxyd.get("/").status, 200);
    assert!(home.read("stderr.log").contains(&nowhere.to_string()), "{}", proxyd.output());
    assert!(std::net::TcpStream::connect(nowhere).is_err(), "it is closed");
}
