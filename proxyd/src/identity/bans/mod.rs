//! Who is kept out for a while: those who earned it by their refusals, and those whom an operator banned. In memory, for every
//! worker at once; `state` keeps them on disk.

mod tally;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockWriteGuard};

use arc_swap::ArcSwap;
use directory::BanRow;
use ipnet::IpNet;
use shared::config::{self, parse_network};

use self::tally::Tally;
use self::telling::Telling;

/// A power of two.
const SHARDS: usize = 64;

/// Bans, with those that are remembered. Beyond that those are forgotten that are over; where none is, nobody earns another one: they
/// are refused one by one. On disk there are no more either, but those in force.
pub const MOST: usize = 200_000;

/// Where there was nothing to forget, it is looked for again after so long.
const LOOK_AGAIN_S: i64 = 10;

/// Who bans those who earn it.
const OURSELVES: &str = "proxyd";

/// See the module.
#[derive(Debug)]
pub struct BanList {
    hasher: RandomState,
    shards: Box<[RwLock<HashMap<IpNet, Ban>>]>,
    /// Bans that may be in force.
    active: AtomicUsize,
    /// All, with those that are remembered.
    known: AtomicUsize,
    /// Another number after each new ban.
    changes: AtomicU64,
    /// The sizes that banned networks have: an address is looked up once for each.
    sizes: ArcSwap<Sizes>,
    counted: Mutex<BTreeMap<(bool, u8), usize>>,
    tally: Tally,
    /// How many may be known; fewer in tests.
    most: usize,
    /// Until when it is known that there is no room.
    full_until_s: AtomicI64,
    /// Bans that were earned and that there was no room for.
    missed: AtomicU64,
    /// Whether that was said, since there was room.
    is_told: AtomicBool,
    telling: Telling,
}

/// Prefix lengths, the most exact first.
#[derive(Debug, Default)]
struct Sizes {
    v4: Box<[u8]>,
    v6: Box<[u8]>,
}

#[derive(Clone, Debug)]
struct Ban {
    row: BanRow,
    /// Whether it counts as active.
    is_active: bool,
    /// Whether it is on disk.
    is_kept: bool,
}

/// Whose bans hold, by a generation of the config.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub bans: Option<&'a config::Bans>,
    /// Through them everybody comes: a ban of theirs would shut out all.
    pub trusted_proxies: &'a [IpNet],
}

impl<'a> Terms<'a> {
    pub fn of(config: &'a config::Config) -> Self {
        Self { bans: config.bans.as_deref(), trusted_proxies: &config.server.trusted_proxies }
    }

    /// Whether no ban keeps this address out, whatever was earned or written.
    fn spares(&self, ip: IpAddr) -> bool {
        self.spared().any(|spared| spared.contains(&ip))
    }

    fn spared(&self) -> impl Iterator<Item = &'a IpNet> {
        self.bans.into_iter().flat_map(|bans| &bans.exempt).chain(self.trusted_proxies)
    }

    /// Whether bans like this one hold: where the config has none, only those that operators said.
    fn counts(&self, row: &BanRow) -> bool {
        self.bans.is_some() || row.by != OURSELVES
    }

    /// Whether this ban keeps anybody out.
    pub fn holds(&self, row: &BanRow) -> bool {
        self.counts(row) && parse_network(&row.network).is_none_or(|network| self.spared_by(&network).is_none())
    }

    /// What in the config spares all of a network, if something does.
    pub fn spared_by(&self, network: &IpNet) -> Option<&'static str> {
        let has = |list: &[IpNet]| list.iter().any(|spared| spared.contains(network));
        if has(self.trusted_proxies) {
            return Some("server.trusted_proxies");
        }
        self.bans.is_some_and(|bans| has(&bans.exempt)).then_some("bans.exempt")
    }
}

/// A ban that was earned just now. It is in force; it remains to be kept ([`super::state::State::keep_ban`]) and told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBan {
    pub row: BanRow,
}

