//! The whole of a config: its top-level keys, and the way from texts to the checked [`Config`].

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashSet;
use sha2::{Digest, Sha256};

use super::field::{Field, Kind, ON, Section};
use super::fields::Fields;
use super::policy::{self, Policies};
use super::problem::{Code, Problems};
use super::reader::Reader;
use super::report::{Fault, Reporter};
use super::routes;
use super::source::{Input, References, Text};
use super::surroundings::Surroundings;
use super::tree::{Node, Texts};
use super::upstream;
use super::{
    Checked, Config, Listen, Name, admin, audit, bans, certificates, identity, implied, log, merge, redis, reference,
    server, shadow,
};

static SECTIONS: &[Field] = &[
    Field::new(
        "server",
        Kind::Section(&server::SERVER),
        "Where clients knock, and the limits that hold before any route is known.",
    )
    .filled(),
    Field::new("admin", Kind::Section(&admin::ADMIN), "The operator's doors and who may pass them.").filled(),
    Field::new("log", Kind::Section(&log::LOG), "Diagnostics, the access log, and what both hide.").filled(),
    Field::new("audit", Kind::Section(&audit::AUDIT), "Which requests are recorded, where, and for how long.").filled(),
    Field::new(
        "redis",
        Kind::Or("off", &Kind::Section(&redis::REDIS)),
        "The engine by which several proxies are one gateway.",
    ),
    Field::new("identity", Kind::Section(&identity::IDENTITY), "Who can be recognised."),
    Field::new(
        "bans",
        Kind::Or("off", &Kind::Short(&ON, &bans::BANS)),
        "Addresses that earn refusals are refused for a while.",
    )
    .default("off"),
    Field::new("upstreams", Kind::Map(&Kind::Section(&upstream::UPSTREAM)), "Named groups of endpoints."),
    Field::new("routes", Kind::List(&Kind::Section(&routes::ROUTE)), "Which requests, and what becomes of them."),
];

/// The declaration of the whole config.
pub(super) static ROOT: Section = Section {
    name: "config",
    doc: "The whole config. The smallest useful one is a list of `routes`. A policy at the top level is the default of every route; the same key on a route replaces it whole, and `off` removes it.",
    fields: &[SECTIONS, policy::FIELDS, policy::HEADERS_FIELD],
};

/// Parse, merge, resolve, read, check.
pub(super) fn load(input: &Input, references: &References<'_>) -> Result<Checked, Problems> {
    let mut texts = Texts::new();
    let mut report = Reporter::default();
    let mut tree = merge::merge(input, &mut texts, &mut report);
    reference::resolve(&mut tree, &texts, references, &mut report);
    let config = read(&mut Reader::new(&texts, &mut report), &tree);
    let failed = report.has_errors();
    let problems = report.close(&texts);
    match config {
        Some(config) if !failed => Ok(Checked {
            input: input.clone(),
            config: Arc::new(config),
            warnings: problems.0,
            hash: hash(input).into(),
        }),
        _ => Err(problems),
    }
}

/// Reads the whole tree.
pub(super) fn read<'a>(reader: &mut Reader<'a>, tree: &'a Node<'a>) -> Option<Config> {
    let mut fields = reader.section(tree, &ROOT)?;
    let server = fields.section("server", server::read);
    let admin = fields.section("admin", admin::read);
    if let (Some(server), Some(Some(address))) = (&server, admin.as_ref().map(|admin| admin.listen)) {
        check_doors(&mut fields, &server.listen, address);
    }
    let mut log = fields.section("log", log::read);
    let state_dir = server.as_ref().map_or_else(Default::default, |server| server.state_dir.clone());
    let audit = fields.section("audit", |fields| audit::read(fields, &state_dir));
    let redis = fields.section_or_off("redis", redis::read);
    let has_redis = redis.as_ref().is_none_or(Option::is_some);
    let bans = fields.section_or_switch("bans", bans::read);
    let identity = fields.section("identity", |fields| Some(identity::read(fields, has_redis))).unwrap_or_default();
    let upstreams = read_upstreams(&mut fields);
    let mut around = Surroundings::new(fields.reader(), upstreams, identity, has_redis)?;
    around.providers.asks_certificates = server.as_ref().map(|server| certificates::are_asked_for(&server.listen));
    let policies = Policies::read_defaults(&mut fields, &mut around);
    if let Some(policies) = &policies {
        identity::review::check_all_of(&mut fields, policies, &around.identity);
    }
    // Broken top-level policies are reported once; the routes are still read, without them.
    let stand_in = fields.reader().defaults(&ROOT, |fields| Policies::read_defaults(fields, &mut around))?;
    let inherited = Arc::new(policies.clone().unwrap_or(stand_in));
    if let Some(server) = &server {
        let entries = fields.entries;
        certificates::check(fields.reader(), entries, &server.listen);
    }
    let (mut routes, written) = read_routes(&mut fields, &inherited, &mut around);
    if let (Some(server), false) = (&server, fields.reader().failed()) {
        identity::review::warn(&mut fields, &around, server, &inherited, &routes);
        if let Some(Some(_)) = &bans {
            bans::warn(&mut fields, server);
        }
    }
    routes.extend(implied::routes(&mut fields, &around.identity, &inherited, &routes, &written));
    if let Some(log) = &mut log {
        around.identity.hide(&mut log.redact);
    }
    let upstreams = around.upstreams.into_iter().map(Arc::new).collect();
    Some(Config {
        server: server?,
        admin: admin?,
        log: log?,
        audit: audit?,
        upstreams,
        routes,
        policies: policies?,
        identity: around.identity,
        redis: redis?.map(Arc::new),
        bans: bans?.map(Arc::new),
    })
}

