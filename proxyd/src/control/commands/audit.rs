//! `audit`: rows that match, and with `follow` those that come after.

use std::sync::Arc;
use std::time::Duration;

use shared::audit::{AuditQuery, Filter, Row};
use shared::control::report::AuditEnd;
use shared::control::{ControlError, ErrorCode};

use crate::audit::{SearchError, Writer};
use crate::control::{Reply, Sink};

/// How often the store is looked at for new rows.
const LOOK: Duration = Duration::from_millis(200);

/// Rows taken from the store at once while following.
const STRIDE: usize = 500;

pub(super) async fn rows(writer: Arc<Writer>, query: &AuditQuery) -> Result<Reply, ControlError> {
    let filter = Writer::filter(query)?;
    if query.after.is_some() && !query.follow {
        return Err(ControlError::new(ErrorCode::InvalidArguments, "`after` goes with `follow`"));
    }
    if !query.follow {
        let found = writer.search(filter).await?;
        return Ok(Reply::stream(false, |sink| async move {
            let rows = found.rows.len() as u64;
            for row in &found.rows {
                if !sink.event(row).await {
                    return;
                }
            }
            let end = AuditEnd { rows, complete: found.reached.is_none(), reached: found.reached };
            sink.end(&end).await;
        }));
    }
    let (first, from) = if let Some(seq) = query.after {
        (Vec::new(), seq)
    } else {
        // Read before the search: what is written meanwhile is either found or still to come.
        let head = writer.head().seq;
        let found = writer.search(filter.clone()).await?.rows;
        let from = found.last().map_or(head, |row| row.seq().max(head));
        (found, from)
    };
    Ok(Reply::stream(true, move |sink| async move { follow(&writer, filter, first, from, &sink).await }))
}

async fn follow(writer: &Writer, filter: Filter, first: Vec<Row>, mut from: u64, sink: &Sink) {
    let filter = Filter { last: STRIDE, before: None, ..filter };
    let mut found = first;
    loop {
        for row in &found {
            if !sink.event(row).await {
                return;
            }
        }
        let next = match writer.after(from, filter.clone()).await {
            Ok((rows, next)) => {
                found = rows;
                next
            }
            // Others are searching: the rows are still there afterwards.
            Err(SearchError::Busy) => {
                found.clear();
                from
            }
            Err(error) => return sink.fail(error.into()).await,
        };
        if next == from {
            tokio::select! {
                () = sink.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        from = next;
    }
}
