//! What an init reads and writes, request by request.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use flagstore_core::{ErrorKind, Item};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep_until, timeout_at};

use crate::codec::{self, Row};
use crate::doubt::Doubt;
use crate::error::Failure;
use crate::pace::{Backoff, Pace, Turn};
use crate::plan::{Plan, RowKey};
use crate::schema::{self, KEY, NAMESPACE};
use crate::table::Table;

/// The most that DynamoDB takes in one request.
const BATCH: usize = 25;

/// Does the requests of an init, up to `init_concurrency` of them side by side, and no faster than the table takes them.
pub(crate) struct Writer {
    table: Arc<Table>,
    client: Client,
    pace: Pace,
    backoff: Backoff,
    /// How often in a row it was not a throttling.
    failures: u32,
    /// Whether anything was written, or sent and not answered.
    may_have_written: bool,
}

/// One write of a batch.
enum Write {
    Put(RowKey, Item),
    Delete(RowKey),
}

/// A batch that was sent, and what came of it.
struct Sent {
    writes: usize,
    units: usize,
    era: usize,
    /// What is not written.
    left: Vec<Write>,
    failure: Option<Failure>,
    may_have_written: bool,
}

impl Writer {
    pub(crate) fn new(table: Arc<Table>, client: Client, deadline: Instant) -> Self {
        let pace = Pace::new(table.init_concurrency);
        Self { table, client, pace, backoff: Backoff::until(deadline), failures: 0, may_have_written: false }
    }

    /// Whether the store is marked as initialized, if the table has the shape that it needs.
    pub(crate) async fn is_marked(&self) -> Result<bool, Failure> {
        let Self { table, client, .. } = self;
        self.backoff
            .clone()
            .repeat(table.init_attempts, || table.look_at_mark(client, table.for_init()))
            .await
    }

    /// Compares all that is stored with the plan.
    pub(crate) async fn compare(&self, plan: &mut Plan) -> Result<(), Failure> {
        let reads = plan.namespaces.clone().into_iter().map(|namespace| self.rows(namespace));
        let reads = stream::iter(reads).buffer_unordered(self.table.init_concurrency);
        let found: Vec<(Arc<str>, Vec<Row>)> = reads.try_collect().await?;
        for (namespace, rows) in found {
            for row in rows {
                if let Some(AttributeValue::S(key)) = row.get(KEY) {
                    plan.compare((Arc::clone(&namespace), key.clone()), &row);
                }
            }
        }
        Ok(())
    }

    async fn rows(&self, namespace: Arc<str>) -> Result<(Arc<str>, Vec<Row>), Failure> {
        let query = self.table.rows_in(&self.client, namespace.to_string()).consistent_read(true);
        let (mut rows, mut next) = (Vec::new(), None);
        loop {
            let page = self.backoff.clone().repeat(self.table.init_attempts, || {
                let query = query.clone().set_exclusive_start_key(next.clone());
                async { Ok(query.customize().config_override(self.table.for_init()).send().await?) }
            });
            let page = page.await?;
            rows.extend(page.items.unwrap_or_default());
            next = page.last_evaluated_key.filter(|key| !key.is_empty());
            if next.is_none() {
                return Ok((namespace, rows));
            }
        }
    }

    /// Writes what differs, in an order in which whoever sees a flag sees what it refers to, and whoever sees the mark
    /// sees it all.
    pub(crate) async fn carry_out(&mut self, plan: Plan, is_marked: bool) -> Result<(), Failure> {
        let written = self.write_in_order(plan, is_marked).await;
        written.map_err(|failure| match failure.kind() {
            // Which would say that nothing was written, or all but what is named.
            ErrorKind::Unavailable if self.may_have_written => Failure::InDoubt(Box::new(failure)),
            ErrorKind::TooLarge => Failure::Other(failure.to_string()),
            _ => failure,
        })
    }

    async fn write_in_order(&mut self, plan: Plan, is_marked: bool) -> Result<(), Failure> {
        let (puts, left_over) = plan.changes();
        for level in puts {
            self.write(level.into_iter().map(|(key, item)| Write::Put(key, item)).collect()).await?;
        }
        self.write(left_over.into_iter().map(Write::Delete).collect()).await?;
        if is_marked { Ok(()) } else { self.mark_initialized().await }
    }

    async fn mark_initialized(&self) -> Result<(), Failure> {
        let mark = schema::initialized(&self.table.prefix);
        let doubt = Doubt::default();
        let put = self.backoff.clone().repeat(self.table.init_attempts, || {
            let put = self.client.put_item().table_name(&self.table.name);
            let put = put.set_item(Some(codec::keys(&mark, &mark))).customize();
            let put = put.config_override(self.table.for_init()).interceptor(doubt.clone());
            async { Ok(put.send().await.map(drop)?) }
        });
        put.await.map_err(|failure| doubt.about(failure))
    }

