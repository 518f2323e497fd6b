//! What an evaluation makes of what is in the database.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use flagstore_conformance::{Case, Fixture, Skip};
use flagstore_core::BigSegmentsStatus::{self, Healthy, Stale, StoreError};
use flagstore_core::{BigSegmentPatch, BigSegmentUpdates, PatchOutcome, UnixMillis, context_hash};
use flagstore_redis::RedisStore;

use crate::dynamodb;
use crate::environment::{AFTER, BIG, BY_RULE, MEMBER, NESTED, PLAIN};
use crate::events::events_are_those_of_the_client;
use crate::subject::{Database, Subject};

pub(crate) fn all() -> Vec<Case> {
    let case = |name, run: fn(&Database<'_>) -> Result<(), Skip>| {
        Case::of(name, move |fixture: &dyn Fixture, prefix: &str| run(&Database::new(fixture, prefix)))
    };
    vec![
        case("evaluation::lists_and_rules_decide", lists_and_rules_decide),
        case("evaluation::row_without_lists_leaves_it_to_the_rules", row_without_lists),
        case("evaluation::data_without_a_time_is_stale_and_counts", without_a_time),
        case("evaluation::unreadable_time_is_a_store_error", unreadable_time),
        case("evaluation::unreadable_lists_are_a_store_error", unreadable_lists),
        case("evaluation::one_of_ten_thousand_references_counts", ten_thousand_references),
        case("evaluation::hashes_have_every_character_of_base64", every_character),
        case("evaluation::prefixes_share_nothing", prefixes_share_nothing),
        case("evaluation::unreachable_store_is_a_store_error", unreachable),
        case("evaluation::server_that_never_answers_is_a_store_error", never_answers),
        case("evaluation::threads_do_not_mix_their_contexts", threads),
        case("evaluation::patch_out_of_order_changes_nothing", out_of_order),
        case("evaluation::rules_of_others_and_prerequisites_count", rules_and_prerequisites),
        case("evaluation::all_flags_have_their_statuses", all_flags),
        case("evaluation::events_are_those_of_the_client", events_are_those_of_the_client),
    ]
}

impl Database<'_> {
    /// As the Relay Proxy puts it there.
    pub(crate) fn put(&self, user_key: &str, included: &[&str], excluded: &[&str]) {
        self.big_segments().put_membership(&self.prefix, &context_hash(user_key), included, excluded);
    }

    pub(crate) fn synchronize(&self, time: UnixMillis) {
        self.big_segments().put_metadata(&self.prefix, time);
    }

    /// What each of those that evaluate says of the flag `member`.
    #[track_caller]
    fn assert_member(&self, expected: &[(&str, (bool, Option<BigSegmentsStatus>))]) {
        for subject in self.subjects() {
            assert_member(&subject, expected);
        }
    }
}

#[track_caller]
fn assert_member(subject: &Subject, expected: &[(&str, (bool, Option<BigSegmentsStatus>))]) {
    for (user_key, expected) in expected {
        assert_eq!(subject.get(MEMBER, user_key), *expected, "{user_key}: {subject}");
    }
}

/// Up to date, and old. Inclusion beats exclusion, and both beat the rules.
fn lists_and_rules_decide(database: &Database<'_>) -> Result<(), Skip> {
    database.put("in", &["other.g1", BIG], &[]);
    database.put("out", &["other.g1"], &[BIG]);
    database.put("both", &[BIG], &[BIG]);
    database.put("elsewhere", &["big.g2"], &["big.g4"]);
    database.put(BY_RULE, &[], &["big.g2"]);
    for (time, status) in [(UnixMillis::now(), Healthy), (UnixMillis(1_234_567_890), Stale)] {
        database.synchronize(time);
        let status = Some(status);
        database.assert_member(&[
            ("in", (true, status)),
            ("out", (false, status)),
            ("both", (true, status)),
            ("elsewhere", (false, status)),
            (BY_RULE, (true, status)),
            ("nobody", (false, status)),
        ]);
    }
    database.put(BY_RULE, &[], &[BIG]);
    database.assert_member(&[(BY_RULE, (false, Some(Stale)))]);
    Ok(())
}

fn patch(from: &str, to: &str, included: &[&str]) -> BigSegmentPatch {
    let mut patch = BigSegmentPatch::new(BIG, from, to);
    patch.included.add = included.iter().map(|user_key| context_hash(user_key)).collect();
    patch
}

