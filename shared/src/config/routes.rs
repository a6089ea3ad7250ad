//! Reading the section `routes`: its keys, and what each becomes. The types are in `route.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::field::{Field, Kind, Section};
use super::policy::{self, Policies, Scope};
use super::problem::Code;
use super::reader::{Fields, Reader, closest, is_word, shown};
use super::report::Fault;
use super::tree::{Entry, Node, Place, Value};
use super::upstream::{Targets, Upstream, WEIGHT};
use super::{
    Action, EncodedSlash, ForwardHost, HeaderMatch, HostPattern, Name, PathPattern, QueryMatch, Redirect, RedirectPart,
    Respond, Rewrite, Route, RouteTimeouts, Share, ValueMatch, name, path, pattern, url,
};

const TIME: Kind = Kind::Duration { min: "1ms", max: "24h" };
const PATH: Kind = Kind::Text { what: "a path such as `/api/`", sample: "/sample" };
const REGEX: Kind = Kind::Text { what: "a regular expression", sample: "^/sample" };
const UPSTREAM_NAME: Kind = Kind::Text { what: "the name of an upstream", sample: "sample" };

static VALUE_MATCH: Section = Section {
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
const CONDITION: Kind = Kind::Short(&Kind::Word { what: "a value", sample: "sample" }, &VALUE_MATCH);

static SPLIT: Section = Section {
    name: "routes[].split[]",
    doc: "One upstream's share.",
    fields: &[&[
        Field::new("upstream", UPSTREAM_NAME, "Which upstream.").required(),
        Field::new("weight", WEIGHT, "Its share of the route's requests relative to the others.").required(),
    ]],
};

const LOCATION: Kind = Kind::Text { what: "a location", sample: "https://new.example.com{path}" };

static REDIRECT: Section = Section {
    name: "routes[].redirect",
    doc: "Sends the client elsewhere.",
    fields: &[&[
        Field::new("to", LOCATION, "The location, with `{scheme}`, `{host}`, `{path}` and `{query}` standing for the request's. The query is kept unless `{query}` is placed or the location has one of its own.").required(),
        Field::new("status", Kind::Choice(&["301", "302", "303", "307", "308"]), "The status.").default("302"),
    ]],
};

static RESPOND: Section = Section {
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

static REWRITE: Section = Section {
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
        Field::new("response_headers", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("idle", TIME, "As in `upstreams.NAME.timeouts`."),
        Field::new("total", Kind::Or("off", &TIME), "As in `upstreams.NAME.timeouts`."),
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
        "Forwarded to this one address; a path in it is put before the request's.",
    ),
    Field::new("upstream", UPSTREAM_NAME, "Forwarded to this upstream."),
    Field::new("split", Kind::List(&Kind::Section(&SPLIT)), "Forwarded to one of these upstreams, by weight."),
    Field::new("redirect", Kind::Short(&LOCATION, &REDIRECT), "Sent elsewhere: a location, or the long form."),
    Field::new("respond", Kind::Section(&RESPOND), "Answered here."),
    Field::new(
        "rewrite",
        Kind::Section(&REWRITE),
        "What the path becomes on its way upstream; the default leaves it untouched.",
    ),
    Field::new("timeouts", Kind::Section(&TIMEOUTS), "Its own timeouts."),
];

/// The declaration of one route.
pub(super) static ROUTE: Section = Section {
    name: "routes[]",
    doc: "Which requests, and what becomes of them: exactly one of `target`, `upstream`, `split`, `redirect` and `respond`; and any policy, over the top level's.",
    fields: &[OWN_FIELDS, policy::FIELDS],
};

/// How the section is written.
pub(super) static ROUTES: Kind = Kind::List(&Kind::Section(&ROUTE));

/// What routes are read with.
pub(super) struct Surroundings<'s> {
    pub(super) policies: &'s Policies,
    pub(super) upstreams: &'s mut Vec<Upstream>,
    pub(super) targets: &'s mut Targets,
    /// Every name that was given to an upstream, even to a broken one.
    pub(super) names: &'s HashSet<Name>,
    pub(super) by_name: HashMap<Name, usize>,
    /// Which upstreams some route forwards to.
    pub(super) used: HashSet<Name>,
}

/// A route with the place where it is written.
pub(super) struct Placed {
    pub(super) route: Route,
    pub(super) place: Place,
    /// Its index as written, with the broken ones counted.
    pub(super) index: usize,
}

/// Reads all routes; those that are broken are left out, and their problems noted.
pub(super) fn read_all<'a>(reader: &mut Reader<'a>, node: &'a Node, around: &mut Surroundings<'_>) -> Vec<Placed> {
    let Value::List(items) = &node.value else {
        if !node.is_null() {
            reader.wrong_type(node, &ROUTES);
        }
        return Vec::new();
    };
    let mut namer = Namer::new(items);
    let mut routes = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let route = reader.at(index, |reader| read(reader, item, around, &mut namer));
        routes.extend(route.map(|route| Placed { route, place: item.place, index }));
    }
    routes
}

