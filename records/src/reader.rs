//! Answers: the newest rows that match, the rows after a number, the head. Reads only, one short reading at a time, so
//! that the writer is never kept waiting.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value;
use shared::audit::filter::{Client, PathFilter};
use shared::audit::{Filter, RequestRow, Row};

use crate::rows::{self, Lookup};
use crate::segment::{Segment, segments};
use crate::verify::Head;
use crate::{StoreError, meta, schema};

/// Rows looked at in one go: few at first, so that a quick answer is quick, then more.
const FIRST_WINDOW: u64 = 8192;
const LARGEST_WINDOW: u64 = 262_144;

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Oldest first.
    pub rows: Vec<Row>,
    /// None: everything was looked at (or enough was found). Otherwise time ran out, and rows before this number were
    /// not looked at.
    pub reached: Option<u64>,
}

/// Reads a store, written by whomever.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// A reader of the store in `dir`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The newest rows that match, within `limit` of time.
    pub fn search(&self, filter: &Filter, limit: Duration) -> Result<Found, StoreError> {
        let deadline = Instant::now() + limit;
        let mut found = Vec::new();
        let mut before = filter.before.unwrap_or(u64::MAX).min(i64::MAX as u64);
        for segment in
            segments(&self.dir)?.iter().rev().filter(|segment| segment.first_seq < filter.before.unwrap_or(u64::MAX))
        {
            if found.len() >= filter.last {
                break;
            }
            if !found.is_empty() && Instant::now() >= deadline {
                return Ok(in_order(found, Some(before)));
            }
            let conn = match schema::read(segment) {
                Ok(Some(conn)) => conn,
                Ok(None) => continue,
                // Retention took it after it was listed.
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            let mut search = Search { segment, conn: &conn, filter, lookup: Lookup::default(), found: &mut found };
            let reached = search.segment(before, deadline).map_err(|error| StoreError::sqlite(&segment.path, error))?;
            if let Some(reached) = reached {
                return Ok(in_order(found, Some(reached)));
            }
            before = segment.first_seq;
        }
        Ok(in_order(found, None))
    }

    /// The rows after `seq` that match, oldest first, at most `filter.last`; and the number up to which rows were looked
    /// at: where to go on. For following the store as it grows.
    pub fn after(&self, seq: u64, filter: &Filter) -> Result<(Vec<Row>, u64), StoreError> {
        let mut at = seq;
        let all = segments(&self.dir)?;
        let ends = all.iter().skip(1).map(|segment| segment.first_seq).chain([u64::MAX]);
        for (segment, _) in all.iter().zip(ends).filter(|(_, end)| *end > seq + 1) {
            let conn = match schema::read(segment) {
                Ok(Some(conn)) => conn,
                Ok(None) => continue,
                Err(error) if error.is_absent() => continue,
                Err(error) => return Err(error),
            };
            let lift = |error| StoreError::sqlite(&segment.path, error);
            let Some((last, _)) = meta::newest(&conn).map_err(lift)? else { continue };
            at = at.max(segment.first_seq - 1);
            while at < last {
                let until = last.min(at + FIRST_WINDOW);
                let mut found = Vec::new();
                let mut search = Search { segment, conn: &conn, filter, lookup: Lookup::default(), found: &mut found };
                search.window(at + 1, until, Order::OldestFirst, None).map_err(lift)?;
                if !found.is_empty() {
                    // A full answer may have left rows of the window out.
                    let looked_at =
                        if found.len() >= filter.last { found.last().map_or(until, Row::seq) } else { until };
                    return Ok((found, looked_at));
                }
                at = until;
            }
        }
        Ok((Vec::new(), at))
    }

    /// The newest row's number and link; zeros where there is none.
    pub fn head(&self) -> Result<Head, StoreError> {
        for segment in segments(&self.dir)?.iter().rev() {
            let Some(conn) = schema::read(segment)? else { continue };
            let lift = |error| StoreError::sqlite(&segment.path, error);
            return match meta::newest(&conn).map_err(lift)? {
                Some((seq, link)) => Ok(Head { seq, link: link.unwrap_or_default() }),
                None => {
                    meta::predecessor(&conn).map(|before| Head { seq: before.seq, link: before.link }).map_err(lift)
                }
            };
        }
        Ok(Head::default())
    }
}

fn in_order(mut rows: Vec<Row>, reached: Option<u64>) -> Found {
    rows.reverse();
    Found { rows, reached }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

/// A search in one segment.
struct Search<'a> {
    segment: &'a Segment,
    conn: &'a Connection,
    filter: &'a Filter,
    lookup: Lookup,
    found: &'a mut Vec<Row>,
}

