//! Reading what becomes of a route's requests: forwarded, redirected or answered, and rewritten on the way.

use std::sync::Arc;

use super::fields::Fields;
use super::policy::{FallbackTo, Policies, Scope, Setting};
use super::problem::Code;
use super::reader::{Read, Reader, closest, is_word};
use super::report::Fault;
use super::routes::{LOCATION, REDIRECT, RESPOND, REWRITE, SPLIT};
use super::surroundings::Surroundings;
use super::tree::{Entry, Node, Place, Value};
use super::{Action, Redirect, RedirectPart, Respond, Rewrite, RouteTimeouts, Serve, Share, name, path, pattern, url};

pub(super) fn read_action(fields: &mut Fields<'_, '_>, around: &mut Surroundings) -> Option<Action> {
    let keys = ["target", "upstream", "split", "redirect", "respond", "serve"];
    let written: Vec<&Entry<'_>> = keys.iter().filter_map(|key| fields.written(key)).collect();
    let list = "`target`, `upstream`, `split`, `redirect`, `respond` and `serve`";
    match written.as_slice() {
        [] => {
            let fault = Fault::new(Code::MissingKey, "this route does not say what becomes of its requests")
                .hint(format!("give it one of {list}"));
            let place = fields.place;
            fields.reader().error(place, fault);
        }
        [_] => {}
        [_, second, ..] => {
            let place = second.key_place;
            fields.reader().error(place, Fault::new(Code::Conflict, format!("a route has exactly one of {list}")));
        }
    }
    let target = fields.get("target", |reader, node, field| {
        let url = reader.parse(node, &field.kind, url::target)?;
        let upstream = around.target(&url, || reader.texts.origin(node.place));
        Some(Action::Forward(vec![Share { upstream, weight: 1, path_prefix: url.path_prefix }]))
    });
    let upstream = fields.get("upstream", |reader, node, _| {
        let upstream = around.upstream(reader, node)?;
        Some(Action::Forward(vec![Share { upstream, weight: 1, path_prefix: "".into() }]))
    });
    let split = fields.get("split", |reader, node, field| {
        let shares = reader.list(node, &field.kind, |reader, node| {
            let mut fields = reader.section(node, &SPLIT)?;
            let upstream = fields.get("upstream", |reader, node, _| around.upstream(reader, node));
            let weight = fields.get("weight", |reader, node, field| reader.integer(node, &field.kind));
            Some(Share { upstream: upstream?, weight: u32::try_from(weight?).ok()?, path_prefix: "".into() })
        })?;
        if shares.is_empty() {
            reader.error(node.place, Fault::invalid("a split needs at least one upstream"));
            return None;
        }
        Some(Action::Forward(shares))
    });
    let redirect = fields.get("redirect", |reader, node, _| read_redirect(reader, node)).map(Action::Redirect);
    let respond = fields.get("respond", |reader, node, _| read_respond(reader, node, around)).map(Action::Respond);
    let serve = fields.get("serve", |reader, node, field| {
        let words = [Serve::Login, Serve::Accounts, Serve::Jwks].map(|serve| (serve.name(), serve));
        reader.choice(node, &field.kind, &words)
    });
    if written.len() != 1 {
        return None;
    }
    target.or(upstream).or(split).or(redirect).or(respond).or(serve.map(Action::Serve))
}

