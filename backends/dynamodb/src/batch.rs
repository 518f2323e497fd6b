//! An init: what to write, and how it is written in batches.

use std::collections::HashSet;
use std::future::Future;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, Config};
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use flagstore_core::{AllData, Item, Kind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::codec::{self, Row};
use crate::error::Failure;
use crate::schema::{self, KEY, NAMESPACE};
use crate::table::Table;

/// The most that DynamoDB takes in one request.
const BATCH: usize = 25;

/// Before the first repetition of what was throttled or left unprocessed; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Capacity is counted by the second, so a longer pause gains nothing.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Namespace and key of a row.
pub(crate) type RowKey = (Arc<str>, String);

/// What an init has to do.
pub(crate) struct Plan {
    pub(crate) namespaces: Vec<Arc<str>>,
    /// What to put. The rows of one level may be put in any order, those of the next only after them.
    pub(crate) levels: Vec<Vec<(RowKey, Item)>>,
    /// What is not left over, including what is too large: of that the version stored before stays.
    pub(crate) keys: HashSet<RowKey>,
    pub(crate) too_large: Vec<(Kind, String)>,
}

impl Plan {
    pub(crate) fn new(prefix: &str, all_data: &AllData) -> Result<Self, Failure> {
        let namespace = |kind: &Kind| -> Arc<str> { schema::namespace(prefix, kind.as_str()).into() };
        let fits = |namespace: &str, key: &str, item: &Item| {
            codec::can_be_stored_under(namespace, key) && codec::fits(namespace, key, item)
        };
        let (mut namespaces, mut keys, mut too_large) = (Vec::new(), HashSet::new(), Vec::new());
        for (kind, items) in all_data.kinds() {
            let namespace = namespace(kind);
            for (key, item) in items {
                if !fits(&namespace, key, item) {
                    too_large.push((kind.clone(), key.to_owned()));
                }
                keys.insert((Arc::clone(&namespace), key.to_owned()));
            }
            namespaces.push(namespace);
        }
        let levels = all_data.dependency_levels().into_iter().map(|level| {
            let rows =
                level.into_iter().map(|(kind, key, item)| ((namespace(kind), key.to_owned()), item.clone()));
            rows.filter(|((namespace, key), item)| fits(namespace, key, item)).collect()
        });
        Ok(Self { levels: levels.collect(), namespaces, keys, too_large })
    }
}

/// Does the requests of an init, up to `init_concurrency` of them side by side.
#[derive(Clone)]
pub(crate) struct Writer {
    table: Arc<Table>,
    client: Client,
    deadline: Instant,
    /// As many permits as requests may run side by side.
    free: Arc<Semaphore>,
}

impl Writer {
    pub(crate) fn new(table: Arc<Table>, client: Client, deadline: Instant) -> Self {
        let free = Arc::new(Semaphore::new(table.init_concurrency));
        Self { table, client, deadline, free }
    }

    /// The keys of everything that is stored under these namespaces.
    pub(crate) async fn stored_keys(&self, namespaces: Vec<Arc<str>>) -> Result<HashSet<RowKey>, Failure> {
        let queries = namespaces.into_iter().map(|namespace| {
            let writer = self.clone();
            async move { writer.keys_in(&namespace).await }
        });
        Ok(self.side_by_side(queries).await?.into_iter().flatten().collect())
    }

    async fn keys_in(&self, namespace: &Arc<str>) -> Result<Vec<RowKey>, Failure> {
        let query = self
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("#namespace = :namespace")
            .projection_expression("#key")
            .expression_attribute_names("#namespace", NAMESPACE)
            .expression_attribute_names("#key", KEY)
            .expression_attribute_values(":namespace", AttributeValue::S(namespace.to_string()))
            .consistent_read(true);
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let page = self
                .until_accepted(|| {
                    let query = query.clone().set_exclusive_start_key(next.clone());
                    async { Ok(query.customize().config_override(self.timeouts()).send().await?) }
                })
                .await?;
            let rows = page.items.unwrap_or_default().into_iter();
            keys.extend(rows.filter_map(|mut row| match row.remove(KEY) {
                Some(AttributeValue::S(key)) => Some((Arc::clone(namespace), key)),
                _ => None,
            }));
            next = page.last_evaluated_key.filter(|key| !key.is_empty());
            if next.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Puts one level after the other.
    pub(crate) async fn put_in_order(&self, levels: Vec<Vec<(RowKey, Item)>>) -> Result<(), Failure> {
        for level in levels {
            self.put(level).await?;
        }
        Ok(())
    }

    async fn put(&self, rows: Vec<(RowKey, Item)>) -> Result<(), Failure> {
        self.write_all(rows, |((namespace, key), item)| {
            let put = PutRequest::builder().set_item(Some(codec::encode(&namespace, &key, &item)));
            Ok(WriteRequest::builder().put_request(put.build()?).build())
        })
        .await
    }

    pub(crate) async fn delete(&self, keys: impl Iterator<Item = RowKey> + Send) -> Result<(), Failure> {
        self.write_all(keys, |(namespace, key)| {
            let delete = DeleteRequest::builder().set_key(Some(row_of(namespace.to_string(), key)));
            Ok(WriteRequest::builder().delete_request(delete.build()?).build())
        })
        .await
    }

    pub(crate) async fn mark_initialized(&self) -> Result<(), Failure> {
        let mark = schema::initialized(&self.table.prefix);
        self.until_accepted(|| {
            let put = self.client.put_item().table_name(&self.table.name);
            let put = put.set_item(Some(row_of(mark.clone(), mark.clone())));
            async { Ok(put.customize().config_override(self.timeouts()).send().await.map(drop)?) }
        })
        .await
    }

    /// Writes in batches, each of which is encoded when its turn comes, so that the first ones do not wait for
    /// the others.
    async fn write_all<R: Send + 'static>(
        &self,
        rows: impl IntoIterator<Item = R>,
        encode: fn(R) -> Result<WriteRequest, BuildError>,
    ) -> Result<(), Failure> {
        let mut rows = rows.into_iter();
        let batches = iter::from_fn(|| {
            let batch: Vec<R> = rows.by_ref().take(BATCH).collect();
            let writer = self.clone();
            (!batch.is_empty()).then_some(async move {
                let requests = batch.into_iter().map(encode).collect::<Result<_, _>>();
                writer.write(requests.map_err(invalid)?).await
            })
        });
        self.side_by_side(batches).await.map(drop)
    }

    /// Writes one batch. What DynamoDB has no capacity for it throttles as a whole or returns as unprocessed,
    /// which the SDK does not repeat: that is its protocol, and not a failure.
    async fn write(&self, mut left: Vec<WriteRequest>) -> Result<(), Failure> {
        let mut round = 0;
        loop {
            let batch = self.client.batch_write_item().request_items(&self.table.name, left.clone());
            match batch.customize().config_override(self.timeouts()).send().await.map_err(Failure::from) {
                Ok(written) => {
                    left = written.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
                }
                Err(Failure::Throttled) => {}
                Err(failure) => return Err(failure),
            }
            if left.is_empty() {
                return Ok(());
            }
            self.back_off(round, left.len()).await?;
            round += 1;
        }
    }

    /// Repeats a request while it is throttled.
    async fn until_accepted<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut round = 0;
        loop {
            match request().await {
                Err(Failure::Throttled) => self.back_off(round, 1).await?,
                result => return result,
            }
            round += 1;
        }
    }

    /// Waits for a random part of a time that doubles each round, so that those who were refused together do
    /// not come back together. Fails instead of waiting beyond the deadline.
    async fn back_off(&self, round: u32, left: usize) -> Result<(), Failure> {
        let wait = backoff(round).mul_f64(fastrand::f64());
        if Instant::now() + wait >= self.deadline {
            return Err(Failure::Unfinished { left });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Runs the jobs as permits come free, up to the first failure.
    async fn side_by_side<T, F>(&self, jobs: impl IntoIterator<Item = F>) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let permitted = jobs.into_iter().map(|job| {
            let free = Arc::clone(&self.free);
            async move {
                // An error only if it were closed, which nobody does.
                let _permit = free.acquire().await;
                job.await
            }
        });
        // Dropped after a failure, and then it aborts those that run or wait.
        let mut jobs: JoinSet<_> = permitted.collect();
        let mut results = Vec::new();
        while let Some(done) = jobs.join_next().await {
            results.push(joined(done)?);
        }
        Ok(results)
    }

    fn timeouts(&self) -> config::Builder {
        match &self.table.init_timeouts {
            Some(timeouts) => Config::builder().timeout_config(timeouts.clone()),
            None => Config::builder(),
        }
    }
}

fn backoff(round: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(round)).min(LONGEST_BACKOFF)
}

