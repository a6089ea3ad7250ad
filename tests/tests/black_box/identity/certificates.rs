//! Whom a listener has verified by a client certificate is somebody, with a name that upstreams are told and limits count.

use tests::tls::{Authority, Client};
use tests::{Request, Response, Upstream, Wire};

use crate::black_box::tls::{certificates, home, serve};

#[test]
fn a_certificate_says_who_it_is() {
    let (home, ..) = home();
    let clients = Authority::new("clients");
    home.write("clients.pem", clients.pem());
    let upstream = Upstream::echo();
    let url = upstream.url();
    let yaml = format!(
        "identity: {{send: {{user: x-user, provider: x-provider}}, jwt: {{main: {{keys: {{secret: '{}'}}}}}}}}\n\
         auth: [certificate, jwt.main]\nrate_limit: {{requests_per_minute: 2, by: [user]}}\nroutes:\n  \
         - {{path: /both, target: '{url}', auth: {{all_of: [certificate, jwt.main]}}, rate_limit: off}}\n  - {{path: /, target: '{url}'}}\n",
        tests::token::SECRET
    );
    let tls = format!("{}, client_ca: clients.pem, client_auth: optional", certificates(&["default"]));
    let proxyd = serve(&home, &tls, &yaml);
    let ask = |who: Option<&str>, request: Request| -> Response {
        let client = who.map_or_else(|| Client::new(&[]), |who| Client::showing(&[], &clients.signs(who, &[])));
        let secure = client.connect(proxyd.address(), "default.test").expect("TLS");
        request.send_on(&mut Wire::over(secure.plain))
    };
    let told = |answer: &Response, name: &str| {
        let seen = answer.json();
        let lines = seen["headers"].as_array().unwrap().clone();
        lines.iter().find(|line| line[0] == name).map(|line| line[1].as_str().unwrap().to_owned())
    };
    let answer = ask(Some("billing"), Request::get("/").header("X-User", "root"));
    assert_eq!(
        (told(&answer, "x-user").as_deref(), told(&answer, "x-provider").as_deref()),
        (Some("billing"), Some("certificate"))
    );
    // Without one there are the others, and without those nobody.
    let refused = ask(None, Request::get("/"));
    assert_eq!((refused.status, refused.error_code().as_str()), (401, "auth_required"));
    let token = format!("Bearer {}", tests::token::hs256("alice", &serde_json::json!({})));
    let answer = ask(None, Request::get("/").header("Authorization", &token));
    assert_eq!(told(&answer, "x-user").as_deref(), Some("alice"));
    assert_eq!(ask(None, Request::get("/both").header("Authorization", &token)).status, 401);
    assert_eq!(ask(Some("billing"), Request::get("/both")).status, 401);
    let answer = ask(Some("billing"), Request::get("/both").header("Authorization", &token));
    assert_eq!(told(&answer, "x-user").as_deref(), Some("billing"), "who it is says the first");
    // Each counts by its own name, over connections.
    assert_eq!(ask(Some("billing"), Request::get("/")).status, 200);
    assert_eq!(ask(Some("billing"), Request::get("/")).status, 429);
    assert_eq!(ask(Some("shipping"), Request::get("/")).status, 200);
}
