//! Bringing a database up to date with what it has missed.

use std::collections::HashMap;
use std::sync::Arc;

use super::table::{ByKey, PendingInit, Table};
use crate::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, StoreError, Upsert};

/// How often it looks for what has become pending meanwhile, before it leaves that to the next probe.
const ROUNDS: usize = 3;

/// Writes what is pending, and, if the database has lost everything, everything, if that is known. Whether all that
/// is known is in the database then; if not, whoever feeds it should send it again.
///
/// It never puts something older in place of something newer, and while the database has its data it writes what is
/// pending and nothing else.
pub(super) fn recover(table: &Table, core: &dyn FeatureStoreCore) -> Result<bool, StoreError> {
    let is_lost = table.is_initialized() && !table.pending().has_init && !core.is_initialized()?;
    if is_lost && let Some(everything) = table.everything() {
        let kinds = everything.into_iter().map(|(kind, items)| (kind, items, Stored::Stays));
        write_init(table, core, kinds.collect())?;
    }
    for _ in 0..ROUNDS {
        let pending = table.pending();
        if !pending.has_init && pending.items.is_empty() {
            return Ok(table.keeps_everything());
        }
        if pending.has_init {
            write_inits(table, core, pending.inits)?;
        }
        for (kind, key, item) in pending.items {
            write(table, core, &kind, &key, &item)?;
        }
    }
    Err(StoreError::new(ErrorKind::Other, "cache", "recover", "writes went on failing meanwhile"))
}

/// Repeats the inits that the database does not show.
fn write_inits(
    table: &Table,
    core: &dyn FeatureStoreCore,
    inits: Vec<(Kind, PendingInit)>,
) -> Result<(), StoreError> {
    let mut missing = Vec::new();
    let is_initialized = core.is_initialized()?;
    for (kind, init) in inits {
        if init.is_overwritten {
            missing.push((kind, init.items.to_vec(), Stored::Goes));
        } else if is_initialized && is_there(core, &kind, &init)? {
            table.init_is_there(&kind, &init);
        } else {
            missing.push((kind, init.items.to_vec(), Stored::StaysIfNewer));
        }
    }
    if is_initialized && missing.is_empty() {
        table.inits_are_there();
        return Ok(());
    }
    // Also if it brought nothing at all: then it marks the store initialized.
    write_init(table, core, missing)
}

/// Whether the database has each item of this init, or a newer one, and none that the init removed.
fn is_there(core: &dyn FeatureStoreCore, kind: &Kind, init: &PendingInit) -> Result<bool, StoreError> {
    let stored = core.get_all(kind)?.by_key;
    let is_stored = |(key, item): &(Arc<str>, Item)| {
        stored.get(&**key).is_some_and(|stored| stored.version() >= item.version())
    };
    Ok(init.items.iter().all(is_stored) && !init.removes.iter().any(|key| stored.contains_key(&**key)))
}

/// What becomes of what a database has when an init is written back.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    /// It was written since the database lost its data.
    Stays,
    /// Others have written it. What the init does not name, it removes.
    StaysIfNewer,
    /// A recovery of ours has written it in place of the init.
    Goes,
}

/// Writes an init of these kinds.
fn write_init(
    table: &Table,
    core: &dyn FeatureStoreCore,
    kinds: Vec<(Kind, ByKey, Stored)>,
) -> Result<(), StoreError> {
    // What is acknowledged from now on may be overwritten, and is written again.
    let _restoring = Restoring::begin(table);
    let since = table.moment();
    let mut all_data = AllData::new();
    for (kind, items, rule) in kinds {
        let mut items: HashMap<_, _> = items.into_iter().collect();
        let stored = if rule == Stored::Goes { HashMap::new() } else { core.get_all(&kind)?.by_key };
        for (key, stored) in stored {
            match items.get_mut(key.as_str()) {
                Some(known) if known.version() < stored.version() => *known = stored,
                Some(known) if rule == Stored::Stays && known.version() == stored.version() => {
                    *known = stored;
                }
                None if rule == Stored::Stays => drop(items.insert(key.into(), stored)),
                Some(_) | None => {}
            }
        }
        all_data = all_data.with(kind, items);
    }
    let all_data = all_data.in_dependency_order();
    match core.init(&all_data) {
        Ok(()) => table.restored(&all_data, &[], since),
        Err(error) if error.kind() == ErrorKind::TooLarge => {
            tracing::warn!("left out of what was written back: {error}");
            table.restored(&all_data, error.items(), since);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Writes an update. One that the database refuses for what it is would be refused the next time too.
fn write(
    table: &Table,
    core: &dyn FeatureStoreCore,
    kind: &Kind,
    key: &str,
    item: &Item,
) -> Result<(), StoreError> {
    let since = table.moment();
    match core.upsert(kind, key, item) {
        // No other recovery runs beside this one.
        Ok(Upsert::Applied) => _ = table.written(kind, key, item, since),
        Ok(Upsert::Stale(current)) => _ = table.written(kind, key, &current, since),
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
            return Err(error);
        }
        Err(error) => {
            tracing::warn!("not written back, and given up: {error}");
            table.give_up(kind, key, item);
        }
    }
    Ok(())
}

/// While it lives, what the table takes for written is written again.
struct Restoring<'a>(&'a Table);

impl<'a> Restoring<'a> {
    fn begin(table: &'a Table) -> Self {
        table.restoring(true);
        Self(table)
    }
}

impl Drop for Restoring<'_> {
    fn drop(&mut self) {
        self.0.restoring(false);
    }
}
