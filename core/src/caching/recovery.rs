//! Bringing a database up to date with what it has missed.

use std::collections::HashMap;
use std::sync::Arc;

use super::state::{ByKey, PendingInit};
use super::table::Table;
use crate::known::Moment;
use crate::{AllData, ErrorKind, FeatureStoreCore, Item, Kind, StoreError, Upsert};

/// How often it looks for what has become pending meanwhile, before it leaves that to the next probe.
const ROUNDS: usize = 3;

/// Writes what is pending, and, if the database has lost everything, everything, if that is known. Whether all that
/// is known is in the database then; if not, whoever feeds it should send it again.
///
/// It never puts something older in place of something newer, and while the database has its data it writes what is
/// pending and nothing else.
pub(super) fn recover(table: &Table, core: &dyn FeatureStoreCore) -> Result<bool, StoreError> {
    let mut is_lost = table.is_initialized() && !table.pending().has_init && !core.is_initialized()?;
    for _ in 0..ROUNDS {
        let pending = table.pending();
        if !is_lost && !pending.has_init && pending.items.is_empty() {
            return Ok(table.keeps_everything());
        }
        // Before it looks at what it has to write, and not after that.
        let _recovering = Note::of(table, Table::recovering);
        if is_lost || pending.has_init {
            write_inits(table, core)?;
            is_lost = false;
        }
        for (kind, key, item) in table.pending().items {
            write(table, core, &kind, &key, &item)?;
        }
    }
    Err(StoreError::new(ErrorKind::Other, "cache", "recover", "writes went on failing meanwhile"))
}

/// Repeats the inits that the database does not show, or fills one that has lost everything.
fn write_inits(table: &Table, core: &dyn FeatureStoreCore) -> Result<(), StoreError> {
    // Again before it looks: what is acknowledged from now on may be overwritten.
    let _restoring = Note::of(table, Table::restoring);
    let since = table.moment();
    let pending = table.pending();
    let is_initialized = core.is_initialized()?;
    let mut missing = Vec::new();
    if !pending.has_init && !is_initialized {
        let Some(everything) = table.everything() else { return Ok(()) };
        missing.extend(everything.into_iter().map(|(kind, items)| (kind, items, Stored::Stays)));
    }
    for (kind, init) in pending.inits {
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
    write_init(table, core, missing, since)
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

/// Writes an init of these kinds, which was pending at that moment.
fn write_init(
    table: &Table,
    core: &dyn FeatureStoreCore,
    kinds: Vec<(Kind, ByKey, Stored)>,
    since: Moment,
) -> Result<(), StoreError> {
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
        Ok(Upsert::Applied) => table.written_back(kind, key, item, since),
        Ok(Upsert::Stale(current)) => table.written_back(kind, key, &current, since),
        Err(error) if error.is_away() => return Err(error),
        Err(error) => {
            tracing::warn!("not written back, and given up: {error}");
            table.give_up(kind, key, item);
        }
    }
    Ok(())
}

/// Notes in the table that something is under way, as long as it lives.
struct Note<'a>(&'a Table, fn(&Table, bool));

impl<'a> Note<'a> {
    fn of(table: &'a Table, note: fn(&Table, bool)) -> Self {
        note(table, true);
        Self(table, note)
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.1(self.0, false);
    }
}