impl Default for BanList {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self {
            hasher,
            shards,
            active: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
            changes: AtomicU64::new(0),
            sizes: ArcSwap::default(),
            counted: Mutex::default(),
            tally: Tally::default(),
            most: MOST,
            full_until_s: AtomicI64::new(i64::MIN),
            missed: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            telling: Telling::default(),
        }
    }
}

impl BanList {
    /// Those that are kept, with those that are only remembered.
    pub fn of(rows: Vec<BanRow>, now_s: i64) -> Self {
        let bans = Self::default();
        bans.reload(rows, now_s);
        bans
    }

    /// Until when this address is kept out, if it is. One load where nobody is.
    pub fn check(&self, ip: IpAddr, now_s: i64) -> Option<i64> {
        if self.active.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.longest(ip.to_canonical(), now_s, |_| true)
    }

    /// The same as the config says now. Asked where [`Self::check`] says that somebody is.
    pub fn check_now(&self, ip: IpAddr, now_s: i64, terms: &Terms<'_>) -> Option<i64> {
        let ip = ip.to_canonical();
        if terms.spares(ip) { None } else { self.longest(ip, now_s, |row| terms.counts(row)) }
    }

    fn longest(&self, ip: IpAddr, now_s: i64, counts: impl Fn(&BanRow) -> bool) -> Option<i64> {
        let sizes = self.sizes.load();
        let sizes = if ip.is_ipv4() { &sizes.v4 } else { &sizes.v6 };
        let until = |size: &u8| {
            let network = IpNet::new(ip, *size).ok()?.trunc();
            self.read(&network, |ban| counts(&ban.row).then_some(ban.row.until_s)).flatten()
        };
        sizes.iter().filter_map(until).filter(|until_s| *until_s > now_s).max()
    }