/// Somebody who has left the lists leaves such a row in some databases.
fn row_without_lists(database: &Database<'_>) -> Result<(), Skip> {
    let updates = database.updates();
    database.synchronize(UnixMillis::now());
    let users = ["a", BY_RULE];
    assert_eq!(updates.apply_patch(&patch("", "1", &users)).unwrap(), PatchOutcome::Applied);
    database.assert_member(&[("a", (true, Some(Healthy)))]);
    let mut leave = BigSegmentPatch::new(BIG, "1", "2");
    leave.included.remove = users.map(context_hash).into();
    assert_eq!(updates.apply_patch(&leave).unwrap(), PatchOutcome::Applied);
    database.assert_member(&[("a", (false, Some(Healthy))), (BY_RULE, (true, Some(Healthy)))]);
    Ok(())
}

/// Nobody ever said that it was up to date, also where there is metadata.
fn without_a_time(database: &Database<'_>) -> Result<(), Skip> {
    database.put("in", &[BIG], &[]);
    let expected = [("in", (true, Some(Stale))), ("nobody", (false, Some(Stale)))];
    database.assert_member(&expected);
    let outcome = database.updates().apply_patch(&patch("", "1", &["other"])).unwrap();
    assert_eq!(outcome, PatchOutcome::Applied);
    database.assert_member(&expected);
    Ok(())
}

/// What is known of the context counts all the same.
fn unreadable_time(database: &Database<'_>) -> Result<(), Skip> {
    database.put("in", &[BIG], &[]);
    database.big_segments().corrupt_metadata(&database.prefix).unwrap();
    database.assert_member(&[("in", (true, Some(StoreError))), ("nobody", (false, Some(StoreError)))]);
    Ok(())
}

/// The rules decide then, and nobody else is concerned.
fn unreadable_lists(database: &Database<'_>) -> Result<(), Skip> {
    database.synchronize(UnixMillis::now());
    database.put("in", &[BIG], &[]);
    for user_key in ["broken", BY_RULE] {
        database.big_segments().corrupt(&database.prefix, &context_hash(user_key)).unwrap();
    }
    database.assert_member(&[
        ("broken", (false, Some(StoreError))),
        (BY_RULE, (true, Some(StoreError))),
        ("in", (true, Some(Healthy))),
    ]);
    Ok(())
}

fn ten_thousand_references(database: &Database<'_>) -> Result<(), Skip> {
    database.synchronize(UnixMillis::now());
    let others: Vec<String> = (0..9_999).map(|n| format!("other-{n}.g{}", n % 10)).collect();
    let mut with = others.iter().map(String::as_str).collect::<Vec<_>>();
    database.put("out", &with, &[]);
    with.insert(5_000, BIG);
    database.put("in", &with, &[]);
    database.assert_member(&[("in", (true, Some(Healthy))), ("out", (false, Some(Healthy)))]);
    Ok(())
}

/// Fifty users, in whose hashes each occurs, and whose keys are not all ASCII.
fn every_character(database: &Database<'_>) -> Result<(), Skip> {
    let users: Vec<String> = (0..50).map(|n| format!("\u{fc}ser {n} \u{1f600}/+=")).collect();
    let hashes: Vec<String> = users.iter().map(|user| context_hash(user)).collect();
    let characters: BTreeSet<char> = hashes.iter().flat_map(|hash| hash.chars()).collect();
    assert_eq!(characters.len(), 65, "{characters:?}");
    database.synchronize(UnixMillis::now());
    for hash in hashes.iter().step_by(2) {
        database.big_segments().put_membership(&database.prefix, hash, &[BIG], &[]);
    }
    for subject in database.subjects() {
        for (number, user) in users.iter().enumerate() {
            assert_eq!(subject.get(MEMBER, user), (number % 2 == 0, Some(Healthy)), "{user}: {subject}");
        }
    }
    Ok(())
}

fn prefixes_share_nothing(database: &Database<'_>) -> Result<(), Skip> {
    let other = database.beside("0");
    database.put("a", &[BIG], &[]);
    database.synchronize(UnixMillis::now());
    other.put("b", &[BIG], &[]);
    database.assert_member(&[("a", (true, Some(Healthy))), ("b", (false, Some(Healthy)))]);
    other.assert_member(&[("a", (false, Some(Stale))), ("b", (true, Some(Stale)))]);
    Ok(())
}

/// The flags are there, and the rules decide.
fn without_an_answer(database: &Database<'_>, store: &dyn Fn() -> Arc<dyn BigSegmentUpdates>) {
    for subject in database.subjects_above(store) {
        assert_member(&subject, &[("in", (false, Some(StoreError))), (BY_RULE, (true, Some(StoreError)))]);
        assert_eq!(subject.get(PLAIN, "in"), (false, None), "{subject}");
    }
}

