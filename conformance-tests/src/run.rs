use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::{Case, Fixture, Skip, worker};

/// Runs every case against every fixture, as one test line each, and takes the arguments of `cargo test`.
///
/// This is a test's `main`. Such a test has `harness = false` in its `Cargo.toml`. The environment variable
/// `FLAGSTORE_REQUIRE`, a comma-separated list of fixture names, turns the ignored cases of a fixture that
/// is not [ready](Fixture::ready) into failed ones.
#[must_use]
pub fn run(fixtures: impl IntoIterator<Item = Box<dyn Fixture>>) -> ExitCode {
    let fixtures: Vec<Arc<dyn Fixture>> = fixtures.into_iter().map(Arc::from).collect();
    if let Some(exit) = work_if_asked(&fixtures) {
        return exit;
    }
    hide_panics_on_demand();
    let required = std::env::var("FLAGSTORE_REQUIRE").unwrap_or_default();
    let trials = fixtures.iter().flat_map(|fixture| trials(fixture, &required)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Stores and listeners that a case makes panic say that they were told to. That is nothing to print.
pub(crate) fn hide_panics_on_demand() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !message_of(panic.payload()).ends_with("as it was told to") {
            print(panic);
        }
    }));
}

/// Some cases start their own program again, as another process that writes to the same database. In such a
/// process this does what was asked of it; elsewhere it is `None`. For a `main` that does not call [`run`].
#[must_use]
pub fn work_if_asked(fixtures: &[Arc<dyn Fixture>]) -> Option<ExitCode> {
    worker::Job::from_env().map(|job| job.run(fixtures))
}

fn trials(fixture: &Arc<dyn Fixture>, required: &str) -> Vec<Trial> {
    let ready = fixture.ready();
    let required = is_required(fixture.name(), required);
    fixture
        .cases()
        .into_iter()
        .map(|case| {
            let name = format!("{}::{}", fixture.name(), case.name());
            let fixture = Arc::clone(fixture);
            match ready.clone() {
                Ok(()) => Trial::ignorable_test(name, move || run_case(case, fixture)),
                Err(advice) if required => Trial::test(name, move || Err(advice.into())),
                Err(advice) => Trial::ignorable_test(name, move || Ok(Completion::ignored_with(advice))),
            }
        })
        .collect()
}

/// Whether the list names the fixture, or the backend of which it is a variant.
fn is_required(fixture: &str, list: &str) -> bool {
    list.split(',').map(str::trim).any(|name| {
        fixture
            .strip_prefix(name)
            .is_some_and(|rest| !name.is_empty() && (rest.is_empty() || rest.starts_with('_')))
    })
}

fn run_case(case: Case, fixture: Arc<dyn Fixture>) -> Result<Completion, Failed> {
    match run_within(fixture.deadline(), move || case.run(&*fixture)) {
        Ok(Ok(())) => Ok(Completion::Completed),
        Ok(Err(Skip(reason))) => Ok(Completion::ignored_with(reason)),
        Err(message) => Err(message.into()),
    }
}

/// Runs on a thread of its own, so that a call that hangs is a failure with a name and not a silent wait.
pub(crate) fn run_within<T: Send + 'static>(
    deadline: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message_of(&*panic));
        // Fails only when nobody waits any more, and then nobody wants to know.
        let _ = done.send(result);
    });
    result
        .recv_timeout(deadline)
        .unwrap_or_else(|_| Err(format!("still running after {deadline:?}: a call hangs")))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned()
}

#[cfg(test)]
mod tests {
    use flagstore_core::{FeatureStoreCore, Kind, MemoryStore, StoreError};

    use super::*;

    #[test]
    fn a_call_that_hangs_is_reported() {
        let (_keep_waiting, forever) = mpsc::channel::<()>();
        let result = run_within(Duration::from_millis(10), move || forever.recv().is_ok());
        assert_eq!(result, Err("still running after 10ms: a call hangs".to_owned()));
    }

    /// Its server is gone, say. That is not what `None` says.
    struct Broken;

    impl Fixture for Broken {
        fn name(&self) -> &str {
            "broken"
        }

        fn open(&self, _: &str) -> Result<Arc<dyn FeatureStoreCore>, StoreError> {
            Ok(Arc::new(MemoryStore::new()))
        }

        fn init_is_atomic(&self) -> bool {
            true
        }

        fn corrupt(&self, _: &str, _: &Kind, _: &str) -> Option<()> {
            panic!("the hook broke")
        }

        fn open_unreachable(&self) -> Option<Arc<dyn FeatureStoreCore>> {
            panic!("the hook broke")
        }
    }

    /// A hook that cannot do what it is asked shows as ignored, and one that broke fails each case that asks it.
    #[test]
    fn a_hook_that_broke_is_no_skip() {
        let outcome = |name: &str| {
            let case = crate::cases::core().into_iter().find(|case| case.name() == name).unwrap();
            run_case(case, Arc::new(Broken)).map_err(|failed| format!("{failed:?}"))
        };
        let skipped = outcome("errors::silent_database_is_not_available");
        assert!(matches!(skipped, Ok(Completion::Ignored { .. })));
        for name in ["unreadable::item_spoils_no_other", "errors::unreachable_database_is_not_available"] {
            assert!(outcome(name).is_err_and(|failed| failed.contains("the hook broke")), "{name}");
        }
    }

    #[test]
    fn a_panic_is_reported_with_its_message() {
        let result = run_within(Duration::from_secs(60), || assert_eq!(1, 2, "numbers"));
        assert!(result.is_err_and(|message| message.contains("numbers")));
    }

    #[test]
    fn a_backend_is_required_with_its_variants() {
        assert!(is_required("sqlite", "redis, sqlite"));
        assert!(is_required("sqlite_memory", "sqlite"));
        assert!(!is_required("sqlite", "sqlite_memory"));
        assert!(!is_required("sqliteish", "sqlite"));
        assert!(!is_required("sqlite", ""));
    }
}
