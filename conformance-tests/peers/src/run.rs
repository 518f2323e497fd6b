//! Tests that need programs and servers: without them they are ignored, unless they are required.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// One test: what it is called, and what it does.
pub type Test<T> = (&'static str, fn(&T) -> Result<(), String>);

/// A trial of a test in an environment, or of what there is to do to have one.
///
/// `requirement` is the word in `FLAGSTORE_REQUIRE` that makes a test fail which cannot run.
pub fn trial<T: Send + Sync + 'static>(
    name: String,
    requirement: &str,
    environment: Result<std::sync::Arc<T>, String>,
    test: impl FnOnce(&T) -> Result<(), String> + Send + 'static,
) -> Trial {
    let required = std::env::var("FLAGSTORE_REQUIRE").unwrap_or_default();
    match environment {
        Ok(environment) => Trial::test(name, move || test(&environment).map_err(Failed::from)),
        Err(advice) if required.split(',').any(|one| one.trim() == requirement) => {
            Trial::test(name, move || Err(advice.into()))
        }
        Err(advice) => Trial::ignorable_test(name, move || Ok(Completion::ignored_with(advice))),
    }
}

/// Runs the trials, with the arguments of `cargo test`.
#[must_use]
pub fn run(trials: Vec<Trial>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
