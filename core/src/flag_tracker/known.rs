use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Graph, Node, Tracked};
use crate::{Item, Kind, LiveItems, dependencies};

/// The flags and segments as they were when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Known {
    flags: HashMap<Arc<str>, Item>,
    segments: HashMap<Arc<str>, Item>,
    graph: Graph,
}

impl Tracked {
    pub(super) const ALL: [Self; 2] = [Self::Flag, Self::Segment];

    pub(super) fn of(kind: &Kind) -> Option<Self> {
        match kind {
            kind if *kind == Kind::FEATURES => Some(Self::Flag),
            kind if *kind == Kind::SEGMENTS => Some(Self::Segment),
            _ => None,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Flag => Kind::FEATURES,
            Self::Segment => Kind::SEGMENTS,
        }
    }
}

impl Known {
    /// Takes what there is of one item. The node, if that is not what was known.
    pub(super) fn take_item(&mut self, kind: Tracked, key: &str, item: Option<&Item>) -> Option<Node> {
        let items = self.items(kind);
        if items.get(key) == item {
            return None;
        }
        let key: Arc<str> = items.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key));
        match item {
            Some(item) => drop(items.insert(Arc::clone(&key), item.clone())),
            None => drop(items.remove(&key)),
        }
        let node = Node { kind, key };
        self.graph.set(&node, item.map(|item| references(kind, item)).unwrap_or_default());
        Some(node)
    }

    /// Takes all that there is of a kind. What is not as it was known.
    pub(super) fn take_all(&mut self, kind: Tracked, live: &LiveItems) -> Vec<Node> {
        let is_gone = |key: &Arc<str>| live.get(key).is_none();
        let gone: Vec<_> = self.items(kind).keys().filter(|key| is_gone(key)).cloned().collect();
        let gone: Vec<_> = gone.iter().filter_map(|key| self.take_item(kind, key, None)).collect();
        let there = live.iter().filter_map(|(key, item)| self.take_item(kind, key, Some(item)));
        there.chain(gone).collect()
    }

    /// The flags among these nodes and all that depends on them.
    pub(super) fn affected_flags(&self, changed: Vec<Node>) -> impl Iterator<Item = Arc<str>> {
        let affected = self.graph.with_dependents(changed).into_iter();
        affected.filter(|node| node.kind == Tracked::Flag).map(|node| node.key)
    }

    fn items(&mut self, kind: Tracked) -> &mut HashMap<Arc<str>, Item> {
        match kind {
            Tracked::Flag => &mut self.flags,
            Tracked::Segment => &mut self.segments,
        }
    }
}

fn references(kind: Tracked, item: &Item) -> Vec<Node> {
    let segments = dependencies::segments_in_rules(item.json()).into_iter().map(Node::segment);
    match kind {
        Tracked::Segment => segments.collect(),
        Tracked::Flag => {
            segments.chain(dependencies::prerequisites(item.json()).into_iter().map(Node::flag)).collect()
        }
    }
}
