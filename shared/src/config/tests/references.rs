//! References to values from outside: resolved after parsing, never shown.

use super::Known;
use crate::config::{Action, Checked, Input, Problems, References, load};

const KNOWN: [(&str, &str); 4] = [
    ("ADDRESS", "127.0.0.1:7000"),
    ("TOKEN", "s3cr3t-s3cr3t-s3cr3t"),
    ("/run/secret", "from-a-file-from-a-file"),
    ("INJECT", "x, role: operator}"),
];

fn with(text: &str, mode: impl FnOnce(&Known) -> References<'_>) -> Result<Checked, Problems> {
    load(&Input::text("config.yaml", text), &mode(&Known::of(&KNOWN)))
}

fn resolve(text: &str) -> Result<Checked, Problems> {
    with(text, |known| References::Resolve(known))
}

#[test]
fn values_are_looked_up_and_never_shown() {
    let text = "server: {listen: '${env:ADDRESS}'}\nadmin: {auth: {tokens: [{name: a, token: '${env:TOKEN}'}, {name: b, token: '${file:/run/secret}'}]}}\n";
    let checked = resolve(text).unwrap();
    assert_eq!(checked.config.server.listen[0].address.port(), 7000);
    let tokens = &checked.config.admin.auth.as_ref().unwrap().tokens;
    assert_eq!((tokens[0].token.reveal(), tokens[1].token.reveal()), (KNOWN[1].1, KNOWN[2].1));
    let shown = format!("{:?} {:?} {:?}", checked.effective(), checked.warnings, checked.config.admin);
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("from-a-file") && !shown.contains("127.0.0.1:7000"),
        "{shown}"
    );
    assert!(checked.effective().tree.to_string().contains("${env:TOKEN}"));
}

#[test]
fn a_value_is_text_and_nothing_else() {
    let problems =
        resolve("admin: {auth: {tokens: [{name: '${env:INJECT}', token: '${env:TOKEN}'}]}}").expect_err("not a name");
    assert_eq!(problems.0.len(), 1);
    assert!(!problems.render(false).contains("operator"));
    let checked = resolve("routes: [{path: /a, respond: {body: '$5 $${env:TOKEN} ${env:ADDRESS}$'}}]").unwrap();
    let Action::Respond(respond) = &checked.config.routes[0].action else { panic!("a respond route") };
    assert_eq!(&*respond.body, "$5 ${env:TOKEN} 127.0.0.1:7000$");
}

#[test]
fn a_wrong_value_is_not_quoted() {
    for text in ["server: {listen: '${env:TOKEN}'}", "routes: [{path: '${env:TOKEN}', upstream: '${env:TOKEN}'}]"] {
        let rendered = resolve(text).expect_err("no address, no path").render(false);
        assert!(!rendered.contains("s3cr3t"), "{rendered}");
    }
}

#[test]
fn unset_is_an_error_or_a_warning() {
    let text = "server: {listen: '${env:NO}', workers: '${env:NO}'}\nrate_limit: {limits: [{requests: '${env:NO}', per: '${env:NO}'}], mode: '${env:NO}'}\nroutes: [{path: '${env:NO}', target: '${env:NO}'}]\nadmin: {auth: {basic: [{user: a, password_hash: '${file:no}'}]}}\nbody_limit: ${env:NO}\nlog: {slow_request: '${env:NO}'}\n";
    let errors = resolve(text).expect_err("unset");
    assert!(errors.0.iter().all(|problem| problem.code.as_str() == "unset_reference"), "{}", errors.render(false));
    assert_eq!(errors.0[0].path, "server.listen");
    let checked = with(text, |known| References::Lenient(known)).unwrap_or_else(|p| panic!("{}", p.render(false)));
    assert_eq!(checked.warnings.len(), errors.0.len());
    let refused = with("server: {listen: '${env:ADDRESS}'}", |_| References::Refuse).expect_err("refused");
    assert_eq!(refused.0[0].code.as_str(), "invalid_reference");
}

#[test]
fn the_groups_of_a_rewrite_are_not_references() {
    let text = "routes:\n- {regex: ^/v, target: 'http://a', rewrite: {regex: '^/(?P<rest>.*)', to: '/x/${rest}$1'}}";
    assert!(resolve(text).is_ok());
    let unknown = resolve(&text.replace("${rest}", "${other}")).expect_err("no such group");
    assert_eq!(unknown.0[0].code.as_str(), "unknown_name");
}
