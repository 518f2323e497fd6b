//! Our cache without one of its safeguards fails the cases that are there for it, and no others.
//!
//! A safeguard is a condition, a note or a comparison that only matters when calls overlap or fail. Each is taken out of
//! a copy of the sources by replacing its text, the copy is built, and the cases of the cache run over it. So nothing in
//! the cache itself has to be there for the tests, and a safeguard that nobody would miss is found.
//!
//! That takes some minutes. It runs where `FLAGSTORE_REQUIRE` names `safeguards`.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod memory;
mod safeguard;
mod workspace;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{Fixture, cached, run};
use flagstore_core::CacheMode;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use parking_lot::Mutex;

use memory::{Memory, Overlapping};
use safeguard::{ALL, Safeguard};
use workspace::Workspace;

/// In the copy, this program runs the cases.
const RUNS_CASES: &str = "FLAGSTORE_RUNS_CASES";

/// A fault that is a matter of timing shows in most runs, and not in all.
const TRIES: usize = 5;

fn main() -> ExitCode {
    if std::env::var_os(RUNS_CASES).is_some() {
        let lasting = cached(Memory, CacheMode::Forever);
        return run([Box::new(Memory) as Box<dyn Fixture>, Box::new(Overlapping(lasting))]);
    }
    let required = std::env::var("FLAGSTORE_REQUIRE").unwrap_or_default();
    let runs = required.split(',').any(|name| name.trim() == "safeguards");
    let workspace = Arc::new(Mutex::new(None));
    let trials = ALL.iter().map(|safeguard| {
        let workspace = Arc::clone(&workspace);
        Trial::ignorable_test(format!("safeguards::{}", safeguard.name), move || {
            if !runs {
                return Ok(Completion::ignored_with(
                    "takes minutes: FLAGSTORE_REQUIRE=safeguards cargo test -p flagstore-conformance --test safeguards",
                ));
            }
            let mut workspace = workspace.lock();
            is_missed(safeguard, workspace.get_or_insert_with(Workspace::copy))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Without the safeguard the cases that are named fail, and no others do.
fn is_missed(safeguard: &Safeguard, workspace: &Workspace) -> Result<Completion, Failed> {
    let _without = workspace.without(safeguard)?;
    let mut failed = BTreeSet::new();
    for _ in 0..TRIES {
        failed.extend(workspace.failing_cases()?);
        if safeguard.fails.iter().all(|case| failed.contains(*case)) {
            break;
        }
    }
    let unseen: Vec<_> = safeguard.fails.iter().filter(|case| !failed.contains(**case)).collect();
    let may_fail = |case: &String| safeguard.fails.iter().chain(safeguard.may_fail).any(|name| name == case);
    let others: Vec<_> = failed.iter().filter(|case| !may_fail(case)).collect();
    if unseen.is_empty() && others.is_empty() {
        return Ok(Completion::Completed);
    }
    Err(format!("these do not miss it: {unseen:?}\nand these do, but should not: {others:?}").into())
}