fn read<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node,
    around: &mut Surroundings<'_>,
    namer: &mut Namer,
) -> Option<Route> {
    let at = reader.texts.origin(node.place);
    let mut fields = reader.section(node, &ROUTE)?;
    let written_name = read_name(&mut fields, namer);
    let path = read_path(&mut fields);
    let hosts = read_hosts(&mut fields);
    let methods = fields.list_of("methods", |reader, node, kind| reader.parse(node, kind, name::method));
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
    warn_idle_keys(&mut fields);
    let name = match (&written_name, &path, &hosts, &methods) {
        (Some(Some(name)), ..) => Some(Arc::clone(name)),
        // What came out of a reference does not become a name: names are shown.
        (Some(None), Some(_), Some(_), Some(_)) if matches_by_reference(&fields) => Some(namer.unique("route")),
        (Some(None), Some(path), Some(hosts), Some(methods)) => Some(namer.generate(path, hosts, methods)),
        _ => None,
    };
    let scope = Scope::Route(name.clone().unwrap_or_else(|| "".into()));
    let policies = Policies::read(&mut fields, around.policies, &scope);
    Some(Route {
        name: name?,
        at,
        hosts: hosts?,
        path: path?,
        methods: methods?,
        headers: headers?,
        query: query?,
        priority: priority?,
        encoded_slash: encoded_slash?,
        forward_host: forward_host?,
        action: action?,
        rewrite: rewrite?,
        timeouts: timeouts?,
        policies: policies?,
    })
}

fn matches_by_reference(fields: &Fields<'_, '_>) -> bool {
    let keys = ["path", "exact", "regex", "hosts", "methods"];
    keys.iter().any(|key| fields.written(key).is_some_and(|entry| entry.value.has_resolved()))
}

