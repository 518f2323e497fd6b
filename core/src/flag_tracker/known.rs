use std::sync::Arc;

use super::graph::{Graph, Node, Tracked};
use crate::{Item, Kind, LiveItems, dependencies};

/// The flags and segments as they were when they were looked at last.
#[derive(Debug, Default)]
pub(super) struct Known {
    flags: LiveItems,
    segments: LiveItems,
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
        match item {
            Some(item) => items.put_at(key, Arc::new(item.clone().into())),
            None => items.remove(key),
        }
        Some(self.take_references(kind, key, item))
    }

    /// Takes all that there is of a kind. What is not as it was known.
    pub(super) fn take_all(&mut self, kind: Tracked, live: &LiveItems) -> Vec<Node> {
        let before = std::mem::replace(self.items(kind), live.clone());
        let changes = live.changes_since(&before).into_iter();
        changes.map(|(key, item)| self.take_references(kind, key, item)).collect()
    }

    fn take_references(&mut self, kind: Tracked, key: &str, item: Option<&Item>) -> Node {
        let node = Node { kind, key: key.into() };
        self.graph.set(&node, item.map(|item| references(kind, item)).unwrap_or_default());
        node
    }

    /// The flags among these nodes and all that depends on them.
    pub(super) fn affected_flags(&self, changed: Vec<Node>) -> impl Iterator<Item = Arc<str>> {
        let affected = self.graph.with_dependents(changed).into_iter();
        affected.filter(|node| node.kind == Tracked::Flag).map(|node| node.key)
    }

    fn items(&mut self, kind: Tracked) -> &mut LiveItems {
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
