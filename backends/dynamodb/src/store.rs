use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use flagstore_core::{AllData, Bridge, ErrorKind, FeatureStoreCore, Item, Items, Kind, StoreError, Upsert};

use crate::codec::{self, Row};
use crate::condition::Condition;
use crate::conflict;
use crate::deadline::sooner;
use crate::doubt::Doubt;
use crate::error::{Failure, STORE};
use crate::plan::Plan;
use crate::schema::{self, KEY};
use crate::table;
use crate::table::Table;
use crate::writer::Writer;

/// How often an upsert may find that what it wanted to replace was replaced by others. Once is rare.
const ROUNDS: usize = 5;

/// Feature flags in a DynamoDB table.
///
/// Made by [`DynamoDbStore::builder`]. Any number of stores, threads, processes and languages can work on one
/// table. A store has two threads of its own, which end when it is dropped, unless it was given a
/// [`bridge`](crate::DynamoDbStoreBuilder::bridge) that others use too.
pub struct DynamoDbStore {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) table: Arc<Table>,
    pub(crate) timeout: Duration,
    pub(crate) init_timeout: Duration,
}

impl DynamoDbStore {
    /// Creates the table, with on-demand capacity, and waits until it can be used. For development and tests:
    /// a store never does it by itself. Returns whether the table was missing; one that is there is left as
    /// it is.
    ///
    /// # Errors
    ///
    /// As the store's other methods. Its deadline is `init_timeout`.
    pub fn create_table_if_missing(&self) -> Result<bool, StoreError> {
        self.run("create_table_if_missing", self.init_timeout, |table, client| async move {
            table::create_if_missing(&client, &table.name).await
        })
    }

    /// Runs on the bridge what works on the table with a client that can sign, and gives its failure a place and a
    /// name.
    pub(crate) fn run<T, F>(
        &self,
        operation: &'static str,
        timeout: Duration,
        work: impl FnOnce(Arc<Table>, Client) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let (client, timeout) = match self.table.connection.ready() {
            Some(client) => (client, timeout),
            None => {
                let start = Instant::now();
                let client = self.wait_for_client(operation, timeout)?;
                let left = timeout.saturating_sub(start.elapsed());
                if left < timeout / 4 {
                    // Too little for a request. The next call has it all.
                    return Err(self.waited(operation, timeout));
                }
                (client, left)
            }
        };
        let table = Arc::clone(&self.table);
        let work = work(Arc::clone(&table), client);
        let result = self.bridge.run(operation, timeout, async move {
            work.await.map_err(|failure| {
                if matches!(failure, Failure::BadCredentials(_)) {
                    table.connection.refused();
                }
                failure.during(operation, &table.to_string())
            })
        });
        result.map_err(|error| match error.kind() {
            // A client that was handed in does not say what it waits for.
            ErrorKind::Timeout if self.table.connection.client_is_loading() => {
                Failure::ClientWaited(timeout).during(operation, &self.table.to_string())
            }
            _ => error,
        })
    }

    /// Waits until there is a client that can sign. Nothing is sent meanwhile, so nothing may have happened.
    fn wait_for_client(&self, operation: &'static str, timeout: Duration) -> Result<Client, StoreError> {
        let table = Arc::clone(&self.table);
        let client = self.bridge.run(operation, timeout, async move {
            let client = table.connection.client().await;
            client.map_err(|failure| failure.during(operation, &table.to_string()))
        });
        client.map_err(|error| match error.kind() {
            // The bridge's own.
            ErrorKind::Timeout => self.waited(operation, timeout),
            _ => error,
        })
    }

    fn waited(&self, operation: &'static str, timeout: Duration) -> StoreError {
        self.table.connection.waited(timeout).during(operation, &self.table.to_string())
    }
}

impl FeatureStoreCore for DynamoDbStore {
    fn init(&self, all_data: &AllData) -> Result<(), StoreError> {
        let mut plan = Plan::new(&self.table.prefix, all_data);
        let too_large = std::mem::take(&mut plan.too_large);
        let deadline = Instant::now() + sooner(self.init_timeout);
        self.run("init", self.init_timeout, move |table, client| async move {
            let mut writer = Writer::new(table, client, deadline);
            // All reads come first: nothing is written to a table that is not ours, and nothing that is there. What
            // others write meanwhile may count as before or as after this init.
            let is_marked = writer.is_marked().await?;
            writer.compare(&mut plan).await?;
            writer.carry_out(plan, is_marked).await
        })?;
        match too_large {
            none if none.is_empty() => Ok(()),
            items => {
                let reason = format!("{}; all other items were stored", Failure::TooLarge);
                Err(StoreError::new(ErrorKind::TooLarge, STORE, "init", reason).about(items))
            }
        }
    }

