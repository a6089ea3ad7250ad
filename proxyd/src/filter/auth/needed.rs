//! What is needed of somebody for a request: by its method, and by every other method that a server behind may take it for.

use std::sync::Arc;

use shared::config::policy::{self, Needs};

use crate::exchange::{Lack, Name, Principal, RequestHead};

static OVERRIDES: [Name; 3] = {
    let [first, second, third] = policy::METHOD_OVERRIDES;
    [Name::known(first), Name::known(second), Name::known(third)]
};

/// What is needed for the request's own method, and for each one that it names beside it. Where nothing is told apart by method it
/// does not matter.
fn each<'a>(policy: &'a policy::Auth, method: &'a str, head: &'a RequestHead) -> impl Iterator<Item = &'a Needs> {
    let looked = if policy.methods.is_empty() { &[][..] } else { &OVERRIDES };
    let named = looked.iter().flat_map(|header| head.headers().all_alike(header));
    let members = named.flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    // What is no text is no method that anything is written for.
    let others =
        members.filter(|member| !member.is_empty()).map(|member| std::str::from_utf8(member).unwrap_or_default());
    std::iter::once(method).chain(others).map(|method| policy.needs(method))
}

/// Whether nothing is needed that nobody has.
pub(super) fn nothing(policy: &policy::Auth, method: &str, head: &RequestHead) -> bool {
    each(policy, method, head).all(|needs| *needs == Needs::default())
}

/// What somebody lacks of it.
pub(super) fn lack(policy: &policy::Auth, method: &str, head: &RequestHead, principal: &Principal) -> Option<Lack> {
    each(policy, method, head).find_map(|needs| {
        if !principal.has_role(&needs.roles) {
            return Some(Lack::Role(needs.roles.clone().into()));
        }
        principal.lacks(&needs.scopes).map(|scope| Lack::Scope(Arc::clone(scope)))
    })
}

#[cfg(test)]
mod tests {
    use shared::config::policy::Combine;

    use super::*;

    #[test]
    fn no_other_name_of_a_method_needs_less() {
        let needs = |role: &str| Needs { roles: vec![role.into()], scopes: Vec::new() };
        let policy = policy::Auth {
            providers: Vec::new(),
            combine: Combine::Any,
            optional: false,
            needs: needs("user"),
            methods: vec![
                ("DELETE".into(), needs("admin")),
                ("MKCOL".into(), needs("admin")),
                ("GET".into(), Needs::default()),
            ],
            forward_credentials: true,
            tunnels: policy::Tunnels::UntilRevoked,
            realm: "proxyd".into(),
        };
        let user = Principal { roles: ["user".into()].into(), ..Principal::default() };
        let check = |method: &str, lines: &[(&str, &str)], expected: bool| {
            let mut head = RequestHead::new(method, "/", http1::Version::Http11).unwrap();
            for (name, value) in lines {
                assert!(head.headers_mut().push(name.as_bytes(), value.as_bytes()));
            }
            assert_eq!(lack(&policy, method, &head, &user).is_none(), expected, "{method} {lines:?}");
        };
        check("POST", &[], true);
        check("DELETE", &[], false);
        check("MKCOL", &[], false);
        check("mkcol", &[], false);
        check("POST", &[("X-HTTP-Method-Override", "PATCH")], true);
        check("POST", &[("X-HTTP-Method-Override", "DELETE")], false);
        check("POST", &[("x_http_method_override", "delete")], false);
        check("POST", &[("X-HTTP-Method", "get, delete")], false);
        check("POST", &[("X-Method-Override", "GET"), ("x-method-override", "mkcol")], false);
        check("DELETE", &[("X-HTTP-Method", "GET")], false);
        let head = RequestHead::new("GET", "/", http1::Version::Http11).unwrap();
        assert!(nothing(&policy, "GET", &head) && nothing(&policy, "HEAD", &head) && !nothing(&policy, "POST", &head));
    }
}