/// Traffic and operators must not knock at the same door.
fn check_doors(fields: &mut Fields<'_, '_>, listen: &[Listen], admin: SocketAddr) {
    // `[::]` usually takes IPv4 in too.
    let takes_in = |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let clash = |listen: &Listen| {
        let traffic = listen.address;
        traffic.port() == admin.port()
            && traffic.port() != 0
            && (traffic.ip() == admin.ip() || takes_in(traffic, admin) || takes_in(admin, traffic))
    };
    if !listen.iter().any(clash) {
        return;
    }
    let written = ["admin", "server"].iter().find_map(|section| fields.written(section)?.value.get("listen"));
    let place = written.map_or(fields.place, |node| node.place);
    let fault = Fault::new(Code::DuplicateName, "`admin.listen` and `server.listen` share an address and port")
        .hint("give one of them another port, or write `admin: {listen: off}`");
    fields.reader().under("admin", |reader| reader.under("listen", |reader| reader.error(place, fault)));
}

fn read_upstreams(fields: &mut Fields<'_, '_>) -> (Vec<super::Upstream>, HashSet<Name>) {
    fields
        .get("upstreams", |reader, node, field| Some(upstream::read_all(reader, node, &field.kind)))
        .unwrap_or_default()
}

fn read_routes(
    fields: &mut Fields<'_, '_>,
    inherited: &Arc<Policies>,
    around: &mut Surroundings,
) -> (Vec<super::Route>, Vec<routes::Written>) {
    let routes = fields.get("routes", |reader, node, _| {
        let (routes, written) = routes::read_all(reader, node, inherited, around);
        shadow::check(reader, &routes, &written);
        Some((routes, written))
    });
    // A broken route may have meant the upstream that seems unused.
    if !fields.reader().failed() {
        warn_unused(fields, &around.used);
    }
    routes.unwrap_or_default()
}

fn warn_unused(fields: &mut Fields<'_, '_>, used: &HashSet<Name>) {
    let Some(entry) = fields.written("upstreams") else { return };
    let super::tree::Value::Map(entries) = &entry.value.value else { return };
    fields.reader().under("upstreams", |reader| {
        for entry in entries.iter().filter(|entry| !used.contains(&*entry.key)) {
            let fault =
                Fault::new(Code::Unused, "no route forwards to this upstream").hint("name it in a route, or remove it");
            reader.under(&entry.key, |reader| reader.warn(entry.key_place, fault));
        }
    });
}

/// SHA-256 over everything as typed, each part with its length before it.
fn hash(input: &Input) -> String {
    let mut hasher = Sha256::new();
    let mut part = |text: &str| {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    let texts = |texts: &[Text], part: &mut dyn FnMut(&str)| {
        part(&texts.len().to_string());
        for text in texts {
            part(&text.name);
            part(&text.text);
        }
    };
    texts(&input.files, &mut part);
    texts(&input.overlay, &mut part);
    part(&input.environment.len().to_string());
    for (name, value) in &input.environment {
        part(name);
        part(value);
    }
    for argument in &input.set {
        part(argument);
    }
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
