//! Which items refer to which, so that what is referred to can be written first.

use std::borrow::Cow;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Item, Kind};

/// Sorts the items of one kind so that each comes behind those it refers to, and otherwise keeps its place.
pub(crate) fn sort(kind: &Kind, items: &mut IndexMap<Arc<str>, Item>) {
    let depths = levels(kind, items);
    let mut by_depth: Vec<_> = std::mem::take(items).into_iter().zip(depths).collect();
    by_depth.sort_by_key(|(_, depth)| *depth);
    items.extend(by_depth.into_iter().map(|(item, _)| item));
}

/// For each item of one kind, in order, a number that is higher than those of the items it refers to.
pub(crate) fn levels(kind: &Kind, items: &IndexMap<Arc<str>, Item>) -> Vec<usize> {
    let references = match kind {
        kind if *kind == Kind::FEATURES => prerequisites,
        kind if *kind == Kind::SEGMENTS => segments_in_rules,
        _ => return vec![0; items.len()],
    };
    let edges: Vec<Vec<usize>> = items
        .values()
        .map(|item| {
            references(item.json()).iter().filter_map(|key| items.get_index_of(key.as_ref())).collect()
        })
        .collect();
    depths(&edges)
}

/// The length of the longest chain of references from each node, leaving out those that close a cycle.
///
/// Walks with a stack of its own: a chain of prerequisites may be longer than the thread's stack is deep.
fn depths(edges: &[Vec<usize>]) -> Vec<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum Visit {
        NotYet,
        OnPath,
        Done,
    }
    let mut visits = vec![Visit::NotYet; edges.len()];
    let mut depths = vec![0; edges.len()];
    for root in 0..edges.len() {
        if visits[root] != Visit::NotYet {
            continue;
        }
        visits[root] = Visit::OnPath;
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(&target) = edges[node].get(*next) else {
                visits[node] = Visit::Done;
                path.pop();
                continue;
            };
            match visits[target] {
                Visit::NotYet => {
                    visits[target] = Visit::OnPath;
                    path.push((target, 0));
                }
                Visit::OnPath => *next += 1,
                Visit::Done => {
                    depths[node] = depths[node].max(depths[target] + 1);
                    *next += 1;
                }
            }
        }
    }
    depths
}

/// The flags that a flag has as prerequisites. None in what is not a flag.
pub(crate) fn prerequisites(json: &str) -> Vec<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Flag<'a> {
        #[serde(borrow)]
        prerequisites: Option<Vec<Prerequisite<'a>>>,
    }
    #[derive(Deserialize)]
    struct Prerequisite<'a> {
        #[serde(borrow)]
        key: Cow<'a, str>,
    }
    let prerequisites = serde_json::from_str::<Flag<'_>>(json).ok().and_then(|flag| flag.prerequisites);
    prerequisites.into_iter().flatten().map(|prerequisite| prerequisite.key).collect()
}

/// The segments to which the rules of a segment or a flag refer. None in what is neither.
pub(crate) fn segments_in_rules(json: &str) -> Vec<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Segment<'a> {
        #[serde(borrow)]
        rules: Option<Vec<Rule<'a>>>,
    }
    #[derive(Deserialize)]
    struct Rule<'a> {
        #[serde(borrow)]
        clauses: Option<Vec<Clause<'a>>>,
    }
    #[derive(Deserialize)]
    struct Clause<'a> {
        #[serde(borrow)]
        op: Cow<'a, str>,
        #[serde(borrow)]
        values: Option<Vec<&'a RawValue>>,
    }
    let rules = serde_json::from_str::<Segment<'_>>(json).ok().and_then(|segment| segment.rules);
    let clauses = rules.into_iter().flatten().flat_map(|rule| rule.clauses.unwrap_or_default());
    clauses
        .filter(|clause| clause.op == "segmentMatch")
        .flat_map(|clause| clause.values.unwrap_or_default())
        .filter_map(|value| serde_json::from_str(value.get()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(kind: &Kind, items: &[(&str, String)]) -> Vec<String> {
        let items = items
            .iter()
            .map(|(key, json)| (Arc::from(*key), Item::from_parts(1, false, json.as_str()).unwrap()));
        let mut items: IndexMap<_, _> = items.collect();
        sort(kind, &mut items);
        items.into_keys().map(|key| key.to_string()).collect()
    }

    fn flag(prerequisites: &[&str]) -> String {
        let keys: Vec<_> =
            prerequisites.iter().map(|key| format!(r#"{{"key":"{key}","variation":0}}"#)).collect();
        format!(r#"{{"version":1,"prerequisites":[{}]}}"#, keys.join(","))
    }

    #[test]
    fn prerequisites_come_first_and_the_rest_stays_in_order() {
        let flags = [
            ("z", flag(&[])),
            ("top", flag(&["middle", "unknown"])),
            ("middle", flag(&["bottom"])),
            ("bottom", flag(&[])),
            ("a", r#"{"version":1,"prerequisites":null}"#.to_owned()),
        ];
        assert_eq!(sorted(&Kind::FEATURES, &flags), ["z", "bottom", "a", "middle", "top"]);
    }

    #[test]
    fn a_segment_comes_behind_the_segments_in_its_rules() {
        let rule = r#"{"version":1,"rules":[{"clauses":[{"op":"segmentMatch","values":["inner", 5]}]}]}"#;
        let segments = [("outer", rule.to_owned()), ("inner", "{}".to_owned())];
        assert_eq!(sorted(&Kind::SEGMENTS, &segments), ["inner", "outer"]);
    }

    #[test]
    fn a_cycle_is_broken_and_not_fatal() {
        let flags = [("a", flag(&["b"])), ("b", flag(&["a"])), ("c", flag(&["c"])), ("d", flag(&["a"]))];
        let sorted = sorted(&Kind::FEATURES, &flags);
        assert_eq!(sorted.len(), 4);
        let place = |key| sorted.iter().position(|sorted| sorted == key);
        assert!(place("a") < place("d"), "d depends on a and is in no cycle: {sorted:?}");
    }

    #[test]
    fn a_chain_may_be_longer_than_the_stack_is_deep() {
        const LENGTH: usize = 100_000;
        let edges: Vec<Vec<usize>> =
            (0..LENGTH).map(|n| if n + 1 < LENGTH { vec![n + 1] } else { vec![] }).collect();
        assert_eq!(depths(&edges)[0], LENGTH - 1);
    }
}
