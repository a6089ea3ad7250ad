//! Reading the section `routes`: its keys, and what each becomes. The types are in `route.rs`.

use std::sync::Arc;

use super::action::{authority, check_stand_ins, read_action, read_rewrite, read_timeouts, warn_idle_keys};
use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::identity::review;
use super::matching::{read_headers, read_hosts, read_path, read_query, without_repeats};
use super::namer::Namer;
use super::policy::{self, Policies, Scope};
use super::problem::Code;
use super::reader::{Read, Reader, is_word};
use super::report::Fault;
use super::surroundings::{Surroundings, UPSTREAM_NAME};
use super::tree::{Node, Place, Value};
use super::upstream::{self, WEIGHT};
use super::{Action, EncodedSlash, ForwardHost, Name, Route, implied, name};

const TIME: Kind = Kind::Duration { min: "1ms", max: "24h" };
const PATH: Kind = Kind::Text { what: "a path such as `/api/`", sample: "/sample" };
const REGEX: Kind = Kind::Text { what: "a regular expression", sample: "^/sample" };

pub(super) static VALUE_MATCH: Section = Section {
    name: "routes[].query.NAME",
    doc: "The long form of a condition on a value; exactly one of the two.",
    fields: &[CONDITION_FIELDS],
};
const CONDITION_FIELDS: &[Field] = &[
    Field::new("present", Kind::Boolean, "Whether it must be there, or must not."),
    Field::new("regex", REGEX, "A pattern that must be found in the value."),
];

static ROUTE_HEADER: Section = Section {
    name: "routes[].headers.NAME",
    doc: "Under the name of a header: the long form of a condition on it. Under `request` and `response`: the policy `headers` of this route.",
    fields: &[CONDITION_FIELDS, policy::EDIT_FIELDS],
};
pub(super) const CONDITION: Kind = Kind::Short(&Kind::Word { what: "a value", sample: "sample" }, &VALUE_MATCH);

pub(super) static SPLIT: Section = Section {
    name: "routes[].split[]",
    doc: "One upstream's share.",
    fields: &[&[
        Field::new("upstream", UPSTREAM_NAME, "Which upstream.").required(),
        Field::new("weight", WEIGHT, "Its share of the route's requests relative to the others.").required(),
    ]],
};

pub(super) const LOCATION: Kind = Kind::Text { what: "a location", sample: "https://new.example.com{path}" };

pub(super) static REDIRECT: Section = Section {
    name: "routes[].redirect",
    doc: "Sends the client elsewhere.",
    fields: &[&[
        Field::new("to", LOCATION, "The location, with `{scheme}`, `{host}`, `{path}` and `{query}` standing for the request's. The query is kept unless `{query}` is placed or the location has one of its own.").required(),
        Field::new("status", Kind::Choice(&["301", "302", "303", "307", "308"]), "The status.").default("302"),
    ]],
};

pub(super) static RESPOND: Section = Section {
    name: "routes[].respond",
    doc: "A fixed answer.",
    fields: &[&[
        Field::new("status", Kind::Integer { min: 200, max: 599 }, "The status.").default("200"),
        Field::new(
            "headers",
            Kind::Map(&Kind::Word { what: "the value of a header", sample: "sample" }),
            "Headers of the answer. A body without `content-type` is `text/plain; charset=utf-8`.",
        ),
        Field::new("body", Kind::Word { what: "text", sample: "sample" }, "The body.").default("\"\""),
    ]],
};

pub(super) static REWRITE: Section = Section {
    name: "routes[].rewrite",
    doc: "What the path becomes before it is sent upstream: prefixes, or a whole path, or a pattern's replacement.",
    fields: &[&[
        Field::new("strip_prefix", PATH, "Taken away from the front, on a segment boundary, where the path has it."),
        Field::new("add_prefix", PATH, "Put before what is left."),
        Field::new("path", PATH, "The whole path."),
        Field::new("regex", REGEX, "The first match of this pattern is replaced."),
        Field::new(
            "to",
            Kind::Word { what: "a replacement", sample: "/sample" },
            "What it is replaced by: `$1` and `${name}` stand for groups.",
        ),
    ]],
};

