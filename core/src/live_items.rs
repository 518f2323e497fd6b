//! The live items of a kind, as one value that never changes.

use std::fmt;
use std::sync::Arc;

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::Item;
use crate::known::Known;

/// The live items of a kind, by key: as they were when somebody asked for them. It never changes, and a clone
/// costs nothing.
///
/// It is the cache's own table, which copies only the few nodes that a change concerns. So however many
/// items there are, asking for all of them costs no more than asking for one.
#[derive(Clone, Default)]
pub struct LiveItems {
    known: GenericHashMap<Arc<str>, Arc<Known>, foldhash::fast::RandomState, DefaultSharedPtr>,
    live: usize,
}

impl LiveItems {
    /// The item of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.known(key)?.live()
    }

    /// The items with their keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Item)> {
        self.known.iter().filter_map(|(key, known)| Some((&**key, known.live()?)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The keys whose live item is another one than it was before, or is gone, with what there is now.
    pub(crate) fn changes_since<'a>(&'a self, before: &'a Self) -> Vec<(&'a str, Option<&'a Item>)> {
        if self.known.ptr_eq(&before.known) {
            return Vec::new();
        }
        let there = self.iter().map(|(key, item)| (key, Some(item)));
        let gone = before.iter().filter(|(key, _)| self.get(key).is_none()).map(|(key, _)| (key, None));
        there.filter(|(key, item)| before.get(key) != *item).chain(gone).collect()
    }

    /// What is known of that key, live or not.
    pub(crate) fn known(&self, key: &str) -> Option<&Arc<Known>> {
        self.known.get(key)
    }

    /// Everything that is known, live or not.
    pub(crate) fn all_known(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Known>)> {
        self.known.iter()
    }

    /// Puts it in place of what was known of that key.
    pub(crate) fn put(&mut self, key: Arc<str>, known: Arc<Known>) {
        self.live += usize::from(known.live().is_some());
        let old = self.known.insert(key, known);
        self.live -= usize::from(old.is_some_and(|old| old.live().is_some()));
    }

    /// The same, for whoever has no key to share. One is made if nothing is known of it.
    pub(crate) fn put_at(&mut self, key: &str, known: Arc<Known>) {
        let key = self.known.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        self.put(key, known);
    }

    /// Nothing is known of that key any more.
    pub(crate) fn remove(&mut self, key: &str) {
        let old = self.known.remove(key);
        self.live -= usize::from(old.is_some_and(|old| old.live().is_some()));
    }
}

/// Of those that are given, the ones that are live.
impl<K: Into<Arc<str>>> FromIterator<(K, Item)> for LiveItems {
    fn from_iter<I: IntoIterator<Item = (K, Item)>>(items: I) -> Self {
        let mut all = Self::default();
        for (key, item) in items.into_iter().filter(|(_, item)| !item.is_deleted()) {
            all.put(key.into(), Arc::new(Known::from(item)));
        }
        all
    }
}

/// Equal if the same keys have equal items.
impl PartialEq for LiveItems {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, item)| other.get(key) == Some(item))
    }
}

impl Eq for LiveItems {}

impl fmt::Debug for LiveItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(version: u64) -> Item {
        Item::from_parts(version, false, "{}").unwrap()
    }

    fn tombstone(version: u64) -> Item {
        Item::tombstone("gone", version).unwrap()
    }

    /// What somebody holds is his: a change makes another value.
    #[test]
    fn it_never_changes_in_the_hand() {
        let mut items: LiveItems = [("a", item(1)), ("gone", tombstone(1))].into_iter().collect();
        let held = items.clone();
        items.put_at("a", Arc::new(item(2).into()));
        items.put_at("b", Arc::new(item(1).into()));
        assert_eq!((held.len(), held.get("a")), (1, Some(&item(1))));
        assert_eq!((items.len(), items.get("a")), (2, Some(&item(2))));
    }

    /// Each item that is new, another one, or gone; a tombstone is as good as nothing.
    #[test]
    fn changes_are_told_by_key() {
        let before: LiveItems =
            [("same", item(1)), ("other", item(1)), ("gone", item(1)), ("deleted", item(1))]
                .into_iter()
                .collect();
        let mut items = before.clone();
        assert_eq!(items.changes_since(&before), []);
        items.put_at("other", Arc::new(item(2).into()));
        items.put_at("same", Arc::new(item(1).into()));
        items.put_at("new", Arc::new(item(1).into()));
        items.put_at("never", Arc::new(tombstone(1).into()));
        items.put_at("deleted", Arc::new(tombstone(2).into()));
        items.remove("gone");
        let mut changes = items.changes_since(&before);
        changes.sort_by_key(|(key, _)| *key);
        assert_eq!(
            changes,
            [("deleted", None), ("gone", None), ("new", Some(&item(1))), ("other", Some(&item(2)))]
        );
    }

    /// Only live items are counted and shown, whatever became of them on the way.
    #[test]
    fn only_live_items_count() {
        let mut items: LiveItems = [("a", item(1))].into_iter().collect();
        items.put_at("a", Arc::new(tombstone(2).into()));
        assert_eq!((items.len(), items.get("a"), items.iter().count()), (0, None, 0));
        items.put_at("a", Arc::new(item(3).into()));
        assert_eq!((items.len(), items.iter().count()), (1, 1));
        items.remove("a");
        items.remove("a");
        assert!(items.is_empty());
    }
}