fn unreachable(database: &Database<'_>) -> Result<(), Skip> {
    let open = || database.big_segments().open_unreachable();
    if open().is_none() {
        return Err(Skip("a file cannot be out of reach"));
    }
    without_an_answer(database, &|| open().unwrap());
    Ok(())
}

/// Every evaluation ends, soon after the store's deadline.
fn never_answers(database: &Database<'_>) -> Result<(), Skip> {
    const DEADLINE: Duration = Duration::from_millis(100);
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    let redis = || -> Arc<dyn BigSegmentUpdates> {
        Arc::new(RedisStore::builder().url(format!("redis://{address}")).timeout(DEADLINE).build().unwrap())
    };
    let dynamodb = || -> Arc<dyn BigSegmentUpdates> {
        let builder = dynamodb::builder("mute", &format!("http://{address}"));
        Arc::new(builder.timeout(DEADLINE).build().unwrap())
    };
    match database.name() {
        "redis" => without_an_answer(database, &redis),
        "dynamodb" => without_an_answer(database, &dynamodb),
        _ => return Err(Skip("a file always answers")),
    }
    Ok(())
}

/// While somebody else goes on writing.
fn threads(database: &Database<'_>) -> Result<(), Skip> {
    const THREADS: usize = 8;
    database.synchronize(UnixMillis::now());
    let users: Vec<String> = (0..12).map(|n| format!("user-{n}")).collect();
    for user in users.iter().step_by(2) {
        database.put(user, &[BIG], &[]);
    }
    for subject in database.subjects() {
        let (subject, users) = (&subject, &users);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..10 {
                    database.put(&format!("somebody-else-{round}"), &[BIG], &[]);
                }
            });
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in (0..5 * users.len()).map(|step| (step + 5 * thread) % users.len()) {
                        let expected = (number % 2 == 0, Some(Healthy));
                        assert_eq!(subject.get(MEMBER, &users[number]), expected, "{number}: {subject}");
                    }
                });
            }
        });
    }
    Ok(())
}

/// One that is late, and one whose turn has not come.
fn out_of_order(database: &Database<'_>) -> Result<(), Skip> {
    let updates = database.updates();
    database.synchronize(UnixMillis::now());
    let (first, second) = (patch("", "1", &["a"]), patch("1", "2", &["b"]));
    assert_eq!(updates.apply_patch(&second).unwrap(), PatchOutcome::OutOfOrder(String::new()));
    database.assert_member(&[("a", (false, Some(Healthy))), ("b", (false, Some(Healthy)))]);
    assert_eq!(updates.apply_patch(&first).unwrap(), PatchOutcome::Applied);
    assert_eq!(updates.apply_patch(&second).unwrap(), PatchOutcome::Applied);
    let mut late = patch("", "1", &["c"]);
    late.included.remove = vec![context_hash("a")];
    assert_eq!(updates.apply_patch(&late).unwrap(), PatchOutcome::OutOfOrder("2".to_owned()));
    let expected = ["a", "b", "c"].map(|user_key| (user_key, (user_key != "c", Some(Healthy))));
    database.assert_member(&expected);
    Ok(())
}

fn rules_and_prerequisites(database: &Database<'_>) -> Result<(), Skip> {
    database.synchronize(UnixMillis::now());
    database.put("in", &[BIG], &[]);
    for subject in database.subjects() {
        for flag in [NESTED, AFTER] {
            for (user_key, expected) in [("in", true), (BY_RULE, true), ("nobody", false)] {
                let result = subject.get(flag, user_key);
                assert_eq!(result, (expected, Some(Healthy)), "{flag} for {user_key}: {subject}");
            }
        }
    }
    Ok(())
}

/// Of the evaluator each flag has its own, of the client all have one.
fn all_flags(database: &Database<'_>) -> Result<(), Skip> {
    database.synchronize(UnixMillis::now());
    database.put("in", &[BIG], &[]);
    for subject in database.subjects() {
        for (user_key, is_in) in [("in", true), ("nobody", false)] {
            let of_plain = subject.is_client().then_some(Healthy);
            let of_big = (is_in, Some(Healthy));
            assert_eq!(
                subject.all([MEMBER, NESTED, AFTER, PLAIN], user_key),
                [of_big, of_big, of_big, (false, of_plain)],
                "{user_key}: {subject}"
            );
        }
    }
    Ok(())
}
