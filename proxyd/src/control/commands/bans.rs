//! `bans`, `bans_add` and `bans_lift`: addresses that are refused for a while.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use directory::BanRow;
use ipnet::IpNet;
use shared::config::{self, Config};
use shared::control::report::{BanChange, BanChanged, BanFacts, BanLine};
use shared::control::{BansAddArgs, BansLiftArgs, ControlError, ErrorCode};

use super::known::{actor, invalid, moment, now_s, on_disk, stream};
use crate::control::Reply;
use crate::identity::State;
use crate::identity::bans::Terms;

/// Where nobody says for how long.
const USUAL: Duration = Duration::from_hours(1);
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_hours(24 * 365);

/// Bytes of a reason.
const REASON_BYTES: usize = 200;

pub(super) fn list(state: &State, config: &Config) -> Reply {
    let (terms, now_s) = (Terms::of(config), now_s());
    let rows = state.bans.list(now_s).into_iter().chain(state.bans.remembered(now_s));
    let lines: Vec<BanLine> = rows
        .map(|row| BanLine {
            holds: row.until_s > now_s && terms.holds(&row),
            remembered: row.until_s <= now_s,
            network: shown(&row.network),
            until: moment(row.until_s),
            since: moment(row.since_s),
            reason: row.reason,
            times: u64::from(row.times),
            by: row.by,
        })
        .collect();
    stream("bans", lines.into_iter())
}

pub(super) async fn add(
    state: &Arc<State>,
    config: &Config,
    args: BansAddArgs,
    by: &str,
) -> Result<BanChanged, ControlError> {
    let network = to_refuse(&args.network)?;
    let lasts = args.lasts.map_or(Ok(USUAL), |text| config::time(&text, LEAST, MOST));
    let lasts = lasts.map_err(|message| invalid(format!("`for`: {message}")))?;
    let reason = match args.reason.as_deref().map(str::trim) {
        None | Some("") => "operator".to_owned(),
        Some(reason) if reason.len() > REASON_BYTES || reason.chars().any(char::is_control) => {
            return Err(invalid(format!("`reason` has at most {REASON_BYTES} bytes, and no control characters")));
        }
        Some(reason) => reason.to_owned(),
    };
    let (now_s, by) = (now_s(), actor(by));
    let until_s = now_s.saturating_add(lasts.as_secs().cast_signed());
    let (before, row) = on_disk(state, move |state| {
        let before = standing(state, network, now_s);
        Ok((before, state.ban(network, until_s, &reason, &by, now_s)?))
    })
    .await?;
    Ok(BanChanged {
        network: shown(&row.network),
        changes: BanChange { before: before.as_ref().map(facts), after: Some(facts(&row)) },
        spared: Terms::of(config).spared_by(&network).map(str::to_owned),
        audited: true,
    })
}

pub(super) async fn lift(state: &Arc<State>, args: BansLiftArgs) -> Result<BanChanged, ControlError> {
    let network = network(&args.network)?;
    let now_s = now_s();
    let before = on_disk(state, move |state| {
        let before = standing(state, network, now_s);
        // One that is over is forgotten too, so that the next is not the longer for it.
        state.ban_lift(network)?;
        Ok(before)
    })
    .await?;
    let Some(before) = before else {
        return Err(ControlError::new(ErrorCode::NotFound, not_banned(state, network, now_s)));
    };
    Ok(BanChanged {
        network: shown(&before.network),
        changes: BanChange { before: Some(facts(&before)), after: None },
        spared: None,
        audited: true,
    })
}

fn facts(row: &BanRow) -> BanFacts {
    BanFacts { until: moment(row.until_s), reason: row.reason.clone() }
}

/// The ban of this very network that is in force.
fn standing(state: &State, network: IpNet, now_s: i64) -> Option<BanRow> {
    state.bans.list(now_s).into_iter().find(|row| config::parse_network(&row.network) == Some(network))
}

/// That there is no such ban; and which one keeps it out all the same.
fn not_banned(state: &State, network: IpNet, now_s: i64) -> String {
    let named = shown(&network.to_string());
    let rows = state.bans.list(now_s);
    let holds = |row: &&BanRow| config::parse_network(&row.network).is_some_and(|around| around.contains(&network));
    match rows.iter().find(holds).map(|row| shown(&row.network)) {
        Some(around) => format!("{named} is refused by {around}: `proxyctl bans lift {around}`"),
        None => format!("{named} is not banned; `proxyctl bans` lists what is"),
    }
}

/// An address, or a network without host bits.
fn network(text: &str) -> Result<IpNet, ControlError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let form = || invalid("`network` must be an address, or a network such as 203.0.113.0/24");
    let network: IpNet = text.parse().map_err(|_| form())?;
    if network != network.trunc() {
        return Err(invalid(format!("{network} has bits behind its prefix: {} is the network", network.trunc())));
    }
    // An IPv4 network in IPv6's form is the IPv4 network.
    config::parse_network(text).ok_or_else(form)
}

/// The same, where it is not everybody.
fn to_refuse(text: &str) -> Result<IpNet, ControlError> {
    let network = network(text)?;
    if network.prefix_len() == 0 {
        return Err(invalid("this is everybody: to refuse everybody, close the listener"));
    }
    Ok(network)
}

/// An address by itself is shown without its length.
pub(super) fn shown(network: &str) -> String {
    match network.parse::<IpNet>() {
        Ok(network) if network.prefix_len() == network.max_prefix_len() => network.addr().to_string(),
        Ok(_) | Err(_) => network.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (to_refuse(text), expected) {
            (Ok(network), Ok(expected)) => assert_eq!(shown(&network.to_string()), expected, "{text}"),
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn networks_are_exact() {
        check("", Err("must be an address"));
        check("localhost", Err("must be an address"));
        check("10.0.0", Err("must be an address"));
        check("10.0.0.1/33", Err("must be an address"));
        check("10.0.0.1/8", Err("10.0.0.0/8 is the network"));
        check("0.0.0.0/0", Err("everybody"));
        check("::/0", Err("everybody"));
        check("::ffff:0:0/96", Err("everybody"));
        check("10.0.0.1", Ok("10.0.0.1"));
        check("10.0.0.1/32", Ok("10.0.0.1"));
        check("::ffff:10.0.0.1", Ok("10.0.0.1"));
        check("::ffff:10.0.0.0/104", Ok("10.0.0.0/8"));
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("2001:DB8::/48", Ok("2001:db8::/48"));
        check("2001:db8::1", Ok("2001:db8::1"));
        for (text, listed) in [("0.0.0.0/0", "0.0.0.0/0"), ("::ffff:0:0/96", "0.0.0.0/0"), ("::/0", "::/0")] {
            assert_eq!(network(text).unwrap().to_string(), listed, "what was banned before can be lifted");
        }
    }
}
