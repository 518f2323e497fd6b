//! The list of cases. Each is a private function named as a sentence, so one that is left out does not compile.

use flagstore_core::{AllData, DataSourceErrorKind, DataSourceState, ErrorKind, Kind};

use super::harness::{DEADLINE, Setup, data};
use super::{SourceCase, SourceFixture};
use crate::Skip;
use crate::case::{Succeed, parse};
use crate::controlled::Operation;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) fn all() -> Vec<SourceCase> {
            vec![$(SourceCase { name: stringify!($name), run: $name }),*]
        }
    };
}

cases![
    starts_with_all_data,
    follows_changes,
    keeps_every_byte,
    does_nothing_before_it_is_started,
    starts_once,
    is_valid_when_it_works,
    is_heard_of,
    never_starts_after_a_stop,
    stops_for_good,
    ends_when_it_is_dropped,
    waits_for_an_origin_that_fails_at_first,
    is_interrupted_while_the_origin_fails,
    keeps_the_data_while_the_origin_fails,
    stops_while_the_origin_fails,
    refreshes_all_data,
    sends_again_what_a_store_did_not_take,
    survives_a_store_that_panics,
    works_inside_a_runtime,
];

type Outcome = Result<(), Skip>;

/// Everything that the origin has, flags and segments.
fn starts_with_all_data(fixture: &dyn SourceFixture) -> Outcome {
    let segment = parse(r#"{"key":"s","version":1,"included":["u"]}"#);
    let data = data(&[("a", 1, "x"), ("b", 2, "y")]).with(Kind::SEGMENTS, [("s", segment)]);
    let setup = Setup::new(fixture, &data);
    let source = setup.start();
    setup.wait_for(DataSourceState::Valid);
    setup.wait("initialized", || source.initialized());
    setup.wait_for_note("a", Some("x"));
    setup.wait_for_note("b", Some("y"));
    assert!(setup.store.inner().get(&Kind::SEGMENTS, "s").succeed().is_some());
    Ok(())
}

/// What is new, what is changed and what is gone.
fn follows_changes(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("changed", 1, "x"), ("gone", 1, "x")]));
    let _source = setup.start();
    setup.wait_for(DataSourceState::Valid);
    setup.origin.set(&data(&[("changed", 2, "y"), ("new", 1, "y")]));
    setup.wait_for_note("changed", Some("y"));
    setup.wait_for_note("new", Some("y"));
    setup.wait_for_note("gone", None);
    Ok(())
}

/// Spaces, the spelling of numbers, order, and properties that nobody knows.
fn keeps_every_byte(fixture: &dyn SourceFixture) -> Outcome {
    if !fixture.keeps_bytes() {
        return Err(Skip("this source writes items in its own way (keeps_bytes)"));
    }
    let flag = parse("{ \"z\":60000.0,\"version\" : 7,\"a\":null,\"name\":\"h\u{e9}llo \\u00e9\"}");
    let setup = Setup::new(fixture, &AllData::new().with(Kind::FEATURES, [("a", flag.clone())]));
    let _source = setup.start();
    setup.wait("the flag", || setup.flag("a").is_some());
    assert_eq!(setup.flag("a"), Some(flag));
    Ok(())
}

/// To make it is not to start it.
fn does_nothing_before_it_is_started(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    setup.give_others_time("a", "x");
    assert!(!source.is_alive() && !source.initialized(), "it works before it was started");
    assert_eq!(setup.flag("a"), None);
    assert_eq!(setup.status().status().state, DataSourceState::Initializing);
    Ok(())
}

/// A second start does nothing: all data is stored once.
fn starts_once(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    source.start();
    assert!(source.is_alive(), "it is started, and not alive");
    source.start();
    setup.wait_for(DataSourceState::Valid);
    setup.give_others_time("a", "x");
    assert_eq!(setup.store.calls(Operation::Init), 1);
    source.stop();
    Ok(())
}

/// And not before.
fn is_valid_when_it_works(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let gate = setup.store.hold(Operation::Init, DEADLINE);
    let source = setup.start();
    gate.wait();
    assert_eq!(setup.status().status().state, DataSourceState::Initializing);
    assert!(!source.initialized(), "initialized before anything is stored");
    gate.open();
    setup.wait_for(DataSourceState::Valid);
    assert_eq!(setup.status().status().last_error, None);
    Ok(())
}

/// Whoever watches can see that it lives.
fn is_heard_of(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let _source = setup.start();
    setup.wait_for(DataSourceState::Valid);
    setup.wait("a sign of life", || setup.status().last_event().is_some());
    Ok(())
}

/// A stop that comes first is a stop too.
fn never_starts_after_a_stop(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    source.stop();
    source.start();
    setup.give_others_time("a", "x");
    assert!(!source.is_alive(), "it is alive after a stop");
    assert_eq!(setup.flag("a"), None);
    Ok(())
}

