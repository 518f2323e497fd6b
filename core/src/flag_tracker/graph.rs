use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A flag or a segment, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) kind: Tracked,
    pub(super) key: Arc<str>,
}

/// The kinds of items that matter to flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Tracked {
    Flag,
    Segment,
}

impl Node {
    pub(super) fn flag(key: impl Into<Arc<str>>) -> Self {
        Self { kind: Tracked::Flag, key: key.into() }
    }

    pub(super) fn segment(key: impl Into<Arc<str>>) -> Self {
        Self { kind: Tracked::Segment, key: key.into() }
    }
}

/// Which flags and segments refer to which, in both directions.
///
/// What is referred to does not have to exist: that it appears is a change of those who refer to it.
#[derive(Debug, Default)]
pub(super) struct Graph {
    references: HashMap<Node, Vec<Node>>,
    dependents: HashMap<Node, HashSet<Node>>,
}

impl Graph {
    /// Replaces what a node refers to.
    pub(super) fn set(&mut self, node: &Node, references: Vec<Node>) {
        for before in self.references.remove(node).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&before) {
                dependents.remove(node);
                if dependents.is_empty() {
                    self.dependents.remove(&before);
                }
            }
        }
        for reference in &references {
            self.dependents.entry(reference.clone()).or_default().insert(node.clone());
        }
        if !references.is_empty() {
            self.references.insert(node.clone(), references);
        }
    }

    /// These nodes, and all that depend on them, directly or not. Each once, also in a cycle.
    pub(super) fn with_dependents(&self, nodes: impl IntoIterator<Item = Node>) -> HashSet<Node> {
        let mut found = HashSet::new();
        let mut to_visit: Vec<Node> = nodes.into_iter().collect();
        while let Some(node) = to_visit.pop() {
            if let Some(dependents) = self.dependents.get(&node) {
                to_visit.extend(dependents.iter().filter(|dependent| !found.contains(*dependent)).cloned());
            }
            found.insert(node);
        }
        found
    }
}

/// As Go's `data_model_dependencies_test`.
#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&Node, &[&Node])]) -> Graph {
        let mut graph = Graph::default();
        for (node, references) in edges {
            graph.set(node, references.iter().map(|reference| (*reference).clone()).collect());
        }
        graph
    }

    fn affected(graph: &Graph, node: &Node) -> Vec<Node> {
        let mut nodes: Vec<_> = graph.with_dependents([node.clone()]).into_iter().collect();
        nodes.sort();
        nodes
    }

    /// What nobody refers to affects itself alone.
    #[test]
    fn a_node_affects_itself() {
        let flag = Node::flag("flag");
        assert_eq!(affected(&Graph::default(), &flag), [flag]);
    }

    /// Through segments of segments and prerequisites of prerequisites.
    #[test]
    fn dependents_are_found_over_any_distance() {
        let (inner, outer) = (Node::segment("inner"), Node::segment("outer"));
        let (low, high, other) = (Node::flag("low"), Node::flag("high"), Node::flag("other"));
        let graph = graph(&[(&outer, &[&inner]), (&low, &[&outer]), (&high, &[&low]), (&other, &[])]);
        assert_eq!(affected(&graph, &inner), [high.clone(), low, inner, outer]);
        assert_eq!(affected(&graph, &high), [high]);
    }

    /// A flag and a segment of one key are two things.
    #[test]
    fn a_flag_is_not_the_segment_of_its_key() {
        let (flag, segment, user) = (Node::flag("same"), Node::segment("same"), Node::flag("user"));
        let graph = graph(&[(&user, &[&segment])]);
        assert_eq!(affected(&graph, &flag), [flag]);
        assert_eq!(affected(&graph, &segment), [user, segment]);
    }

    /// What a node referred to before does not count any more.
    #[test]
    fn references_can_be_replaced() {
        let (before, after, flag) = (Node::segment("before"), Node::segment("after"), Node::flag("flag"));
        let mut graph = graph(&[(&flag, &[&before])]);
        graph.set(&flag, vec![after.clone()]);
        assert_eq!(affected(&graph, &before), [before]);
        assert_eq!(affected(&graph, &after), [flag.clone(), after.clone()]);
        graph.set(&flag, Vec::new());
        assert_eq!(affected(&graph, &after), [after]);
        assert!(graph.references.is_empty() && graph.dependents.is_empty(), "nothing is left behind");
    }

    /// A cycle is no end of the search, and not endless either.
    #[test]
    fn a_cycle_ends() {
        let (a, b, outside) = (Node::flag("a"), Node::flag("b"), Node::flag("outside"));
        let graph = graph(&[(&a, &[&b, &a]), (&b, &[&a]), (&outside, &[&a])]);
        assert_eq!(affected(&graph, &b), [a, b, outside]);
    }
}