impl Search<'_> {
    /// Looks at the rows before `before`, newest first. Some: time ran out there.
    fn segment(&mut self, before: u64, deadline: Instant) -> rusqlite::Result<Option<u64>> {
        if self.is_out_of_time_range()? {
            return Ok(None);
        }
        if let Some(index) = self.index()? {
            self.window(self.segment.first_seq, before - 1, Order::NewestFirst, Some(index))?;
            return Ok(None);
        }
        let Some((newest, _)) = meta::newest(self.conn)? else { return Ok(None) };
        let mut size = FIRST_WINDOW;
        let mut end = newest.min(before - 1);
        while end >= self.segment.first_seq && self.found.len() < self.filter.last {
            let Some((low, high)) = self.next_window(end, size)? else { return Ok(None) };
            self.window(low, high, Order::NewestFirst, None)?;
            if self.found.len() < self.filter.last && low > self.segment.first_seq && Instant::now() >= deadline {
                return Ok(Some(low));
            }
            end = low - 1;
            size = (size * 2).min(LARGEST_WINDOW);
        }
        Ok(None)
    }

    /// Whether a closed segment's rows are all outside the times asked for.
    fn is_out_of_time_range(&self) -> rusqlite::Result<bool> {
        let (since, until) = (self.filter.since_us, self.filter.until_us);
        if since.is_none() && until.is_none() {
            return Ok(false);
        }
        let oldest: Option<i64> = meta::get(self.conn, "oldest_us")?;
        let newest: Option<i64> = meta::get(self.conn, "newest_us")?;
        Ok(newest.zip(since).is_some_and(|(newest, since)| newest < since)
            || oldest.zip(until).is_some_and(|(oldest, until)| oldest > until))
    }

    /// The index of a closed segment that answers this filter.
    fn index(&self) -> rusqlite::Result<Option<&'static str>> {
        let wanted = match (&self.filter.request_id, &self.filter.client) {
            (Some(_), _) => "requests_by_request_id",
            (None, Some(Client::Address(_))) => "requests_by_client",
            (None, Some(Client::Network(_)) | None) => return Ok(None),
        };
        Ok((meta::get::<i64>(self.conn, "indexed")? == Some(1)).then_some(wanted))
    }

    /// The next stretch of about `size` rows up to `end` whose times may match.
    fn next_window(&self, end: u64, size: u64) -> rusqlite::Result<Option<(u64, u64)>> {
        let (since, until) = (self.filter.since_us, self.filter.until_us);
        let floor = |high: u64| high.saturating_sub(size - 1).max(self.segment.first_seq);
        if since.is_none() && until.is_none() {
            return Ok(Some((floor(end), end)));
        }
        let last_span: i64 = self
            .conn
            .prepare_cached("SELECT coalesce(max(last_seq), 0) FROM spans")?
            .query_row([], |row| row.get(0))?;
        if end > last_span as u64 {
            return Ok(Some((floor(end).max(last_span as u64 + 1), end)));
        }
        // Only spans that may match are looked at; the others are passed over by this table alone.
        let mut statement = self.conn.prepare_cached(
            "SELECT first_seq, last_seq FROM spans WHERE first_seq <= ?1 AND newest_us >= ?2 AND oldest_us <= ?3 \
             ORDER BY last_seq DESC LIMIT 1",
        )?;
        let range = (end as i64, since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        let mut rows = statement.query(range)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (first, last) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        let high = last.min(end);
        Ok(Some((first.max(floor(high)), high)))
    }

    /// Adds what matches between `low` and `high`, both included, until enough is found.
    fn window(&mut self, low: u64, high: u64, order: Order, index: Option<&str>) -> rusqlite::Result<()> {
        let wanted = self.filter.last.saturating_sub(self.found.len());
        let mut rows = Vec::new();
        if self.filter.requests {
            self.requests((low, high), wanted, order, index, &mut rows)?;
        }
        if self.filter.actions {
            let conditions = Conditions::of_actions(self.filter, low, high);
            let (sql, values) = conditions.select("* FROM actions", order, wanted);
            let mut statement = self.conn.prepare(&sql)?;
            let mut found = statement.query(rusqlite::params_from_iter(values))?;
            while let Some(row) = found.next()? {
                rows.push(Row::Action(rows::action(row)?.0));
            }
        }
        let (sql, values) = Conditions::of_time(self.filter, low, high).select("* FROM gaps", order, wanted);
        let mut statement = self.conn.prepare(&sql)?;
        let mut found = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = found.next()? {
            rows.push(Row::Gap(rows::gap(row)?.0));
        }
        match order {
            Order::NewestFirst => rows.sort_by_key(|row| std::cmp::Reverse(row.seq())),
            Order::OldestFirst => rows.sort_by_key(Row::seq),
        }
        rows.truncate(wanted);
        self.found.append(&mut rows);
        Ok(())
    }

    fn requests(
        &mut self,
        (low, high): (u64, u64),
        wanted: usize,
        order: Order,
        index: Option<&str>,
        out: &mut Vec<Row>,
    ) -> rusqlite::Result<()> {
        // A network is no condition that SQLite can test: such rows are counted here.
        let network = self.filter.client.as_ref().filter(|client| matches!(client, Client::Network(_)));
        let limit = if network.is_some() { i64::MAX as usize } else { wanted };
        let index = index.map(|index| format!(" INDEXED BY {index}")).unwrap_or_default();
        let columns = schema::request_columns(self.conn)?;
        let conditions = Conditions::of_requests(self.filter, schema::has_credentials(columns), low, high);
        let (sql, values) = conditions.select(&format!("{columns} FROM requests{index}"), order, limit);
        let mut statement = self.conn.prepare(&sql)?;
        let mut found = statement.query(rusqlite::params_from_iter(values))?;
        while out.len() < wanted
            && let Some(row) = found.next()?
        {
            if let Some(network) = network
                && !row.get_ref(6)?.as_str().is_ok_and(|client| network.matches(client))
            {
                continue;
            }
            let row = rows::request(self.conn, &mut self.lookup, row, |seq, facts, _| RequestRow::of(seq, facts))?;
            out.push(Row::Request(row));
        }
        Ok(())
    }
}