    /// Notes that this address was refused, with this code. The ban that it has earned by that, if it has.
    pub fn note(&self, ip: IpAddr, code: &str, terms: &Terms<'_>, now_s: i64) -> Option<NewBan> {
        let config = terms.bans?;
        // `threat` stands for every rule of theirs.
        let is_meant = |on: &str| on == code || (on == "threat" && code.starts_with("threat_"));
        if !config.on.iter().any(|on| is_meant(on)) {
            return None;
        }
        let ip = ip.to_canonical();
        if terms.spares(ip) || self.check(ip, now_s).is_some() {
            return None;
        }
        let size = if ip.is_ipv4() { 32 } else { config.ipv6_prefix.min(128) };
        let network = IpNet::new(ip, size).ok()?.trunc();
        let within_s = seconds(config.within);
        if !self.tally.count(network, config.refusals, within_s, now_s) {
            return None;
        }
        let before = self.read(&network, |ban| (ban.row.forgotten_s() > now_s).then_some(ban.row.times)).flatten();
        if before.is_none() && !self.has_room(&network, now_s) {
            self.missed.fetch_add(1, Ordering::Relaxed);
            if !self.is_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    most = self.most,
                    "there is no room for another ban: whoever earns one is refused request by request"
                );
            }
            return None;
        }
        let times = before.unwrap_or(0).saturating_add(1);
        let longest_s = seconds(config.longest.max(config.lasts));
        let lasts_s = seconds(config.lasts).saturating_mul(1_i64 << (times - 1).min(40)).min(longest_s);
        let row = BanRow {
            network: network.to_string(),
            until_s: now_s.saturating_add(lasts_s),
            since_s: now_s,
            reason: code.to_owned(),
            times,
            by: OURSELVES.to_owned(),
        };
        self.insert(network, row.clone(), false);
        self.telling.earned(&row, lasts_s, now_s);
        Some(NewBan { row })
    }

    /// Whether one more may be known; some that are over are forgotten for it.
    fn has_room(&self, network: &IpNet, now_s: i64) -> bool {
        let is_full = || self.known.load(Ordering::Relaxed) >= self.most;
        if !is_full() {
            return true;
        }
        if self.full_until_s.load(Ordering::Relaxed) > now_s {
            return false;
        }
        // One shard after the other, from where the new one is to be: almost always the first has some.
        let first = self.index(network);
        for shard in self.shards.iter().cycle().skip(first).take(SHARDS) {
            self.retain_in(shard, |_, ban| ban.row.until_s > now_s);
            if !is_full() {
                return true;
            }
        }
        self.full_until_s.store(now_s.saturating_add(LOOK_AGAIN_S), Ordering::Relaxed);
        false
    }

    /// Bans a network, in place of what is known of it. False: it is none.
    pub fn add(&self, row: BanRow) -> bool {
        let Some(network) = parse_network(&row.network) else { return false };
        self.insert(network, row, true);
        true
    }

    /// Lifts a ban, and forgets it and what was counted. Whether there was one.
    pub fn lift(&self, network: &IpNet) -> bool {
        let network = network.trunc();
        self.tally.forget(&network);
        let Some(mut shard) = self.write(&network) else { return false };
        let gone = shard.remove(&network);
        self.uncount(&network, gone.as_ref());
        gone.is_some()
    }

    /// The bans in force, the oldest first.
    pub fn list(&self, now_s: i64) -> Vec<BanRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            rows.extend(shard.values().filter(|ban| ban.row.until_s > now_s).map(|ban| ban.row.clone()));
        }
        rows.sort_by(|a, b| (a.since_s, &a.network).cmp(&(b.since_s, &b.network)));
        rows
    }

    /// Those that are over and remembered, so that the next one is longer.
    pub fn remembered(&self, now_s: i64) -> Vec<BanRow> {
        let mut rows = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let is_over = |row: &BanRow| row.until_s <= now_s && row.forgotten_s() > now_s;
            rows.extend(shard.values().filter(|ban| is_over(&ban.row)).map(|ban| ban.row.clone()));
        }
        rows.sort_by(|a, b| (a.since_s, &a.network).cmp(&(b.since_s, &b.network)));
        rows
    }

    /// The ban that keeps this address out the longest, if one does.
    pub fn of_address(&self, ip: IpAddr, now_s: i64, terms: &Terms<'_>) -> Option<BanRow> {
        let until_s = self.check_now(ip, now_s, terms)?;
        let ip = ip.to_canonical();
        let is_it = |row: &BanRow| {
            row.until_s == until_s
                && terms.counts(row)
                && parse_network(&row.network).is_some_and(|network| network.contains(&ip))
        };
        self.list(now_s).into_iter().find(is_it)
    }

    /// Bans that were earned and that there was no room for.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Another number after each new ban, raised once it is in force.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Bans that may be in force.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// Takes up what is kept now: whatever was kept and is no more was lifted. What is newer here and is still to be kept stays.
    pub fn reload(&self, rows: Vec<BanRow>, now_s: i64) {
        let mut kept = std::collections::HashSet::new();
        for row in self.fitting(rows, now_s) {
            if let Some(network) = parse_network(&row.network) {
                kept.insert(network);
                let is_older = |ban: &Ban| !ban.is_kept && ban.row.since_s >= row.since_s;
                self.insert_unless(is_older, network, row.clone(), true);
            }
        }
        self.retain(|network, ban| kept.contains(network) || !ban.is_kept);
        self.sweep(now_s);
    }

    /// Those in force, and of those that are over as many as there is room for: the ones that ended last.
    fn fitting(&self, mut rows: Vec<BanRow>, now_s: i64) -> Vec<BanRow> {
        if rows.len() > self.most {
            rows.sort_by_key(|row| std::cmp::Reverse(row.until_s));
            let in_force = rows.partition_point(|row| row.until_s > now_s);
            rows.truncate(self.most.max(in_force));
        }
        rows
    }

    /// Ends what is over, and forgets what is no more remembered.
    pub fn sweep(&self, now_s: i64) {
        self.telling.untold(now_s);
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            for (network, ban) in shard.iter_mut().filter(|(_, ban)| ban.is_active && ban.row.until_s <= now_s) {
                ban.is_active = false;
                self.inactive(network);
            }
        }
        self.retain(|_, ban| ban.row.forgotten_s() > now_s);
        if self.known.load(Ordering::Relaxed) < self.most {
            self.is_told.store(false, Ordering::Relaxed);
        }
    }

    /// Whether this very ban is still known.
    pub(super) fn has(&self, row: &BanRow) -> bool {
        parse_network(&row.network).and_then(|network| self.read(&network, |ban| ban.row == *row)).unwrap_or(false)
    }

    /// Notes that a ban is on disk.
    pub(super) fn kept(&self, row: &BanRow) {
        if let Some(network) = parse_network(&row.network)
            && let Some(mut shard) = self.write(&network)
            && let Some(ban) = shard.get_mut(&network).filter(|ban| ban.row == *row)
        {
            ban.is_kept = true;
        }
    }

    fn index(&self, network: &IpNet) -> usize {
        self.hasher.hash_one(network) as usize % SHARDS
    }

    fn write(&self, network: &IpNet) -> Option<RwLockWriteGuard<'_, HashMap<IpNet, Ban>>> {
        let shard = self.shards.get(self.index(network))?;
        Some(shard.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, network: &IpNet, look: impl FnOnce(&Ban) -> T) -> Option<T> {
        let shard = self.shards.get(self.index(network))?.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(network).map(look)
    }

    fn insert(&self, network: IpNet, row: BanRow, is_kept: bool) {
        self.insert_unless(|_| false, network, row, is_kept);
    }

    /// Unless the ban that is there is to stay.
    fn insert_unless(&self, stays: impl FnOnce(&Ban) -> bool, network: IpNet, row: BanRow, is_kept: bool) {
        let Some(mut shard) = self.write(&network) else { return };
        if shard.get(&network).is_some_and(stays) {
            return;
        }
        let before = shard.insert(network, Ban { row, is_active: true, is_kept });
        // Before the old one is taken off: it is never out of force in between.
        self.known.fetch_add(1, Ordering::Relaxed);
        self.sized(&network, true);
        self.active.fetch_add(1, Ordering::Relaxed);
        self.uncount(&network, before.as_ref());
        drop(shard);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn retain(&self, keep: impl Fn(&IpNet, &Ban) -> bool) {
        for shard in &self.shards {
            self.retain_in(shard, &keep);
        }
    }

    fn retain_in(&self, shard: &RwLock<HashMap<IpNet, Ban>>, keep: impl Fn(&IpNet, &Ban) -> bool) {
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        shard.retain(|network, ban| {
            let stays = keep(network, ban);
            if !stays {
                self.uncount(network, Some(ban));
            }
            stays
        });
    }

    fn uncount(&self, network: &IpNet, gone: Option<&Ban>) {
        let Some(ban) = gone else { return };
        self.known.fetch_sub(1, Ordering::Relaxed);
        if ban.is_active {
            self.inactive(network);
        }
    }

    fn inactive(&self, network: &IpNet) {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.sized(network, false);
    }

    /// Counts the sizes of active networks, and tells the lookups when there is another one, or one less.
    fn sized(&self, network: &IpNet, more: bool) {
        let key = (network.addr().is_ipv4(), network.prefix_len());
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counted.entry(key).or_default();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        let changes = if more { *count == 1 } else { *count == 0 };
        if *count == 0 {
            counted.remove(&key);
        }
        if changes {
            let sizes = |is_v4: bool| counted.keys().rev().filter(|key| key.0 == is_v4).map(|key| key.1).collect();
            self.sizes.store(std::sync::Arc::new(Sizes { v4: sizes(true), v6: sizes(false) }));
        }
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    // A part of a second is one: nothing lasts for none.
    i64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1)
}
