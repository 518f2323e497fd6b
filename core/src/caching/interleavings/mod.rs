//! Calls that overlap in any way, and a recovery that overlaps them: in the end table and database agree.
//!
//! Everything runs in one thread, and each call in steps (it sets out, the database does it, its answer arrives), so
//! that a list of decisions is one order of all steps, which can be repeated, and made shorter where it shows a fault.
//! `FLAGSTORE_CASES` is how many orders are tried (2 000 unless told otherwise).

mod call;
mod due;
mod world;

use proptest::prelude::*;

use super::table::Rules;
use crate::Kind;
use world::World;

const KIND: Kind = Kind::FEATURES;
const KEYS: [&str; 2] = ["a", "b"];

/// The settings of a wrapper, and the decisions that make a story.
#[derive(Debug, Clone)]
struct Case {
    is_lasting: bool,
    keeps_everything: bool,
    /// Whether values have to make room.
    has_capacity: bool,
    /// Whether there are inits. If not, what is answered goes up.
    has_inits: bool,
    /// Whether the database refuses and loses data, and others do inits. If not, what is due is there in the end.
    has_accidents: bool,
    /// Whether the database fails. If not, each answer has to be what it had while the question was open.
    may_fail: bool,
    decisions: Vec<[u8; 3]>,
}

impl Case {
    fn rules(&self) -> Rules {
        Rules {
            time_to_live: None,
            is_lasting: self.is_lasting,
            keeps_everything: self.keeps_everything,
            capacity: self.has_capacity.then_some(1),
            missing_capacity: 100,
        }
    }

    /// What went wrong, and the story of it.
    fn fault(&self) -> Option<String> {
        let world = World::new(self.clone());
        let fault = world.run().err()?;
        Some(format!("{fault}\n{}", world.story()))
    }

    /// The same without the decisions that it does not need to fail.
    fn shortened(mut self) -> Self {
        let mut length = self.decisions.len();
        while length > 0 {
            let before = self.decisions.len();
            let mut at = 0;
            while at + length <= self.decisions.len() {
                let mut shorter = self.clone();
                shorter.decisions.drain(at..at + length);
                if shorter.fault().is_some() {
                    self = shorter;
                } else {
                    at += 1;
                }
            }
            if self.decisions.len() == before {
                length -= 1;
            } else {
                length = length.min(self.decisions.len());
            }
        }
        self
    }
}

fn cases() -> u32 {
    std::env::var("FLAGSTORE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

proptest! {
    // Nothing is kept, and nothing is made shorter but by what knows how.
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    })]

    #[test]
    fn table_and_database_agree_in_the_end(
        (is_lasting, keeps_everything, has_capacity) in any::<(bool, bool, bool)>(),
        (has_inits, has_accidents, may_fail) in any::<(bool, bool, bool)>(),
        decisions in prop::collection::vec(any::<[u8; 3]>(), 0..120),
    ) {
        let case = Case { is_lasting, keeps_everything, has_capacity, has_inits, has_accidents, may_fail, decisions };
        if case.fault().is_some() {
            let case = case.shortened();
            return Err(TestCaseError::fail(format!("{case:?}: {}", case.fault().unwrap_or_default())));
        }
    }
}