/// Nothing comes any more, and another start does nothing.
fn stops_for_good(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    source.start();
    setup.wait_for(DataSourceState::Valid);
    source.stop();
    source.stop();
    setup.wait("its end", || !source.is_alive());
    source.start();
    setup.origin.set(&data(&[("a", 2, "y")]));
    setup.give_others_time("a", "y");
    assert!(!source.is_alive(), "it is alive after a stop");
    setup.wait_for_note("a", Some("x"));
    Ok(())
}

/// Whoever lets go of it need not stop it first.
fn ends_when_it_is_dropped(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    source.start();
    setup.wait_for(DataSourceState::Valid);
    drop(source);
    setup.origin.set(&data(&[("a", 2, "y")]));
    setup.give_others_time("a", "y");
    setup.origin.set(&data(&[("a", 3, "z")]));
    setup.give_others_time("a", "z");
    assert!(!setup.flag("a").is_some_and(|flag| flag.json().contains("\"z\"")), "it goes on");
    Ok(())
}

/// It says so, and goes on trying.
fn waits_for_an_origin_that_fails_at_first(fixture: &dyn SourceFixture) -> Outcome {
    let setup = failing(fixture)?;
    setup.origin.fail();
    let source = setup.start();
    setup.wait_for_error();
    assert_eq!(setup.status().status().state, DataSourceState::Initializing);
    assert!(source.is_alive() && !source.initialized());
    setup.origin.mend();
    setup.wait_for(DataSourceState::Valid);
    setup.wait_for_note("a", Some("x"));
    Ok(())
}

/// And valid again afterwards, with what changed meanwhile.
fn is_interrupted_while_the_origin_fails(fixture: &dyn SourceFixture) -> Outcome {
    let setup = failing(fixture)?;
    let _source = setup.start();
    setup.wait_for(DataSourceState::Valid);
    setup.origin.fail();
    setup.wait_for(DataSourceState::Interrupted);
    assert!(setup.status().status().last_error.is_some(), "interrupted without an error");
    setup.origin.set(&data(&[("a", 2, "y")]));
    setup.origin.mend();
    setup.wait_for(DataSourceState::Valid);
    setup.wait_for_note("a", Some("y"));
    Ok(())
}

/// What was brought before goes on to count.
fn keeps_the_data_while_the_origin_fails(fixture: &dyn SourceFixture) -> Outcome {
    let setup = failing(fixture)?;
    let source = setup.start();
    setup.wait_for(DataSourceState::Valid);
    setup.origin.fail();
    setup.wait_for(DataSourceState::Interrupted);
    setup.wait_for_note("a", Some("x"));
    assert!(source.initialized(), "no more initialized");
    Ok(())
}

/// Also while it waits before it tries again.
fn stops_while_the_origin_fails(fixture: &dyn SourceFixture) -> Outcome {
    let setup = failing(fixture)?;
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    setup.origin.fail();
    source.start();
    setup.wait_for_error();
    source.stop();
    setup.wait("its end", || !source.is_alive());
    setup.origin.mend();
    setup.give_others_time("a", "x");
    assert_eq!(setup.flag("a"), None);
    Ok(())
}

/// Also what has not changed: the store has lost it.
fn refreshes_all_data(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    let source = setup.origin.factory().create(setup.sink.clone()).succeed();
    source.start();
    setup.wait_for(DataSourceState::Valid);
    setup.store.replace(std::sync::Arc::new(flagstore_core::MemoryStore::new()));
    assert_eq!(setup.flag("a"), None);
    source.refresh();
    setup.wait_for_note("a", Some("x"));
    source.stop();
    Ok(())
}

/// Where the store does not see to it by itself, and without any change.
fn sends_again_what_a_store_did_not_take(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    setup.store.fail_only(Operation::Init, ErrorKind::Unavailable);
    let source = setup.start();
    assert_eq!(setup.wait_for_error(), DataSourceErrorKind::StoreError);
    assert!(!source.initialized(), "initialized although nothing is stored");
    setup.store.heal();
    setup.wait_for_note("a", Some("x"));
    setup.wait_for(DataSourceState::Valid);
    Ok(())
}

/// A panic there is not the end of the source.
fn survives_a_store_that_panics(fixture: &dyn SourceFixture) -> Outcome {
    let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
    setup.store.panic_once(Operation::Init);
    // One that calls the store on this thread may well panic on it.
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| setup.start()));
    let Ok(_source) = started else { return Err(Skip("this source calls the store where it is started")) };
    setup.wait_for(DataSourceState::Valid);
    setup.wait_for_note("a", Some("x"));
    Ok(())
}

/// Started, stopped and dropped where nothing may block on a runtime.
fn works_inside_a_runtime(fixture: &dyn SourceFixture) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("the suite's own runtime: {error}"));
    runtime.block_on(async {
        let setup = Setup::new(fixture, &data(&[("a", 1, "x")]));
        let source = setup.start();
        setup.wait_for(DataSourceState::Valid);
        source.stop();
    });
    Ok(())
}

fn failing(fixture: &dyn SourceFixture) -> Result<Setup, Skip> {
    if fixture.can_fail() {
        Ok(Setup::new(fixture, &data(&[("a", 1, "x")])))
    } else {
        Err(Skip("the origin of this source cannot fail (can_fail)"))
    }
}