fn joined<T>(done: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    done.unwrap_or_else(|error| match error.try_into_panic() {
        // The bridge makes it an error for the caller.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Err(Failure::Other(error.to_string())),
    })
}

fn invalid(error: BuildError) -> Failure {
    Failure::Other(error.to_string())
}

/// A row's two keys and nothing else.
fn row_of(namespace: String, key: String) -> Row {
    Row::from([
        (NAMESPACE.to_owned(), AttributeValue::S(namespace)),
        (KEY.to_owned(), AttributeValue::S(key)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        Item::parse(json).unwrap()
    }

    /// Segments before flags, prerequisites before dependents, each under the prefix. (Peers' bugs 4 and 9.)
    #[test]
    fn a_plan_has_levels() {
        let all_data = AllData::new()
            .with(
                Kind::FEATURES,
                [("top", item(r#"{"version":1,"prerequisites":[{"key":"base"}]}"#)), ("base", item("{}"))],
            )
            .with(Kind::SEGMENTS, [("s", item("{}"))]);
        let plan = Plan::new("p", &all_data).unwrap();
        let levels: Vec<Vec<_>> = plan
            .levels
            .iter()
            .map(|level| level.iter().map(|((namespace, key), _)| format!("{namespace}/{key}")).collect())
            .collect();
        assert_eq!(levels, [["p:segments/s"], ["p:features/base"], ["p:features/top"]]);
        assert_eq!(plan.namespaces, ["p:features".into(), "p:segments".into()]);
    }

    /// What is too large is not put, and what was stored under its key before is not left over. (Peers' bug
    /// 11.)
    #[test]
    fn a_plan_leaves_out_what_is_too_large_and_keeps_its_key() {
        let large = Item::from_parts(1, false, "x".repeat(400_000)).unwrap();
        let all_data =
            AllData::new().with(Kind::FEATURES, [("large", large), ("", item("{}")), ("small", item("{}"))]);
        let plan = Plan::new("", &all_data).unwrap();
        assert_eq!(plan.too_large, [(Kind::FEATURES, "large".to_owned()), (Kind::FEATURES, String::new())]);
        assert_eq!(plan.levels.iter().flatten().count(), 1);
        assert!(plan.keys.contains(&("features".into(), "large".to_owned())));
    }

    /// Between two rounds there is more time each time, up to a limit.
    #[test]
    fn backoff_doubles_up_to_a_limit() {
        let millis = [0, 1, 2, 4, 5, 100].map(|round| backoff(round).as_millis());
        assert_eq!(millis, [50, 100, 200, 800, 1000, 1000]);
    }
}
