//! The section `bans`: addresses that earn refusals are refused for a while.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::policy::THREAT_RULES;
use super::problem::Code;
use super::reader::closest;
use super::report::Fault;
use super::server::{NETWORK, Server, network};

/// `bans`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bans {
    /// So many refusals …
    pub refusals: u32,
    /// … within so long …
    pub within: Duration,
    /// … keep an address out for so long; each time again twice as long, up to `longest`.
    pub lasts: Duration,
    pub longest: Duration,
    /// Which refusals count: their codes; `threat` stands for every code that begins with `threat_`.
    pub on: Vec<Arc<str>>,
    /// Never banned.
    pub exempt: Vec<IpNet>,
    /// IPv6 clients are counted, and banned, together by this many leading bits.
    pub ipv6_prefix: u8,
}

/// The refusals that may count: codes as they stand in answers and audit rows; `threat` stands for every one that begins so. Those
/// of the rules of `threats` are told by the rules.
const CODES: &[&str] = &[
    "access_denied",
    "auth_locked",
    "auth_refused",
    "auth_required",
    "bad_host",
    "body_malformed",
    "body_timeout",
    "body_too_large",
    "certificate_expired",
    "certificate_required",
    "certificate_untrusted",
    "credentials_ambiguous",
    "credentials_too_large",
    "headers_too_large",
    "key_expired",
    "key_revoked",
    "key_unknown",
    "login_refused",
    "method_not_allowed",
    "password_wrong",
    "path_encoded_slash",
    "path_malformed",
    "rate_limited",
    "request_line_too_long",
    "request_malformed",
    "role_missing",
    "route_not_found",
    "scope_missing",
    "session_invalid",
    "threat",
    "threat_content_type",
    "threat_json_depth",
    "threat_json_size",
    "threat_method",
    "token_algorithm",
    "token_audience",
    "token_claims",
    "token_expired",
    "token_inactive",
    "token_issuer",
    "token_key_unknown",
    "token_malformed",
    "token_not_yet_valid",
    "token_revoked",
    "token_signature",
];

/// The declaration of the section.
pub(super) static BANS: Section = Section {
    name: "bans",
    doc: "Addresses that earn refusals are refused for a while (403), whatever they ask for but health. Those of `server.trusted_proxies` are not: list the balancers in front there, or their clients, who all have their address, are banned together. `on` is the section with its defaults; `proxyctl bans` lists and lifts them, and they outlive a restart.",
    fields: &[&[
        Field::new("refusals", Kind::Integer { min: 1, max: 1_000_000 }, "So many refusals …").default("20"),
        Field::new("within", Kind::Duration { min: "1s", max: "24h" }, "… within so long …").default("1m"),
        Field::new(
            "for",
            Kind::Duration { min: "1s", max: "365d" },
            "… keep an address out for so long; each time again twice as long.",
        )
        .default("10m"),
        Field::new("longest", Kind::Duration { min: "1s", max: "365d" }, "But never longer than this.").default("24h"),
        Field::new(
            "on",
            Kind::OneOrMany(&Kind::Text {
                what: "the code of a refusal, such as `password_wrong`",
                sample: "password_wrong",
            }),
            "Which refusals count, by their codes; `threat` stands for all of the policy `threats`.",
        )
        .default("[password_wrong, key_unknown, token_signature, token_algorithm, auth_locked, access_denied, threat]"),
        Field::new(
            "exempt",
            Kind::OneOrMany(&NETWORK),
            "Addresses and networks that are never banned, beside `server.trusted_proxies`.",
        )
        .default("[]"),
        Field::new(
            "ipv6_prefix",
            Kind::Integer { min: 1, max: 128 },
            "IPv6 clients are counted, and banned, together by this many leading bits.",
        )
        .default("64"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Bans> {
    let refusals = fields.count("refusals");
    let within = fields.duration("within");
    let (lasts, longest) = (fields.duration("for"), fields.duration("longest"));
    if let (Some(lasts), Some(longest)) = (lasts, longest)
        && lasts > longest
    {
        let key = if fields.written("longest").is_some() { "longest" } else { "for" };
        let fault = Fault::new(Code::Conflict, "the first ban would be longer than the longest");
        fields.fault(key, fault.hint("write `longest` at least as long as `for`"));
    }
    let on = fields.items("on", |reader, node, kind| reader.parse(node, kind, code));
    if let Some([]) = on.as_deref() {
        fields
            .fault("on", Fault::invalid("no refusal is named here").hint("on: [password_wrong, key_unknown, threat]"));
    }
    let exempt = fields.items("exempt", |reader, node, _| network(reader, node));
    let ipv6_prefix = fields.count("ipv6_prefix");
    Some(Bans {
        refusals: refusals?,
        within: within?,
        lasts: lasts?,
        longest: longest?,
        on: on?,
        exempt: exempt?,
        ipv6_prefix: ipv6_prefix?,
    })
}

/// A balancer that nobody told of: its address is everybody's. Where a listener has TLS, none has ended it in front.
pub(super) fn warn(fields: &mut Fields<'_, '_>, server: &Server) {
    let is_said = fields.written("server").is_some_and(|entry| entry.value.get("trusted_proxies").is_some());
    if is_said || server.listen.iter().any(|listen| listen.tls.is_some()) {
        return;
    }
    let fault = Fault::new(
        Code::MissingKey,
        "`server.trusted_proxies` is missing: behind a balancer all clients have its address, and a ban shuts them all out",
    )
    .hint("list the balancers: `trusted_proxies: [10.0.0.0/8]`; or say that there are none: `[]`");
    fields.warn("bans", fault);
}

fn code(text: &str) -> Result<Arc<str>, Fault> {
    let is_rule = |name: &str| THREAT_RULES.contains(&name);
    if CODES.contains(&text) || text.strip_prefix("threat_").is_some_and(is_rule) {
        return Ok(text.into());
    }
    if text == "banned" {
        return Err(Fault::invalid("a ban does not earn the next one").hint("remove it"));
    }
    let fault = Fault::new(Code::UnknownName, "no refusal that an address could be banned for has this code");
    if is_rule(text) {
        return Err(fault.hint(format!("did you mean `threat_{text}`?")));
    }
    Err(match closest(text, CODES.iter().copied()) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => fault.hint(format!("known are {}, and `threat_` with each rule of `threats`", CODES.join(", "))),
    })
}
