//! Listeners to the value of a flag, as Go's `flag_tracker_impl_test` has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use flagstore_core::{
    DataSourceUpdateSink, Delivery, FeatureStore, FlagTracker, FlagValueChange, Kind, Subscription,
};

use crate::support::{Database, LONG, cached, item};

/// A tracker of flags that have a value in their JSON, and what counts their evaluations.
struct Fixture {
    sink: DataSourceUpdateSink,
    tracker: FlagTracker,
    evaluations: Arc<AtomicUsize>,
}

type Values = Receiver<FlagValueChange<Option<String>>>;

impl Fixture {
    fn new() -> Self {
        let store = cached(&Database::default()).build().unwrap();
        let tracker = FlagTracker::builder(store.clone()).build();
        let sink = DataSourceUpdateSink::builder(store).flag_tracker(tracker.clone()).build();
        Self { sink, tracker, evaluations: Arc::default() }
    }

    fn set(&self, key: &str, version: u64, value: &str) {
        let json = format!(r#"{{"version":{version},"value":"{value}"}}"#);
        assert_eq!(self.sink.upsert(&Kind::FEATURES, key, &item(&json)), Delivery::Stored);
    }

    fn evaluate(&self, key: &'static str) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        #[derive(serde::Deserialize)]
        struct Flag {
            value: String,
        }
        let (store, evaluations) = (Arc::clone(self.sink.store()), Arc::clone(&self.evaluations));
        move || {
            evaluations.fetch_add(1, Ordering::SeqCst);
            let flag = store.get(&Kind::FEATURES, key).unwrap()?;
            Some(flag.decode::<Flag>().unwrap()?.value.clone())
        }
    }

    fn listen(&self, key: &'static str) -> (Values, Subscription) {
        let (tell, told) = channel();
        let evaluate = self.evaluate(key);
        let listener = move |change| drop(tell.send(change));
        (told, self.tracker.add_flag_value_change_listener(key, evaluate, listener))
    }
}

fn next(values: &Values) -> (String, Option<String>, Option<String>) {
    let FlagValueChange { key, old_value, new_value, .. } = values.recv_timeout(LONG).unwrap();
    (key.to_string(), old_value, new_value)
}

fn change(key: &str, old: &str, new: &str) -> (String, Option<String>, Option<String>) {
    (key.to_owned(), Some(old.to_owned()), Some(new.to_owned()))
}

/// It is told of another value, with the one before, and not of a change that leaves the value.
#[test]
fn a_listener_is_told_when_the_value_differs() {
    let fixture = Fixture::new();
    fixture.set("a", 1, "red");
    let (values, _listener) = fixture.listen("a");
    assert_eq!(fixture.evaluations.load(Ordering::SeqCst), 1, "evaluated once, at once");
    fixture.set("a", 2, "red");
    fixture.set("a", 3, "green");
    assert_eq!(next(&values), change("a", "red", "green"));
    fixture.set("a", 4, "red");
    assert_eq!(next(&values), change("a", "green", "red"));
    fixture.set("a", 5, "red");
    fixture.set("a", 6, "blue");
    assert_eq!(next(&values), change("a", "red", "blue"));
}

/// A flag that appears or vanishes has another value if the evaluation says so.
#[test]
fn a_flag_may_come_and_go() {
    let fixture = Fixture::new();
    let (values, _listener) = fixture.listen("a");
    fixture.set("a", 1, "red");
    assert_eq!(next(&values), ("a".to_owned(), None, Some("red".to_owned())));
    assert_eq!(fixture.sink.delete(&Kind::FEATURES, "a", 2), Delivery::Stored);
    assert_eq!(next(&values), ("a".to_owned(), Some("red".to_owned()), None));
}

/// Other flags are not its business, and are not evaluated for it.
#[test]
fn a_listener_is_called_for_its_flag_alone() {
    let fixture = Fixture::new();
    fixture.set("a", 1, "red");
    fixture.set("b", 1, "red");
    let (of_a, _a) = fixture.listen("a");
    let (of_b, _b) = fixture.listen("b");
    fixture.set("b", 2, "green");
    assert_eq!(next(&of_b), change("b", "red", "green"));
    fixture.set("a", 2, "blue");
    assert_eq!(next(&of_a), change("a", "red", "blue"));
    assert_eq!(fixture.evaluations.load(Ordering::SeqCst), 4, "each at first, and once for its own change");
}

/// One that has gone is not called and not evaluated for.
#[test]
fn a_listener_that_is_gone_costs_nothing() {
    let fixture = Fixture::new();
    fixture.set("a", 1, "red");
    let (of_gone, gone) = fixture.listen("a");
    let (of_other, _other) = fixture.listen("a");
    fixture.tracker.remove_listener(gone);
    fixture.set("a", 2, "green");
    assert_eq!(next(&of_other), change("a", "red", "green"));
    assert!(of_gone.recv().is_err(), "its channel is gone with it");
    assert_eq!(fixture.evaluations.load(Ordering::SeqCst), 3);
}

/// What changes while the first evaluation is under way is not missed.
#[test]
fn a_change_during_the_first_evaluation_is_told() {
    let fixture = Fixture::new();
    fixture.set("a", 1, "red");
    let (tell, told) = channel();
    let evaluate = fixture.evaluate("a");
    let sink = fixture.sink.clone();
    let first = AtomicUsize::new(0);
    let _listener = fixture.tracker.add_flag_value_change_listener(
        "a",
        move || {
            let value = evaluate();
            if first.fetch_add(1, Ordering::SeqCst) == 0 {
                let green = item(r#"{"version":2,"value":"green"}"#);
                assert_eq!(sink.upsert(&Kind::FEATURES, "a", &green), Delivery::Stored);
            }
            value
        },
        move |change| drop(tell.send(change)),
    );
    assert_eq!(next(&told), change("a", "red", "green"));
}
