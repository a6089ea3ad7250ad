//! What a browser might be made to send: requests whose `Host` is a name that somebody made point here (DNS rebinding),
//! and requests on behalf of another site's page. Pure.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused, in a sentence; none: it may pass. `local` is the address that it came in at, `names` are the
/// operator's further names.
pub(super) fn refusal(headers: &HeaderMap, local: SocketAddr, names: &[String]) -> Option<&'static str> {
    let host = single(headers, &HOST);
    let Some(host) = host else { return Some("the request needs exactly one Host header") };
    if !is_ours(host_of(host), local.ip(), names) {
        return Some("this listener does not go by that name; names beside its own address belong into admin.hosts");
    }
    match single(headers, &SEC_FETCH_SITE) {
        None | Some("same-origin" | "none") => {}
        Some(_) => return Some("requests from another site's page are refused"),
    }
    let foreign = headers.get_all(ORIGIN).iter().any(|origin| !is_same_site(origin, host));
    foreign.then_some("requests from another site's page are refused")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    if all.next().is_some() {
        return None;
    }
    first.to_str().ok()
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    let colon = authority.rfind(':').filter(|_| !authority.ends_with(']'));
    colon.and_then(|at| authority.get(..at)).unwrap_or(authority)
}

fn is_ours(host: &str, local: IpAddr, names: &[String]) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let (address, local) = (address.to_canonical(), local.to_canonical());
        return address == local
            || (address.is_loopback() && local.is_loopback())
            || names.iter().any(|name| name == bare);
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || names.contains(&host)
}

/// Whether an `Origin` is the one that this `Host` makes.
fn is_same_site(origin: &HeaderValue, host: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &'static str)], passes: bool) {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let mut map = map;
        if headers.iter().filter(|(name, _)| *name == "host").count() > 1 {
            map.append(HOST, HeaderValue::from_static("localhost"));
        }
        let got = refusal(&map, "127.0.0.1:9900".parse().unwrap(), &["proxy.example.com".to_owned()]);
        assert_eq!(got.is_none(), passes, "{headers:?}: {got:?}");
    }

    #[test]
    fn a_host_must_be_ours() {
        check(&[("host", "127.0.0.1:9900")], true);
        check(&[("host", "127.0.0.1")], true);
        check(&[("host", "LocalHost.:9900")], true);
        check(&[("host", "[::1]:9900")], true);
        check(&[("host", "proxy.example.com:443")], true);
        check(&[("host", "evil.example.com:9900")], false);
        check(&[("host", "127.0.0.1.evil.example.com")], false);
        check(&[("host", "10.0.0.1:9900")], false);
        check(&[("host", "")], false);
        check(&[], false);
        check(&[("host", "localhost"), ("host", "localhost")], false);
    }

    #[test]
    fn another_sites_page_is_refused() {
        let host = ("host", "127.0.0.1:9900");
        check(&[host, ("origin", "http://127.0.0.1:9900")], true);
        check(&[host, ("origin", "http://127.0.0.1:9900"), ("sec-fetch-site", "same-origin")], true);
        check(&[host, ("sec-fetch-site", "none")], true);
        check(&[host, ("origin", "http://evil.example.com")], false);
        check(&[host, ("origin", "http://127.0.0.1:8000")], false);
        check(&[host, ("origin", "null")], false);
        check(&[host, ("sec-fetch-site", "cross-site")], false);
        check(&[host, ("sec-fetch-site", "same-site")], false);
    }
}