/// The conditions of a SELECT, and their values.
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn of_time(filter: &Filter, low: u64, high: u64) -> Self {
        let mut conditions = Self { sql: "seq BETWEEN ? AND ?".to_owned(), values: Vec::new() };
        conditions.values.extend([Value::Integer(low as i64), Value::Integer(high.min(i64::MAX as u64) as i64)]);
        conditions.and("time_us >= ?", filter.since_us);
        conditions.and("time_us <= ?", filter.until_us);
        conditions
    }

    fn of_actions(filter: &Filter, low: u64, high: u64) -> Self {
        let mut conditions = Self::of_time(filter, low, high);
        conditions.and("instr(actor, ?) > 0", filter.actor.clone());
        conditions.and("outcome = ?", filter.outcome.clone());
        conditions
    }

    /// `has_credentials`: whether the segment has such a column.
    fn of_requests(filter: &Filter, has_credentials: bool, low: u64, high: u64) -> Self {
        let mut conditions = Self::of_time(filter, low, high);
        if let Some((from, until)) = filter.status {
            conditions.and("status >= ?", Some(i64::from(from)));
            conditions.and("status <= ?", Some(i64::from(until)));
        }
        for (column, text) in [
            ("route", &filter.route),
            ("upstream", &filter.upstream),
            ("outcome", &filter.outcome),
            ("principal", &filter.principal),
        ] {
            if let Some(text) = text {
                conditions.and(
                    &format!("{column} IN (SELECT id FROM texts WHERE text = ? UNION ALL SELECT ?)"),
                    Some(text.clone()),
                );
                conditions.values.push(Value::Text(text.clone()));
            }
        }
        if let Some(credential) = &filter.credential {
            if has_credentials {
                conditions.and(
                    "CASE typeof(credential) WHEN 'integer' THEN credential IN (SELECT id FROM texts WHERE instr(text, ?) > 0) \
                     ELSE instr(credential, ?) > 0 END",
                    Some(credential.clone()),
                );
                conditions.values.push(Value::Text(credential.clone()));
            } else {
                conditions.sql.push_str(" AND 0");
            }
        }
        if let Some(Client::Address(address)) = &filter.client {
            conditions.and("client = ?", Some(address.clone()));
        }
        match &filter.path {
            Some(PathFilter::Exact(path)) => conditions.and("path = ?", Some(path.clone())),
            Some(PathFilter::Prefix(prefix)) => {
                conditions.and("substr(path, 1, ?) = ?", Some(prefix.chars().count() as i64));
                conditions.values.push(Value::Text(prefix.clone()));
            }
            None => {}
        }
        if filter.retried {
            conditions.sql.push_str(" AND attempts > 1");
        }
        if let Some(method) = &filter.method {
            conditions.and("method IN (?, ?)", Some(method.clone()));
            conditions.values.push(Value::Text(method.to_ascii_uppercase()));
        }
        if let Some(id) = &filter.request_id {
            let packed = crate::append::packed_id(id);
            conditions.and(
                "request_id = ?",
                Some(packed.map_or_else(|| Value::Text(id.clone()), |id| Value::Blob(id.to_vec()))),
            );
        }
        conditions
    }

    fn and<T: Into<Value>>(&mut self, sql: &str, value: Option<T>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(sql);
            self.values.push(value.into());
        }
    }

    fn select(self, what: &str, order: Order, limit: usize) -> (String, Vec<Value>) {
        let direction = if order == Order::NewestFirst { "DESC" } else { "ASC" };
        (format!("SELECT {what} WHERE {} ORDER BY seq {direction} LIMIT {limit}", self.sql), self.values)
    }
}