fn read_redirect<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Redirect> {
    let parse = |reader: &mut Reader<'a>, node: &Node<'_>| reader.parse(node, &LOCATION, location);
    let ((to, keep_query), status) = if let Value::Map(_) = &node.value {
        let mut fields = reader.section(node, &REDIRECT)?;
        let to = fields.get("to", |reader, node, _| parse(reader, node));
        let statuses = [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
        let status = fields.choice("status", &statuses);
        (to?, status?)
    } else {
        (parse(reader, node)?, 302)
    };
    Some(Redirect { to, status, keep_query })
}

/// A location's parts, and whether the request's query is added to it.
fn location(text: &str) -> Result<(Vec<RedirectPart>, bool), Fault> {
    let form = "write it as `https://new.example.com{path}` or `/new`";
    let sound = text.bytes().all(|b| b.is_ascii_graphic());
    if text.is_empty() || !sound {
        return Err(Fault::invalid("a location has no spaces and only visible ASCII characters").hint(form));
    }
    let relative = text.starts_with('/') && !text.starts_with("//");
    let absolute = ["http://", "https://", "{scheme}://"].iter().any(|start| text.starts_with(start));
    if !relative && !absolute && !text.starts_with("{path}") {
        return Err(Fault::invalid("a location starts with a scheme or with `/`").hint(form));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        let Some((name, tail)) = tail.get(1..).and_then(|tail| tail.split_once('}')) else {
            return Err(Fault::invalid("this `{` has no closing brace"));
        };
        if !before.is_empty() {
            parts.push(RedirectPart::Text(before.into()));
        }
        parts.push(match name {
            "scheme" => RedirectPart::Scheme,
            "host" => RedirectPart::Host,
            "path" => RedirectPart::Path,
            "query" => RedirectPart::Query,
            _ => {
                let fault = Fault::new(Code::UnknownName, "this placeholder is not known");
                return Err(match closest(name, ["scheme", "host", "path", "query"].into_iter()) {
                    Some(near) => fault.hint(format!("did you mean `{{{near}}}`?")),
                    None => fault.hint("known are `{scheme}`, `{host}`, `{path}` and `{query}`"),
                });
            }
        });
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(RedirectPart::Text(rest.into()));
    }
    let keep_query = !text.contains('?') && !parts.contains(&RedirectPart::Query);
    Ok((parts, keep_query))
}

pub(super) fn read_respond<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, around: &Surroundings) -> Option<Respond> {
    let mut fields = reader.section(node, &RESPOND)?;
    let status = fields.count::<u16>("status");
    let headers = match fields.written("headers") {
        None => Some(Vec::new()),
        Some(_) => fields.get("headers", |reader, node, field| {
            reader.map(node, &field.kind, |reader, entry| {
                let name = match name::editable_header(&entry.key) {
                    Ok(name) => name,
                    Err(fault) => {
                        reader.error(entry.key_place, fault);
                        return None;
                    }
                };
                let kind = field.kind.scalar();
                reader.parse(&entry.value, kind, name::header_value).map(|value| (name, value))
            })
        }),
    };
    let body: Option<Arc<str>> = match fields.written("body") {
        None => Some("".into()),
        Some(_) => fields.get("body", |reader, node, field| reader.text(node, &field.kind).map(Arc::from)),
    };
    let (status, mut headers, body) = (status?, headers?, body?);
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let place = fields.written("body").map_or(fields.place, |entry| entry.key_place);
        fields.reader().error(place, Fault::new(Code::Conflict, format!("an answer with status {status} has no body")));
        return None;
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| &**name == "content-type") {
        headers.reserve_exact(1);
        headers.push(around.plain_text.clone());
    }
    Some(Respond { status, headers, body })
}

pub(super) fn read_rewrite(fields: &mut Fields<'_, '_>) -> Read<Option<Rewrite>> {
    if fields.written("rewrite").is_none() {
        return Some(None);
    }
    fields.get("rewrite", |reader, node, _| {
        let mut fields = reader.section(node, &REWRITE)?;
        let has = |key: &str| fields.written(key).is_some();
        let prefix = has("strip_prefix") || has("add_prefix");
        let (whole, regex, to) = (has("path"), has("regex"), has("to"));
        if [prefix, whole, regex || to].iter().filter(|form| **form).count() != 1 || regex != to {
            let fault = Fault::new(Code::Conflict, "a rewrite has one form")
                .hint("{strip_prefix: /api, add_prefix: /v2}, or {path: /x}, or {regex: \"^/a\", to: /b}");
            reader.error(node.place, fault);
            return None;
        }
        let strip = fields.get("strip_prefix", |reader, node, field| reader.parse(node, &field.kind, prefix_of));
        let add = fields.get("add_prefix", |reader, node, field| reader.parse(node, &field.kind, prefix_of));
        let path = fields.get("path", |reader, node, field| reader.parse(node, &field.kind, path::literal));
        let pattern = fields.get("regex", |reader, node, field| reader.parse(node, &field.kind, pattern::compile));
        let to = fields.get("to", |reader, node, field| {
            reader.parse(node, &field.kind, |text| {
                if let Some(pattern) = &pattern {
                    pattern::check_replacement(text, pattern)?;
                }
                Ok(Arc::<str>::from(text))
            })
        });
        if whole {
            return Some(Some(Rewrite::Path(path?)));
        }
        if regex {
            return Some(Some(Rewrite::Regex { pattern: pattern?, to: to? }));
        }
        let missing = |key: &str, found: Option<Arc<str>>| match found {
            None if node.get(key).is_none() => Some("".into()),
            found => found,
        };
        Some(Some(Rewrite::Prefix { strip: missing("strip_prefix", strip)?, add: missing("add_prefix", add)? }))
    })
}