static TIMEOUTS: Section = Section {
    name: "routes[].timeouts",
    doc: "The route's own timeouts, over its upstream's.",
    fields: &[&[
        Field::new("connect", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("tls", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("write", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("response_headers", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("idle", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("total", Kind::Or("off", &TIME), "As in `upstreams.NAME.timeouts`."),
        Field::new("tunnel", Kind::Or("off", &TIME), "As in `upstreams.NAME.timeouts`."),
    ]],
};

static OWN_FIELDS: &[Field] = &[
    Field::new(
        "name",
        Kind::Text { what: "a name", sample: "sample" },
        "What logs, metrics and commands call the route. Unique; made from the match where none is written.",
    ),
    Field::new(
        "path",
        PATH,
        "A prefix, on segment boundaries: `/api` matches `/api` and `/api/x`, never `/apix`; written with a final slash it needs that slash. Without `path`, `exact` and `regex`, every path.",
    ),
    Field::new("exact", PATH, "Exactly this path."),
    Field::new("regex", REGEX, "A pattern (linear time) that must be found in the path; anchor it with `^` and `$`."),
    Field::new(
        "hosts",
        Kind::OneOrMany(&Kind::Text { what: "a host such as `api.example.com`", sample: "api.example.com" }),
        "Any of these hosts; `*.example.org` stands for all names below it.",
    ),
    Field::new(
        "methods",
        Kind::OneOrMany(&Kind::Text { what: "a method", sample: "GET" }),
        "Any of these methods; GET takes in HEAD.",
    ),
    Field::new(
        "headers",
        Kind::Or("off", &Kind::Map(&Kind::Short(&Kind::Word { what: "a value", sample: "sample" }, &ROUTE_HEADER))),
        "All of these request headers: an exact value, or `{present: true}`, `{regex: …}`. Sent several times, any value may match. `request` and `response` with `set`, `add` or `remove` below them are the policy `headers` on this route, as at the top level; `off` removes that policy.",
    ),
    Field::new(
        "query",
        Kind::Map(&CONDITION),
        "All of these query parameters: an exact value, or `{present: true}`, `{regex: …}`. Sent several times, any value may match.",
    ),
    Field::new("priority", Kind::Integer { min: -1_000_000, max: 1_000_000 }, "More wins before everything else does.")
        .default("0"),
    Field::new(
        "encoded_slash",
        Kind::Choice(&["refuse", "keep", "decode"]),
        "What `%2F` and `%5C` in the path mean: refused (400), passed on as they came, or decoded before matching.",
    )
    .default("refuse"),
    Field::new(
        "forward_host",
        Kind::Text { what: "`keep`, `target` or a host name", sample: "keep" },
        "The `Host` that the upstream sees: the client's (`keep`), the endpoint's address (`target`), or this name.",
    )
    .default("keep"),
    Field::new(
        "target",
        Kind::Text { what: "a URL such as `http://127.0.0.1:8001`", sample: "http://127.0.0.1:8001" },
        "Forwarded to this one address (`http://` or `https://`); a path in it is put before the request's.",
    ),
    Field::new("upstream", UPSTREAM_NAME, "Forwarded to this upstream."),
    Field::new("split", Kind::List(&Kind::Section(&SPLIT)), "Forwarded to one of these upstreams, by weight."),
    Field::new("redirect", Kind::Short(&LOCATION, &REDIRECT), "Sent elsewhere: a location, or the long form."),
    Field::new("respond", Kind::Section(&RESPOND), "Answered here."),
    Field::new(
        "serve",
        Kind::Choice(&["login", "accounts", "jwks"]),
        "Answered by what `identity` brings along: the pages of a login (below `identity.session.path`), the endpoints of `identity.accounts` (below its `prefix`), or the keys that our own tokens are checked with. Such routes are there without being written, and on their paths no route wins that does not serve the same, whatever its host, priority and conditions; write one to give it policies of its own. The top level's `auth` does not hold on it.",
    ),
    Field::new(
        "rewrite",
        Kind::Section(&REWRITE),
        "What the path becomes on its way upstream; the default leaves it untouched.",
    ),
    Field::new("timeouts", Kind::Section(&TIMEOUTS), "Its own timeouts."),
    Field::new(
        "retry",
        Kind::Or("off", &Kind::Section(&upstream::RETRY)),
        "Its own rule for retries, whole in place of its upstream's; `off`: none. The budget is the upstream's own count.",
    ),
];

/// The declaration of one route.
pub(super) static ROUTE: Section = Section {
    name: "routes[]",
    doc: "Which requests, and what becomes of them: exactly one of `target`, `upstream`, `split`, `redirect`, `respond` and `serve`; and any policy, over the top level's.",
    fields: &[OWN_FIELDS, policy::FIELDS],
};

/// How the section is written.
pub(super) static ROUTES: Kind = Kind::List(&Kind::Section(&ROUTE));

/// Where a route is written.
#[derive(Clone, Copy)]
pub(super) struct Written {
    pub(super) place: Place,
    /// Its index as written, with the broken ones counted.
    pub(super) index: usize,
}

/// Reads all routes, each with where it is written; those that are broken are left out, and their problems noted.
pub(super) fn read_all<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node<'a>,
    inherited: &Arc<Policies>,
    around: &mut Surroundings,
) -> (Vec<Route>, Vec<Written>) {
    let Value::List(items) = &node.value else {
        if !node.is_null() {
            reader.wrong_type(node, &ROUTES);
        }
        return (Vec::new(), Vec::new());
    };
    let mut namer = Namer::new(items);
    let (mut routes, mut written) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for (index, item) in items.iter().enumerate() {
        if let Some(route) = reader.at(index, |reader| read(reader, item, inherited, around, &mut namer)) {
            routes.push(route);
            written.push(Written { place: item.place, index });
        }
    }
    (routes, written)
}

fn read<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node<'a>,
    inherited: &Arc<Policies>,
    around: &mut Surroundings,
    namer: &mut Namer,
) -> Option<Route> {
    let at = reader.texts.origin(node.place);
    let mut fields = reader.section(node, &ROUTE)?;
    let written_name = read_name(&mut fields, namer);
    let path = read_path(&mut fields);
    let hosts = read_hosts(&mut fields);
    let methods = fields.list_of("methods", |reader, node, kind| reader.method(node, kind));
    let methods = methods.map(without_repeats);
    let headers = read_headers(&mut fields);
    let query = read_query(&mut fields);
    let priority = fields.count("priority");
    let encoded = [("refuse", EncodedSlash::Refuse), ("keep", EncodedSlash::Keep), ("decode", EncodedSlash::Decode)];
    let encoded_slash = fields.choice("encoded_slash", &encoded);
    let forward_host = fields.scalar("forward_host", |reader, node, field| {
        if is_word(node, "keep") {
            return Some(ForwardHost::Keep);
        }
        if is_word(node, "target") {
            return Some(ForwardHost::Target);
        }
        reader.parse(node, &field.kind, authority).map(ForwardHost::Name)
    });
    let action = read_action(&mut fields, around);
    let rewrite = read_rewrite(&mut fields);
    let timeouts = read_timeouts(&mut fields);
    let retry = match fields.written("retry") {
        None => Some(None),
        Some(_) => fields.section_or_off("retry", upstream::read_retry).map(|retry| Some(retry.map(Arc::new))),
    };
    warn_idle_keys(&mut fields);
    let name = match (&written_name, &path, &hosts, &methods) {
        (Some(Some(name)), ..) => Some(Arc::clone(name)),
        // What came out of a reference does not become a name: names are shown.
        (Some(None), Some(_), Some(_), Some(_)) if matches_by_reference(&fields) => Some(namer.unique("route")),
        (Some(None), Some(path), Some(hosts), Some(methods)) => Some(namer.generate(path, hosts, methods)),
        _ => None,
    };
    let scope = Scope::Route(name.clone().unwrap_or_else(|| "".into()));
    let policies = Policies::read_on_route(&mut fields, around, inherited, &scope);
    let policies = action.as_ref().zip(policies).map(|(action, policies)| {
        check_stand_ins(&mut fields, action, &policies);
        review::warn_route(&mut fields, &policies);
        if matches!(policies.auth.scope, Scope::Route(_)) {
            review::check_all_of(&mut fields, &policies, &around.identity);
        }
        if let (Action::Serve(serve), Some(path)) = (action, &path) {
            return implied::check_written(&mut fields, *serve, path, policies, &around.identity);
        }
        policies
    });
    Some(Route {
        name: name?,
        at,
        hosts: hosts?,
        path: path?,
        methods: methods?,
        headers: headers?,
        query: query?,
        priority: priority?,
        is_implied: false,
        encoded_slash: encoded_slash?,
        forward_host: forward_host?,
        action: action?,
        rewrite: rewrite?,
        timeouts: timeouts?,
        retry: retry?,
        policies: policies?,
    })
}

fn matches_by_reference(fields: &Fields<'_, '_>) -> bool {
    let keys = ["path", "exact", "regex", "hosts", "methods"];
    keys.iter().any(|key| fields.written(key).is_some_and(|entry| entry.value.has_resolved()))
}

fn read_name(fields: &mut Fields<'_, '_>, namer: &mut Namer) -> Read<Option<Name>> {
    let Some(_) = fields.written("name") else { return Some(None) };
    fields.get("name", |reader, node, field| {
        let name = reader.parse(node, &field.kind, name::free)?;
        if let Some(first) = namer.taken.get(&name) {
            let message = format!("another route has this name, see {}", reader.texts.origin(*first));
            reader.error(node.place, Fault::new(Code::DuplicateName, message).hint("the names of routes are unique"));
            return None;
        }
        namer.taken.insert(Arc::clone(&name), node.place);
        Some(Some(name))
    })
}
