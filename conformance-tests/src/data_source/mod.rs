//! The rules of a source of data: of [`UpdateProcessor`](flagstore_core::UpdateProcessor).

mod cases;
mod harness;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use flagstore_core::{AllData, DataSourceFactory};
use libtest_mimic::{Arguments, Completion, Trial};

use crate::Skip;
use crate::run::{hide_panics_on_demand, run_within};

/// How a source plugs into the suite: from where it has its data.
pub trait SourceFixture: Send + Sync + 'static {
    /// One word, under which the cases appear: `streaming` gives `streaming::data_source::starts_with_all_data`.
    fn name(&self) -> &str;

    /// A new origin without any data, which nobody else uses.
    fn open(&self) -> Box<dyn Origin>;

    /// Whether items arrive byte for byte as they were given, version included. Defaults to `true`.
    fn keeps_bytes(&self) -> bool {
        true
    }

    /// Whether [`Origin::fail`] does something. Defaults to `true`.
    fn can_fail(&self) -> bool {
        true
    }

    /// How long a case waits for what has to come. Defaults to a minute, for machines that are busy.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Where a source has its data from, as the suite drives it.
pub trait Origin: Send + Sync + 'static {
    /// What makes sources of this origin, which are quick to see a change and to try again: within a second.
    fn factory(&self) -> Box<dyn DataSourceFactory>;

    /// Has this data from now on, and nothing else. Versions only go up.
    fn set(&self, all_data: &AllData);

    /// Cannot be reached or read from now on, until it is [mended](Self::mend). Those who are connected notice.
    fn fail(&self);

    /// Can be reached and read again, with the data that was set last.
    fn mend(&self);
}

/// One rule, as a test of one idea.
pub struct SourceCase {
    name: &'static str,
    run: fn(&dyn SourceFixture) -> Result<(), Skip>,
}

impl SourceCase {
    /// The name, a rule as a sentence.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it with an origin of its own.
    ///
    /// # Errors
    ///
    /// Why it does not apply to this fixture.
    ///
    /// # Panics
    ///
    /// When the source breaks the rule.
    pub fn run(&self, fixture: &dyn SourceFixture) -> Result<(), Skip> {
        (self.run)(fixture)
    }
}

impl fmt::Debug for SourceCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every case of a source.
#[must_use]
pub fn source_cases() -> Vec<SourceCase> {
    cases::all()
}

/// Runs every case against every fixture, as one test line each: the `main` of a test with `harness = false`.
#[must_use]
pub fn run_sources(fixtures: impl IntoIterator<Item = Box<dyn SourceFixture>>) -> ExitCode {
    hide_panics_on_demand();
    let mut trials = Vec::new();
    for fixture in fixtures.into_iter().map(Arc::<dyn SourceFixture>::from) {
        for case in source_cases() {
            let name = format!("{}::data_source::{}", fixture.name(), case.name());
            let fixture = Arc::clone(&fixture);
            trials.push(Trial::ignorable_test(name, move || {
                match run_within(harness::DEADLINE, move || case.run(&*fixture)) {
                    Ok(Ok(())) => Ok(Completion::Completed),
                    Ok(Err(Skip(reason))) => Ok(Completion::ignored_with(reason)),
                    Err(message) => Err(message.into()),
                }
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