/// The outer none: a problem was noted; the inner: nothing was written.
fn read_name(fields: &mut Fields<'_, '_>, namer: &mut Namer) -> Option<Option<Name>> {
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

/// Makes names from matches, unique among themselves and the written ones.
struct Namer {
    taken: HashMap<Name, Place>,
    written: HashSet<Name>,
    /// How often a made name has come up.
    counts: HashMap<String, usize>,
}

impl Namer {
    /// Written names are reserved first: a made name must not take one that follows.
    fn new(items: &[Node]) -> Self {
        let written = items
            .iter()
            .filter_map(|item| item.get("name"))
            .filter_map(|name| match &name.value {
                Value::Scalar(scalar) => Some(Name::from(&*scalar.typed)),
                Value::List(_) | Value::Map(_) => None,
            })
            .collect();
        Self { taken: HashMap::new(), written, counts: HashMap::new() }
    }

    /// `GET,POST api.example.com/api/`, with `#2` behind it the second time.
    fn generate(&mut self, path: &PathPattern, hosts: &[HostPattern], methods: &[Arc<str>]) -> Name {
        let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
        let host = match hosts {
            [] => String::new(),
            [HostPattern::Exact(host), ..] => host.to_string(),
            [HostPattern::Wildcard(suffix), ..] => format!("*{suffix}"),
        };
        let path = match path {
            PathPattern::Prefix(path) | PathPattern::Exact(path) => path.to_string(),
            PathPattern::Regex(pattern) => format!("~{}", pattern.text),
        };
        let base: String = format!("{methods}{host}{path}").chars().take(120).collect();
        self.unique(&base)
    }

    fn unique(&mut self, base: &str) -> Name {
        loop {
            let count = self.counts.entry(base.to_owned()).or_insert(0);
            *count += 1;
            let name: Name = if *count == 1 { base.into() } else { format!("{base}#{count}").into() };
            if !self.written.contains(&name) {
                return name;
            }
        }
    }
}

fn read_path(fields: &mut Fields<'_, '_>) -> Option<PathPattern> {
    let keys = ["path", "exact", "regex"];
    let written: Vec<&Entry> = keys.iter().filter_map(|key| fields.written(key)).collect();
    if let [_, second, ..] = written.as_slice() {
        let fault = Fault::new(Code::Conflict, "a route has one of `path`, `exact` and `regex`")
            .hint("write a route for each; they may share an upstream");
        let place = second.key_place;
        fields.reader().error(place, fault);
    }
    let prefix = fields.get("path", |reader, node, field| reader.parse(node, &field.kind, path::literal));
    let exact = fields.get("exact", |reader, node, field| reader.parse(node, &field.kind, path::literal));
    let regex = fields.get("regex", |reader, node, field| reader.parse(node, &field.kind, pattern::compile));
    match written.len() {
        0 => Some(PathPattern::Prefix("/".into())),
        1 => prefix.map(PathPattern::Prefix).or(exact.map(PathPattern::Exact)).or(regex.map(PathPattern::Regex)),
        _ => None,
    }
}

fn read_hosts(fields: &mut Fields<'_, '_>) -> Option<Vec<HostPattern>> {
    let hosts = fields.list_of("hosts", |reader, node, kind| {
        reader.parse(node, kind, |text| match text.strip_prefix("*.") {
            Some(rest) => name::host(rest).map(|rest| HostPattern::Wildcard(format!(".{rest}").into())),
            None if text == "*" => Err(Fault::invalid("`*` alone is every host").hint("leave `hosts` out")),
            None if text.contains('*') => {
                Err(Fault::invalid("a `*` stands for whole labels at the front").hint("hosts: [\"*.example.org\"]"))
            }
            None => name::host(text).map(HostPattern::Exact),
        })
    });
    hosts.map(without_repeats)
}

fn without_repeats<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        // Host and method lists are short; a long one is still read, only its repeats stay.
        if kept.len() > 64 || !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn read_headers(fields: &mut Fields<'_, '_>) -> Option<Vec<HeaderMatch>> {
    let Some(entry) = fields.written("headers") else { return Some(Vec::new()) };
    if is_word(&entry.value, "off") {
        return Some(Vec::new());
    }
    fields.get("headers", |reader, node, field| {
        let conditions = reader.map(node, &field.kind, |reader, entry| {
            if policy::is_edit(entry) {
                return Some(None);
            }
            let name = match name::header(&entry.key) {
                Ok(name) => name,
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            read_condition(reader, &entry.value).map(|value| Some(HeaderMatch { name, value }))
        })?;
        Some(conditions.into_iter().flatten().collect())
    })
}

fn read_query(fields: &mut Fields<'_, '_>) -> Option<Vec<QueryMatch>> {
    if fields.written("query").is_none() {
        return Some(Vec::new());
    }
    fields.get("query", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            read_condition(reader, &entry.value).map(|value| QueryMatch { name: (&*entry.key).into(), value })
        })
    })
}

fn read_condition<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<ValueMatch> {
    let Value::Map(_) = &node.value else {
        return reader.text(node, &CONDITION).map(|text| ValueMatch::Exact(text.into()));
    };
    let mut fields = reader.section(node, &VALUE_MATCH)?;
    let written = (fields.written("present").is_some(), fields.written("regex").is_some());
    let present = fields.get("present", |reader, node, _| reader.boolean(node));
    let regex = fields.get("regex", |reader, node, field| reader.parse(node, &field.kind, pattern::compile));
    match written {
        (true, false) => present.map(ValueMatch::Present),
        (false, true) => regex.map(ValueMatch::Regex),
        _ => {
            let fault = Fault::new(Code::Conflict, "a condition has exactly one of `present` and `regex`")
                .hint("{present: true}, {regex: \"^2\"}, or the value itself");
            reader.error(node.place, fault);
            None
        }
    }
}

