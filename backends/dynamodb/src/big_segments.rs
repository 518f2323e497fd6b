use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use flagstore_core::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, ContextChange, PatchOutcome,
    StoreError, UnixMillis,
};

use crate::DynamoDbStore;
use crate::codec::{self, Row};
use crate::conflict;
use crate::doubt::Doubt;
use crate::error::{self, Failure};
use crate::schema::{self, EXCLUDED, INCLUDED, KEY, LAST_VERSION, NAMESPACE, SYNCHRONIZED_ON};

/// DynamoDB writes 100 rows in a transaction, and one of them is that of the version.
const CONTEXTS_PER_TRANSACTION: usize = 99;

impl BigSegmentStore for DynamoDbStore {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        self.run("get_metadata", self.timeout, |table, client| async move {
            let key = schema::big_segments_metadata(&table.prefix);
            let row = table.get(&client, key.clone(), &key).await?.unwrap_or_default();
            match row.get(SYNCHRONIZED_ON) {
                Some(AttributeValue::N(millis)) => match millis.parse() {
                    Ok(millis) => Ok(Some(UnixMillis(millis))),
                    Err(_) => Err(not_readable(SYNCHRONIZED_ON, "not a whole number of milliseconds")),
                },
                // Every official SDK takes what is not a number for nothing.
                _ => Ok(None),
            }
        })
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let namespace = schema::big_segments_user(&self.table.prefix);
        if !codec::can_be_stored_under(&namespace, context_hash) {
            return Ok(None);
        }
        let context_hash = context_hash.to_owned();
        self.run("get_membership", self.timeout, |table, client| async move {
            let mut row = table.get(&client, namespace, &context_hash).await?.unwrap_or_default();
            let (included, excluded) = (set_in(&mut row, INCLUDED)?, set_in(&mut row, EXCLUDED)?);
            let membership = BigSegmentMembership::new(included, excluded);
            Ok(Some(membership).filter(|membership| !membership.is_empty()))
        })
    }

    /// There is nothing to end: the threads and connections may serve feature flags too.
    fn stop(&self) {}
}

impl BigSegmentUpdates for DynamoDbStore {
    fn get_version(&self) -> Result<String, StoreError> {
        self.run("get_version", self.timeout, |table, client| async move {
            let key = schema::big_segments_metadata(&table.prefix);
            version_in(table.get(&client, key.clone(), &key).await?.unwrap_or_default())
        })
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        self.run("set_metadata", self.timeout, move |table, client| async move {
            let key = schema::big_segments_metadata(&table.prefix);
            table.prove(&client).await?;
            let doubt = Doubt::default();
            let update = client
                .update_item()
                .table_name(&table.name)
                .key(NAMESPACE, AttributeValue::S(key.clone()))
                .key(KEY, AttributeValue::S(key))
                .update_expression("SET #synchronizedOn = :now")
                .expression_attribute_names("#synchronizedOn", SYNCHRONIZED_ON)
                .expression_attribute_values(":now", AttributeValue::N(synchronized_on.to_string()));
            let updated = update.customize().interceptor(doubt.clone()).send().await;
            updated.map(drop).map_err(|error| doubt.about(error.into()))
        })
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        let patch = patch.clone();
        let is_long = patch.by_context().len() > CONTEXTS_PER_TRANSACTION;
        let timeout = if is_long { self.init_timeout } else { self.timeout };
        self.run("apply_patch", timeout, |table, client| async move {
            table.prove(&client).await?;
            let writer = Writer { table: &table.name, prefix: &table.prefix, patch: &patch };
            let contexts: Vec<_> = patch.by_context().into_iter().collect();
            let mut pieces = contexts.chunks(CONTEXTS_PER_TRANSACTION).peekable();
            // A patch may have no contexts, and leads to its version all the same.
            let first = pieces.next().unwrap_or_default();
            let mut outcome = writer.write(&client, first, pieces.peek().is_none()).await?;
            while let (PatchOutcome::Applied, Some(next)) = (&outcome, pieces.next()) {
                let written = writer.write(&client, next, pieces.peek().is_none()).await;
                // Of what has happened before, a failure takes nothing back.
                outcome = written.map_err(|failure| Failure::InDoubt(failure.into()))?;
            }
            Ok(outcome)
        })
    }
}

/// Writes a patch, in one transaction or several.
struct Writer<'a> {
    table: &'a str,
    prefix: &'a str,
    patch: &'a BigSegmentPatch,
}