/// A prefix to strip or add: the segments alone, without a final slash.
fn prefix_of(text: &str) -> Result<Arc<str>, Fault> {
    path::literal(text).map(|path| path.trim_end_matches('/').into())
}

pub(super) fn read_timeouts(fields: &mut Fields<'_, '_>) -> Option<RouteTimeouts> {
    fields.section("timeouts", |fields| {
        let mut time = |key| match fields.written(key) {
            None => Some(None),
            Some(_) => fields.duration(key).map(Some),
        };
        let (connect, tls, write) = (time("connect"), time("tls"), time("write"));
        let (response_headers, idle) = (time("response_headers"), time("idle"));
        let mut time_or_off = |key| match fields.written(key) {
            None => Some(None),
            Some(_) => fields.duration_or_off(key).map(Some),
        };
        let (total, tunnel) = (time_or_off("total"), time_or_off("tunnel"));
        Some(RouteTimeouts {
            connect: connect?,
            tls: tls?,
            write: write?,
            response_headers: response_headers?,
            idle: idle?,
            total: total?,
            tunnel: tunnel?,
        })
    })
}

/// Keys about forwarding on a route that forwards nothing.
pub(super) fn warn_idle_keys(fields: &mut Fields<'_, '_>) {
    let forwards = ["target", "upstream", "split"].iter().any(|key| fields.written(key).is_some());
    let answers = ["redirect", "respond", "serve"].iter().any(|key| fields.written(key).is_some());
    if forwards || !answers {
        return;
    }
    for key in ["rewrite", "timeouts", "forward_host", "retry", "fallback", "mirror", "fault"] {
        // What is switched off was not meant to have an effect.
        if let Some(entry) = fields.written(key).filter(|entry| !is_word(&entry.value, "off")) {
            let fault = Fault::new(Code::Unused, format!("`{key}` has no effect here: this route forwards nothing"))
                .hint("remove it");
            fields.reader().under(&entry.key, |reader| reader.warn(entry.key_place, fault));
        }
    }
}

/// A route's own fallback or mirror that leads where the route leads anyway.
pub(super) fn check_stand_ins(fields: &mut Fields<'_, '_>, action: &Action, policies: &Policies) {
    let Action::Forward(shares) = action else { return };
    let is_only = |upstream: usize| shares.iter().all(|share| share.upstream == upstream);
    if let Some(FallbackTo::Upstream(upstream)) = own(&policies.fallback).map(|fallback| &fallback.to)
        && is_only(*upstream)
    {
        let fault =
            Fault::invalid("this route forwards to this upstream: where it has failed, it cannot stand in for itself")
                .hint("name another upstream, or an answer: `fallback: {respond: {status: 503}}`");
        at_upstream(fields, "fallback", |reader, place| reader.error(place, fault));
    }
    if own(&policies.mirror).is_some_and(|mirror| is_only(mirror.upstream)) {
        let fault = Fault::new(
            Code::Unused,
            "this route forwards to this upstream: nothing is copied to where a request goes anyway",
        )
        .hint("name another upstream, or remove `mirror`");
        at_upstream(fields, "mirror", |reader, place| reader.warn(place, fault));
    }
}

/// What the route itself says.
fn own<T>(setting: &Setting<T>) -> Option<&T> {
    setting.value.as_deref().filter(|_| matches!(setting.scope, Scope::Route(_)))
}

fn at_upstream<'a>(fields: &mut Fields<'_, 'a>, key: &'static str, note: impl FnOnce(&mut Reader<'a>, Place)) {
    let written = fields.written(key).and_then(|entry| entry.value.get("upstream"));
    let place = written.map_or(fields.place, |node| node.place);
    fields.reader().under_declared(key, |reader| reader.under_declared("upstream", |reader| note(reader, place)));
}

/// A host with a port where there is one.
pub(super) fn authority(text: &str) -> Result<Arc<str>, Fault> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok() && (host.starts_with('[') || !host.contains(':')) =>
        {
            (host, Some(port))
        }
        _ => (text, None),
    };
    let host = name::host(host)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    Ok(port.map_or_else(|| host.as_str().into(), |port| format!("{host}:{port}").into()))
}
