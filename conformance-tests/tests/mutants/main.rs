//! The suite can fail: stores and caches with one fault each, and the cases that have to find it.
//!
//! Every case has to be failed by at least one of them, or by our cache without one of its safeguards (the program beside
//! this one), and the same stores without their fault pass all.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments_fault;
mod cache_fault;
mod fault;
mod faulty;
mod faulty_big_segments;
mod faulty_big_segments_fixture;
mod faulty_big_segments_wrapper;
mod faulty_cache;
mod file;
mod naive;
#[path = "../safeguards/safeguard.rs"]
#[allow(dead_code, reason = "only which cases miss a safeguard is of interest here")]
mod safeguard;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use flagstore_conformance::{Case, Fixture, cases, work_if_asked};
use libtest_mimic::{Arguments, Failed, Trial};

use big_segments_fault::BigSegmentsFault;
use cache_fault::CacheFault;
use fault::Fault;
use faulty::FaultyFixture;
use faulty_big_segments_fixture::FaultyBigSegmentsFixture;
use faulty_cache::FaultyCacheFixture;
use file::FileFixture;

fn main() -> ExitCode {
    let mut fixtures = Fault::ALL.iter().map(|(fault, _)| fixture(Some(*fault))).collect::<Vec<_>>();
    fixtures.push(Arc::new(FileFixture::new(None)));
    if let Some(exit) = work_if_asked(&fixtures) {
        return exit;
    }
    // The cases fail by panicking, which is what is asked of them here and nothing to print.
    std::panic::set_hook(Box::new(|_| ()));
    let mut trials = vec![
        Trial::test("mutants::without_a_fault_every_case_passes", without_a_fault_every_case_passes),
        Trial::test("mutants::without_a_fault_an_init_in_pieces_passes", || {
            pass(cases::core(), is_of_inits, || Arc::new(FaultyFixture::in_pieces()))
        }),
        Trial::test("mutants::without_a_fault_files_pass_between_processes", || {
            pass(cases::core(), is_between_processes, || Arc::new(FileFixture::new(None)))
        }),
        Trial::test("mutants::a_source_that_never_reports_fails_every_time", || {
            let fixture = || fixture(Some(Fault::ReportsNoChanges));
            let is_about_it = |name: &str| name.starts_with("changes::");
            (0..TRIES / 2).try_for_each(|_| fail(cases::core(), is_about_it, fixture))
        }),
        Trial::test("mutants::every_case_has_a_mutant", every_case_has_a_mutant),
    ];
    trials.extend(Fault::ALL.iter().map(|(fault, cases)| {
        let run = move || {
            let fixture = || fixture(Some(*fault));
            fails(cases::core(), "", cases, fixture)?;
            // These take out one thing each, so the other cases around it hold.
            let is_near: fn(&str) -> bool = match fault {
                fault if fault.is_between_processes() => is_between_processes,
                fault if fault.is_of_inits_in_pieces() => is_of_inits,
                _ => return Ok(()),
            };
            pass(cases::core(), |name| is_near(name) && !cases.contains(&name), fixture)
        };
        Trial::test(format!("mutants::{fault:?}"), run)
    }));
    trials.extend(CacheFault::ALL.iter().map(|(fault, cases)| {
        let fixture = || Arc::new(FaultyCacheFixture::new(*fault)) as Arc<dyn Fixture>;
        let run = move || fails(cases::caching(), "caching::", cases, fixture);
        Trial::test(format!("mutants::caching::{fault:?}"), run)
    }));
    trials.extend(BigSegmentsFault::ALL.iter().map(|(fault, cases)| {
        let fixture = || Arc::new(FaultyBigSegmentsFixture::new(*fault)) as Arc<dyn Fixture>;
        let run = move || fails(cases::big_segments(), "big_segments::", cases, fixture);
        Trial::test(format!("mutants::big_segments::{fault:?}"), run)
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn fixture(fault: Option<Fault>) -> Arc<dyn Fixture> {
    match fault {
        Some(fault) if fault.is_between_processes() => Arc::new(FileFixture::new(Some(fault))),
        fault => Arc::new(FaultyFixture::new(fault)),
    }
}

fn passes(case: &Case, fixture: &dyn Fixture) -> bool {
    catch_unwind(AssertUnwindSafe(|| case.run(fixture))).is_ok()
}

fn is_between_processes(name: &str) -> bool {
    name.starts_with("processes::") || name.starts_with("changes::")
}

/// But for those of ten thousand items, which take their time in pieces.
fn is_of_inits(name: &str) -> bool {
    name.starts_with("init::") && name != "init::stores_ten_thousand_items"
}

/// All of these cases pass.
fn pass(
    all: Vec<Case>,
    is_meant: impl Fn(&str) -> bool,
    fixture: impl Fn() -> Arc<dyn Fixture>,
) -> Result<(), Failed> {
    let meant = all.into_iter().filter(|case| is_meant(case.name()));
    let failed: Vec<_> = meant.filter(|case| !passes(case, &*fixture())).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("these fail and should not: {failed:?}").into()) }
}

/// None of these cases passes.
fn fail(
    all: Vec<Case>,
    is_meant: impl Fn(&str) -> bool,
    fixture: impl Fn() -> Arc<dyn Fixture>,
) -> Result<(), Failed> {
    let meant = all.into_iter().filter(|case| is_meant(case.name()));
    let passed: Vec<_> = meant.filter(|case| passes(case, &*fixture())).collect();
    if passed.is_empty() { Ok(()) } else { Err(format!("these pass and should not: {passed:?}").into()) }
}

/// A fault that is a matter of timing shows in most runs, and not in all.
const TRIES: usize = 20;

/// What is opened with the fault fails these of the cases.
fn fails(
    all: Vec<Case>,
    module: &str,
    names: &[&str],
    fixture: impl Fn() -> Arc<dyn Fixture>,
) -> Result<(), Failed> {
    for name in names {
        let Some(case) = all.iter().find(|case| case.name().strip_prefix(module) == Some(name)) else {
            return Err(format!("there is no case {module}{name}").into());
        };
        if (0..TRIES).all(|_| passes(case, &*fixture())) {
            return Err(format!("{name} does not find the fault").into());
        }
    }
    Ok(())
}

fn without_a_fault_every_case_passes() -> Result<(), Failed> {
    let failed: Vec<_> = cases::all().into_iter().filter(|case| !passes(case, &*fixture(None))).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("these fail without a fault: {failed:?}").into()) }
}

fn every_case_has_a_mutant() -> Result<(), Failed> {
    let of_stores = Fault::ALL.iter().flat_map(|(_, cases)| *cases).map(|name| (*name).to_owned());
    let of_caches = CacheFault::ALL.iter().flat_map(|(_, cases)| *cases);
    let of_safeguards = safeguard::ALL.iter().flat_map(|safeguard| safeguard.fails);
    let of_big_segments = BigSegmentsFault::ALL.iter().flat_map(|(_, cases)| *cases);
    let found: HashSet<_> = of_stores
        .chain(of_caches.chain(of_safeguards).map(|name| format!("caching::{name}")))
        .chain(of_big_segments.map(|name| format!("big_segments::{name}")))
        .collect();
    let missed: Vec<_> = cases::all().into_iter().filter(|case| !found.contains(case.name())).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("no mutant fails these: {missed:?}").into()) }
}