fn read_action(fields: &mut Fields<'_, '_>, around: &mut Surroundings<'_>) -> Option<Action> {
    let keys = ["target", "upstream", "split", "redirect", "respond"];
    let written: Vec<&Entry> = keys.iter().filter_map(|key| fields.written(key)).collect();
    let list = "`target`, `upstream`, `split`, `redirect` and `respond`";
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
        let upstream = around.targets.index(&url, || reader.texts.origin(node.place), around.upstreams);
        Some(Action::Forward(vec![Share { upstream, weight: 1, path_prefix: url.path_prefix }]))
    });
    let upstream = fields.get("upstream", |reader, node, _| {
        let upstream = read_upstream(reader, node, around)?;
        Some(Action::Forward(vec![Share { upstream, weight: 1, path_prefix: "".into() }]))
    });
    let split = fields.get("split", |reader, node, field| {
        let shares = reader.list(node, &field.kind, |reader, node| {
            let mut fields = reader.section(node, &SPLIT)?;
            let upstream = fields.get("upstream", |reader, node, _| read_upstream(reader, node, around));
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
    let respond = fields.get("respond", |reader, node, _| read_respond(reader, node)).map(Action::Respond);
    if written.len() != 1 {
        return None;
    }
    target.or(upstream).or(split).or(redirect).or(respond)
}

fn read_upstream(reader: &mut Reader<'_>, node: &Node, around: &mut Surroundings<'_>) -> Option<usize> {
    let name = reader.text(node, &UPSTREAM_NAME)?;
    if let Some(index) = around.by_name.get(name) {
        around.used.insert(Name::from(name));
        return Some(*index);
    }
    // A broken upstream is known by name: its own problems are enough.
    if around.names.contains(name) {
        return None;
    }
    let fault = Fault::new(Code::UnknownName, format!("no upstream is called `{}`", shown(node)));
    let near = closest(name, around.names.iter().map(|name| &**name)).map(str::to_owned);
    let fault = match near {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None if name.contains("://") => fault.hint("a URL is a `target`; `upstream` names a section of `upstreams`"),
        None if around.names.is_empty() => fault.hint("name it under `upstreams`, or write a URL as `target`"),
        None => {
            let mut names: Vec<&str> = around.names.iter().map(|name| &**name).collect();
            names.sort_unstable();
            names.truncate(10);
            fault.hint(format!("upstreams here: {}", names.join(", ")))
        }
    };
    reader.error(node.place, fault);
    None
}

fn read_redirect<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Redirect> {
    let parse = |reader: &mut Reader<'a>, node: &Node| reader.parse(node, &LOCATION, location);
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

fn read_respond<'a>(reader: &mut Reader<'a>, node: &'a Node) -> Option<Respond> {
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
        headers.push(("content-type".into(), "text/plain; charset=utf-8".into()));
    }
    Some(Respond { status, headers, body })
}

/// The outer none: a problem was noted.
fn read_rewrite(fields: &mut Fields<'_, '_>) -> Option<Option<Rewrite>> {
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

fn read_timeouts(fields: &mut Fields<'_, '_>) -> Option<RouteTimeouts> {
    fields.section("timeouts", |fields| {
        let mut time = |key| match fields.written(key) {
            None => Some(None),
            Some(_) => fields.duration(key).map(Some),
        };
        let (connect, response_headers, idle) = (time("connect"), time("response_headers"), time("idle"));
        let total = match fields.written("total") {
            None => Some(None),
            Some(_) => fields.duration_or_off("total").map(Some),
        };
        Some(RouteTimeouts { connect: connect?, response_headers: response_headers?, idle: idle?, total: total? })
    })
}

/// Keys about forwarding on a route that forwards nothing.
fn warn_idle_keys(fields: &mut Fields<'_, '_>) {
    let forwards = ["target", "upstream", "split"].iter().any(|key| fields.written(key).is_some());
    let answers = ["redirect", "respond"].iter().any(|key| fields.written(key).is_some());
    if forwards || !answers {
        return;
    }
    for key in ["rewrite", "timeouts", "forward_host"] {
        if let Some(entry) = fields.written(key) {
            let fault = Fault::new(Code::Unused, format!("`{key}` has no effect here: this route forwards nothing"))
                .hint("remove it");
            fields.reader().under(&entry.key, |reader| reader.warn(entry.key_place, fault));
        }
    }
}

/// A host with a port where there is one.
fn authority(text: &str) -> Result<Arc<str>, Fault> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok() && !(host.contains(':') && !host.starts_with('[')) =>
        {
            (host, Some(port))
        }
        _ => (text, None),
    };
    let host = name::host(host)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    Ok(port.map_or_else(|| host.as_str().into(), |port| format!("{host}:{port}").into()))
}