    /// Writes all of it, in any order. What DynamoDB has no capacity for it throttles as a whole or returns as
    /// unprocessed: that is its protocol, and not a failure. It goes back to what waits, and is sent slower.
    async fn write(&mut self, mut waiting: VecDeque<Write>) -> Result<(), Failure> {
        // Dropped after a failure, and then it aborts what is under way.
        let mut under_way = JoinSet::new();
        let (mut unwritten, mut last_failure) = (waiting.len(), None);
        loop {
            let sent = match self.next(&waiting) {
                Some((_, Turn::AfterAnother)) | None => under_way.join_next().await,
                Some((count, Turn::At(time))) if time <= Instant::now() => {
                    let writes = waiting.drain(..count).collect();
                    under_way.spawn(self.send(writes));
                    continue;
                }
                Some((_, Turn::At(time))) => {
                    if !self.backoff.has_time(time) {
                        return Err(Failure::Unfinished { left: unwritten, why: last_failure.map(Box::new) });
                    }
                    match timeout_at(time.into(), under_way.join_next()).await {
                        Ok(Some(sent)) => Some(sent),
                        Ok(None) => {
                            sleep_until(time.into()).await;
                            continue;
                        }
                        Err(_) => continue,
                    }
                }
            };
            let Some(sent) = sent else { return Ok(()) };
            let Sent { writes, units, era, left, failure, may_have_written } = joined(sent)?;
            self.may_have_written |= may_have_written;
            unwritten -= writes - left.len();
            if left.is_empty() {
                self.pace.written(units);
                self.backoff.reset();
                self.failures = 0;
                continue;
            }
            waiting.extend(left);
            match &failure {
                // A part of it is written.
                None => self.backoff.reset(),
                Some(failure) if failure.is_throttling() => {}
                Some(failure) => {
                    self.failures += u32::from(self.pace.is_current(era));
                    if !failure.may_pass() || self.failures >= self.table.init_attempts {
                        return Err(failure.clone());
                    }
                }
            }
            let pause = if self.pace.is_current(era) { self.backoff.pause() } else { Duration::ZERO };
            self.pace.refused(units, era, pause);
            last_failure = failure;
        }
    }

    /// How many of those that wait are the next batch, and when it may be sent.
    fn next(&self, waiting: &VecDeque<Write>) -> Option<(usize, Turn)> {
        let (mut count, mut units) = (0, 0);
        for write in waiting.iter().take(BATCH) {
            let more = units + write.units();
            if count > 0 && more > self.pace.most_units() {
                break;
            }
            (count, units) = (count + 1, more);
        }
        (count > 0).then(|| (count, self.pace.turn(units)))
    }

    /// Sends one batch.
    fn send(&mut self, writes: Vec<Write>) -> impl Future<Output = Sent> + Send + use<> {
        let units = writes.iter().map(Write::units).sum();
        let era = self.pace.sent(units);
        let (table, client) = (Arc::clone(&self.table), self.client.clone());
        async move {
            let count = writes.len();
            let doubt = Doubt::default();
            let (left, failure) = send(&table, &client, writes, &doubt).await;
            let may_have_written = doubt.exists() || left.len() < count;
            Sent { writes: count, units, era, left, failure, may_have_written }
        }
    }
}

/// Sends one batch. Returns what is not written, and why if it is all of it.
async fn send(
    table: &Table,
    client: &Client,
    mut writes: Vec<Write>,
    doubt: &Doubt,
) -> (Vec<Write>, Option<Failure>) {
    // Encoded only now, so that the first batches do not wait for the others.
    let requests = match writes.iter().map(Write::request).collect::<Result<Vec<_>, _>>() {
        Ok(requests) => requests,
        Err(error) => return (writes, Some(Failure::Other(error.to_string()))),
    };
    let batch = client.batch_write_item().request_items(&table.name, requests);
    let batch = batch.customize().config_override(table.for_init()).interceptor(doubt.clone());
    match batch.send().await {
        Ok(written) => {
            let unprocessed = written.unprocessed_items.unwrap_or_default().into_values().flatten();
            let unprocessed: HashSet<_> = unprocessed.filter_map(key_of).collect();
            writes.retain(|write| {
                let (namespace, key) = write.key();
                unprocessed.contains(&(namespace.to_string(), key.clone()))
            });
            (writes, None)
        }
        Err(error) => (writes, Some(error.into())),
    }
}

impl Write {
    fn key(&self) -> &RowKey {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }

    /// What it costs.
    fn units(&self) -> usize {
        match self {
            Self::Put((namespace, key), item) => codec::size(namespace, key, item).div_ceil(1024),
            // By the size of what is there, which is as good as any guess.
            Self::Delete(_) => 1,
        }
    }

    fn request(&self) -> Result<WriteRequest, BuildError> {
        let request = WriteRequest::builder();
        Ok(match self {
            Self::Put((namespace, key), item) => {
                let put = PutRequest::builder().set_item(Some(codec::encode(namespace, key, item)));
                request.put_request(put.build()?)
            }
            Self::Delete((namespace, key)) => {
                let delete = DeleteRequest::builder().set_key(Some(codec::keys(namespace, key)));
                request.delete_request(delete.build()?)
            }
        }
        .build())
    }
}

/// Namespace and key of a write that comes back.
fn key_of(request: WriteRequest) -> Option<(String, String)> {
    let mut row = match (request.put_request, request.delete_request) {
        (Some(put), _) => put.item,
        (None, Some(delete)) => delete.key,
        (None, None) => return None,
    };
    match (row.remove(NAMESPACE), row.remove(KEY)) {
        (Some(AttributeValue::S(namespace)), Some(AttributeValue::S(key))) => Some((namespace, key)),
        _ => None,
    }
}

fn joined<T>(done: Result<T, JoinError>) -> Result<T, Failure> {
    done.map_err(|error| match error.try_into_panic() {
        // The bridge makes it an error for the caller.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Failure::Other(error.to_string()),
    })
}
