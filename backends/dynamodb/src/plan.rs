//! What an init has to write: what differs from what is stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use flagstore_core::{AllData, Item, Kind};

use crate::codec::{self, Row};
use crate::schema;

/// Namespace and key of a row.
pub(crate) type RowKey = (Arc<str>, String);

/// What an init was given, compared with what is stored as that is read.
pub(crate) struct Plan {
    pub(crate) namespaces: Vec<Arc<str>>,
    /// The rows of one level may be put in any order, those of the next only after them.
    levels: Vec<Vec<RowKey>>,
    /// All that was given. What is too large is not put, but is not left over either: of that the version stored
    /// before stays.
    given: HashMap<RowKey, Item>,
    pub(crate) too_large: Vec<(Kind, String)>,
    /// What is stored as it was given already.
    unchanged: HashSet<RowKey>,
    /// What is stored and was not given.
    left_over: Vec<RowKey>,
}

impl Plan {
    pub(crate) fn new(prefix: &str, all_data: &AllData) -> Self {
        let namespace = |kind: &Kind| -> Arc<str> { schema::namespace(prefix, kind.as_str()).into() };
        let (mut namespaces, mut given, mut too_large) = (Vec::new(), HashMap::new(), Vec::new());
        for (kind, items) in all_data.kinds() {
            let namespace = namespace(kind);
            for (key, item) in items {
                if !codec::can_be_stored(&namespace, key, item) {
                    too_large.push((kind.clone(), key.to_owned()));
                }
                given.insert((Arc::clone(&namespace), key.to_owned()), item.clone());
            }
            // In one that is too long there is nothing.
            if codec::can_be_namespace(&namespace) {
                namespaces.push(namespace);
            }
        }
        let levels = all_data.dependency_levels().into_iter().map(|level| {
            let level = level.into_iter().map(|(kind, key, item)| (namespace(kind), key, item));
            let level = level.filter(|(namespace, key, item)| codec::can_be_stored(namespace, key, item));
            level.map(|(namespace, key, _)| (namespace, key.to_owned())).collect()
        });
        Self {
            levels: levels.collect(),
            namespaces,
            given,
            too_large,
            unchanged: HashSet::new(),
            left_over: Vec::new(),
        }
    }

    /// Takes note of a row that is stored.
    pub(crate) fn compare(&mut self, key: RowKey, row: &Row) {
        match self.given.get(&key) {
            None => self.left_over.push(key),
            Some(item) if codec::is_row_of(item, row) => drop(self.unchanged.insert(key)),
            Some(_) => {}
        }
    }

    /// What to put, level by level, and then what to delete.
    pub(crate) fn changes(self) -> (Vec<Vec<(RowKey, Item)>>, Vec<RowKey>) {
        let Self { levels, mut given, unchanged, left_over, .. } = self;
        let puts = levels.into_iter().map(|level| {
            let changed = level.into_iter().filter(|key| !unchanged.contains(key));
            changed.filter_map(|key| given.remove_entry(&key)).collect()
        });
        (puts.collect(), left_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        Item::parse(json).unwrap()
    }

    fn names(rows: impl IntoIterator<Item = (RowKey, Item)>) -> Vec<String> {
        rows.into_iter().map(|((namespace, key), _)| format!("{namespace}/{key}")).collect()
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
        let plan = Plan::new("p", &all_data);
        assert_eq!(plan.namespaces, ["p:features".into(), "p:segments".into()]);
        let (puts, left_over) = plan.changes();
        let puts: Vec<_> = puts.into_iter().map(names).collect();
        assert_eq!(puts, [["p:segments/s"], ["p:features/base"], ["p:features/top"]]);
        assert!(left_over.is_empty());
    }

    /// What is too large is not put, and what was stored under its key before is not left over. (Peers' bug
    /// 11.)
    #[test]
    fn a_plan_leaves_out_what_is_too_large_and_keeps_its_key() {
        let large = Item::from_parts(1, false, "x".repeat(400_000)).unwrap();
        let all_data =
            AllData::new().with(Kind::FEATURES, [("large", large), ("", item("{}")), ("small", item("{}"))]);
        let mut plan = Plan::new("", &all_data);
        assert_eq!(plan.too_large, [(Kind::FEATURES, "large".to_owned()), (Kind::FEATURES, String::new())]);
        plan.compare(("features".into(), "large".to_owned()), &Row::new());
        let (puts, left_over) = plan.changes();
        assert_eq!(puts.into_iter().map(names).collect::<Vec<_>>(), [["features/small"]]);
        assert!(left_over.is_empty());
    }

    /// What is stored as it was given is not put again, and what was not given is left over.
    #[test]
    fn only_what_differs_is_in_the_changes() {
        let all_data = AllData::new().with(
            Kind::FEATURES,
            [("same", item(r#"{"version":1}"#)), ("changed", item(r#"{"version":2}"#)), ("new", item("{}"))],
        );
        let mut plan = Plan::new("", &all_data);
        let namespace: Arc<str> = "features".into();
        for key in ["same", "changed", "gone"] {
            let stored = codec::encode(&namespace, key, &item(r#"{"version":1}"#));
            plan.compare((Arc::clone(&namespace), key.to_owned()), &stored);
        }
        let (puts, left_over) = plan.changes();
        assert_eq!(
            puts.into_iter().map(names).collect::<Vec<_>>(),
            [["features/changed".to_owned(), "features/new".to_owned()]]
        );
        assert_eq!(left_over, [(namespace, "gone".to_owned())]);
    }
}
