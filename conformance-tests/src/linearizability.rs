//! Whether a recorded history of concurrent calls on one key could have come from a store that does one
//! call at a time (Herlihy and Wing 1990; the search is that of Wing and Gong 1993, with Lowe's cache of
//! states seen).

use std::collections::HashSet;

/// What is stored under the key: a version, and which write put it there.
pub(crate) type Stored = Option<(u64, u32)>;

/// A call, with what it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Init((u64, u32)),
    Applied((u64, u32)),
    Stale { given: u64, current: Stored },
    Get(Stored),
}

impl Call {
    /// What is stored after this call, if before it was `stored`. `None` if it cannot have returned that.
    fn step(&self, stored: Stored) -> Option<Stored> {
        let version = stored.map(|(version, _)| version);
        match *self {
            Self::Init(new) => Some(Some(new)),
            Self::Applied(new) => version.is_none_or(|version| version < new.0).then_some(Some(new)),
            Self::Stale { given, current } => {
                (current == stored && version.is_some_and(|version| version >= given)).then_some(stored)
            }
            Self::Get(found) => (found == stored).then_some(stored),
        }
    }
}

/// A call, and when it began and ended, as positions in one global order.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) call: Call,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// Whether the calls can be put into an order that explains every result, and in which none comes before
/// another that had ended when it began. At most 64 calls.
pub(crate) fn is_linearizable(history: &[Recorded]) -> bool {
    assert!(history.len() <= 64, "the search keeps the calls in the bits of one number");
    let all = (1_u128 << history.len()) - 1;
    let mut seen = HashSet::new();
    let mut open = vec![(0_u64, None)];
    while let Some((done, stored)) = open.pop() {
        if u128::from(done) == all {
            return true;
        }
        let pending = || history.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        let first_end = pending().map(|(_, recorded)| recorded.ended).min().unwrap_or(u64::MAX);
        for (n, recorded) in pending().filter(|(_, recorded)| recorded.began <= first_end) {
            if let Some(after) = recorded.call.step(stored) {
                let state = (done | 1 << n, after);
                if seen.insert(state) {
                    open.push(state);
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(calls: &[(Call, u64, u64)]) -> Vec<Recorded> {
        let recorded = calls.iter().cloned();
        recorded.map(|(call, began, ended)| Recorded { call, began, ended }).collect()
    }

    const A1: (u64, u32) = (1, 1);
    const B2: (u64, u32) = (2, 2);

    #[test]
    fn one_call_after_another_is_linearizable() {
        assert!(is_linearizable(&history(&[
            (Call::Get(None), 0, 1),
            (Call::Applied(A1), 2, 3),
            (Call::Stale { given: 1, current: Some(A1) }, 4, 5),
            (Call::Init(A1), 6, 7),
            (Call::Get(Some(A1)), 8, 9),
        ])));
    }

    #[test]
    fn calls_that_overlap_may_be_in_any_order() {
        let overlapping = [(Call::Applied(B2), 0, 9), (Call::Get(None), 1, 2), (Call::Get(Some(B2)), 3, 4)];
        assert!(is_linearizable(&history(&overlapping)));
    }

    #[test]
    fn a_read_that_goes_back_is_not() {
        let back = [(Call::Applied(B2), 0, 9), (Call::Get(Some(B2)), 1, 2), (Call::Get(None), 3, 4)];
        assert!(!is_linearizable(&history(&back)));
    }

    #[test]
    fn two_writers_of_one_version_are_not() {
        assert!(!is_linearizable(&history(&[(Call::Applied((2, 1)), 0, 9), (Call::Applied(B2), 0, 9)])));
    }

    #[test]
    fn a_lost_write_is_not() {
        let lost = [(Call::Applied(B2), 0, 1), (Call::Applied((3, 3)), 0, 1), (Call::Get(Some(B2)), 2, 3)];
        assert!(!is_linearizable(&history(&lost)));
    }

    #[test]
    fn a_stale_answer_with_an_older_item_is_not() {
        let lie = [(Call::Applied(B2), 0, 1), (Call::Stale { given: 3, current: Some(B2) }, 2, 3)];
        assert!(!is_linearizable(&history(&lie)));
    }
}