impl Writer<'_> {
    /// Writes a piece of the patch if the version is the one where the patch begins, and with the last piece
    /// the new version. One transaction, in which DynamoDB compares and writes in one step, so two writers
    /// cannot both pass the comparison. Each piece can be repeated.
    async fn write(
        &self,
        client: &Client,
        contexts: &[(&str, ContextChange)],
        is_last: bool,
    ) -> Result<PatchOutcome, Failure> {
        conflict::outlast(|| self.transact(client, contexts, is_last)).await
    }

    async fn transact(
        &self,
        client: &Client,
        contexts: &[(&str, ContextChange)],
        is_last: bool,
    ) -> Result<PatchOutcome, Failure> {
        let doubt = Doubt::default();
        let mut transaction = client.transact_write_items().transact_items(self.version(is_last)?);
        for (context_hash, change) in contexts {
            transaction = transaction.transact_items(self.change(context_hash, *change)?);
        }
        let Err(error) = transaction.customize().interceptor(doubt.clone()).send().await else {
            return Ok(PatchOutcome::Applied);
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                refused(cancelled.cancellation_reasons())
            }
            _ => Err(doubt.about(error.into())),
        }
    }

    /// The condition on the version, and, for the last piece, the new one.
    fn version(&self, is_last: bool) -> Result<TransactWriteItem, Failure> {
        let condition = match self.patch.previous_version.as_str() {
            "" => "attribute_not_exists(#version) or #version = :previous",
            _ => "#version = :previous",
        };
        let metadata = AttributeValue::S(schema::big_segments_metadata(self.prefix));
        let previous = AttributeValue::S(self.patch.previous_version.clone());
        let item = TransactWriteItem::builder();
        let item = if is_last {
            let update = Update::builder()
                .table_name(self.table)
                .key(NAMESPACE, metadata.clone())
                .key(KEY, metadata)
                .condition_expression(condition)
                .update_expression("SET #version = :next")
                .expression_attribute_names("#version", LAST_VERSION)
                .expression_attribute_values(":previous", previous)
                .expression_attribute_values(":next", AttributeValue::S(self.patch.version.clone()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            item.update(update.build().map_err(invalid)?)
        } else {
            let check = ConditionCheck::builder()
                .table_name(self.table)
                .key(NAMESPACE, metadata.clone())
                .key(KEY, metadata)
                .condition_expression(condition)
                .expression_attribute_names("#version", LAST_VERSION)
                .expression_attribute_values(":previous", previous)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            item.condition_check(check.build().map_err(invalid)?)
        };
        Ok(item.build())
    }

    /// What changes in the row of a context. One entry for both sets, since a transaction has no room for two
    /// of one row.
    fn change(&self, context_hash: &str, change: ContextChange) -> Result<TransactWriteItem, Failure> {
        let mut update = Update::builder()
            .table_name(self.table)
            .key(NAMESPACE, AttributeValue::S(schema::big_segments_user(self.prefix)))
            .key(KEY, AttributeValue::S(context_hash.to_owned()))
            .expression_attribute_values(":ref", AttributeValue::Ss(vec![self.patch.segment_ref.clone()]));
        let (mut adds, mut deletes) = (Vec::new(), Vec::new());
        for (name, is_in_it) in [(INCLUDED, change.included), (EXCLUDED, change.excluded)] {
            let Some(is_in_it) = is_in_it else { continue };
            update = update.expression_attribute_names(format!("#{name}"), name);
            let clauses = if is_in_it { &mut adds } else { &mut deletes };
            clauses.push(format!("#{name} :ref"));
        }
        let clause = |action: &str, terms: Vec<String>| {
            if terms.is_empty() { String::new() } else { format!("{action} {} ", terms.join(", ")) }
        };
        let expression = clause("ADD", adds) + &clause("DELETE", deletes);
        let update = update.update_expression(expression).build().map_err(invalid)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// Why a transaction was cancelled. Nothing of it has happened.
fn refused(reasons: &[CancellationReason]) -> Result<PatchOutcome, Failure> {
    for reason in reasons {
        match reason.code() {
            None | Some("None") => {}
            Some("ConditionalCheckFailed") => {
                let row = reason.item().cloned().unwrap_or_default();
                return Ok(PatchOutcome::OutOfOrder(version_in(row)?));
            }
            Some(code) => return Err(error::of_cancellation(code, reason.message().unwrap_or_default())),
        }
    }
    Err(Failure::Other("the transaction was cancelled without a reason".to_owned()))
}

/// The version in the row of the metadata.
fn version_in(mut row: Row) -> Result<String, Failure> {
    match row.remove(LAST_VERSION) {
        None => Ok(String::new()),
        Some(AttributeValue::S(version)) => Ok(version),
        Some(_) => Err(not_readable(LAST_VERSION, "not a string (S)")),
    }
}

/// The references in a set of the row of a context.
fn set_in(row: &mut Row, name: &str) -> Result<Vec<String>, Failure> {
    match row.remove(name) {
        None => Ok(Vec::new()),
        Some(AttributeValue::Ss(segment_refs)) => Ok(segment_refs),
        Some(_) => Err(not_readable(name, "not a set of strings (SS)")),
    }
}

fn not_readable(name: &str, reason: &str) -> Failure {
    Failure::NotReadable(format!("{name} is {reason}"))
}

fn invalid(error: BuildError) -> Failure {
    Failure::Other(error.to_string())
}