    fn get(&self, kind: &Kind, key: &str) -> Result<Option<Item>, StoreError> {
        let (namespace, about) = (self.table.namespace(kind), (kind.clone(), key.to_owned()));
        if !codec::can_be_stored_under(&namespace, key) {
            return Ok(None);
        }
        let key = key.to_owned();
        let item = self.run("get", self.timeout, |table, client| async move {
            let found = table.get(&client, namespace, &key).await?;
            found.map(|row| codec::decode(&key, &row)).transpose()
        });
        item.map_err(|error| error.about([about]))
    }

    fn get_all(&self, kind: &Kind) -> Result<Items, StoreError> {
        let (namespace, kind) = (self.table.namespace(kind), kind.clone());
        if !codec::can_be_namespace(&namespace) {
            return Ok(Items::default());
        }
        self.run("get_all", self.timeout, |table, client| async move {
            let query = table.rows_in(&client, namespace).consistent_read(table.consistent_reads);
            let mut items = Items::default();
            let mut next = None;
            loop {
                let page = query.clone().set_exclusive_start_key(next).send().await?;
                for row in page.items.unwrap_or_default() {
                    add(&mut items, &kind, &row, &table);
                }
                next = page.last_evaluated_key.filter(|key| !key.is_empty());
                if next.is_none() {
                    return Ok(items);
                }
            }
        })
    }

    fn upsert(&self, kind: &Kind, key: &str, item: &Item) -> Result<Upsert, StoreError> {
        let (namespace, about) = (self.table.namespace(kind), (kind.clone(), key.to_owned()));
        let (key, item) = (key.to_owned(), item.clone());
        let upserted = self.run("upsert", self.timeout, |table, client| async move {
            check(&namespace, &key, &item)?;
            table.prove(&client).await?;
            let mut condition = Condition::Newer;
            for _ in 0..ROUNDS {
                let doubt = Doubt::default();
                let write = || {
                    let row = codec::encode(&namespace, &key, &item);
                    put(&client, &table.name, row, &condition, &doubt)
                };
                let Some(refused) = conflict::outlast(write).await? else { return Ok(Upsert::Applied) };
                match codec::decode(&key, &refused) {
                    // The first attempt has stored it, its answer was lost, and the next one came upon it.
                    Ok(current) if doubt.exists() && current == item => return Ok(Upsert::Applied),
                    Ok(current) if current.version() >= item.version() => return Ok(Upsert::Stale(current)),
                    // Not an item, or without the attribute with which the condition compares: any version
                    // replaces it, as long as nobody else does. This is not the retry of a failure.
                    _ => condition = Condition::Unchanged(refused),
                }
            }
            Err(Failure::Raced)
        });
        upserted.map_err(|error| error.about([about]))
    }

    fn is_initialized(&self) -> Result<bool, StoreError> {
        self.run("is_initialized", self.timeout, |table, client| async move {
            let mark = schema::initialized(&table.prefix);
            Ok(table.get(&client, mark.clone(), &mark).await?.is_some())
        })
    }

    fn is_available(&self) -> bool {
        // A row without attributes is the smallest read, and needs no permission that reading flags does not.
        self.run("is_available", self.timeout, |table, client| async move {
            let mark = schema::initialized(&table.prefix);
            table.get(&client, mark.clone(), &mark).await
        })
        .is_ok()
    }

    fn describe(&self) -> &'static str {
        "DynamoDB"
    }
}

/// Puts the row if the condition holds for what is stored, and else returns what is stored. One request, in
/// which DynamoDB compares and writes in one step, so two writers cannot both pass the comparison.
async fn put(
    client: &Client,
    table: &str,
    row: Row,
    condition: &Condition,
    doubt: &Doubt,
) -> Result<Option<Row>, Failure> {
    let put = condition
        .of(client.put_item().table_name(table), &row)
        .set_item(Some(row))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let Err(error) = put.customize().interceptor(doubt.clone()).send().await else { return Ok(None) };
    if let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() {
        return Ok(Some(refused.item().cloned().unwrap_or_default()));
    }
    Err(doubt.about(error.into()))
}

/// What would be refused is not sent.
fn check(namespace: &str, key: &str, item: &Item) -> Result<(), Failure> {
    if codec::can_be_stored(namespace, key, item) { Ok(()) } else { Err(Failure::TooLarge) }
}

/// Adds the item in the row, or the report that there is none.
fn add(items: &mut Items, kind: &Kind, row: &Row, table: &Table) {
    let key = row.get(KEY).and_then(|key| key.as_s().ok()).cloned().unwrap_or_default();
    match codec::decode(&key, row) {
        Ok(item) => drop(items.by_key.insert(key, item)),
        Err(failure) => {
            let error = failure.during("get_all", &table.to_string());
            items.unreadable.push(error.about([(kind.clone(), key)]));
        }
    }
}

/// Such as `DynamoDB(http://localhost:8000/flags, production)`.
impl fmt::Display for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table { name, prefix, .. } = &*self.table;
        f.write_str("DynamoDB(")?;
        if let Some(location) = self.table.location() {
            write!(f, "{location}/")?;
        }
        f.write_str(name)?;
        if !prefix.is_empty() {
            write!(f, ", {prefix}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
