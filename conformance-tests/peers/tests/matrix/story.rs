//! What LaunchDarkly sends to a writer, and what a reader has to find after it.

use std::any::Any;

use flagstore_core::Kind;
use flagstore_peers::database::Database;
use flagstore_peers::flags::{
    environment, flag, flag_of_segment, flag_with_rollout, segment, segment_with_weight,
};
use flagstore_peers::peer::{Evaluation, Peer};
use flagstore_peers::upstream::Upstream;
use serde_json::{Value, json};

/// The user for whom flags are evaluated.
const USER: &str = "alice";
/// The last that a writer is told.
const END: &str = "the-end";

const NO_FLAG: Option<&str> = None;

/// The checks: what each is called, the flag that it looks at, and the value that this has to have.
const CHECKS: &[(&str, &str, Option<&str>)] = &[
    ("init", "steady", Some("v1")),
    ("a second init replaces", "replaced", Some("v2")),
    ("a second init removes", "vanishes", NO_FLAG),
    ("a newer update", "newer", Some("v3")),
    ("an older update is ignored", "older", Some("v5")),
    ("an equal update is ignored", "equal", Some("v5")),
    ("a new flag", "new", Some("v1")),
    ("a deletion", "deleted", NO_FLAG),
    ("an older deletion is ignored", "kept", Some("v5")),
    ("an update older than the deletion is ignored", "stays-deleted", NO_FLAG),
    ("an update older than the deletion of an unknown flag is ignored", "never", NO_FLAG),
    ("a newer update revives", "revived", Some("v7")),
    ("a key in Unicode", "ключ/ñ 日本", Some("значение 旗")),
    (BEYOND, "🚩", Some("🏁")),
    ("a key with quotes and colons", "a:\"b\" '$inited' {c}", Some("v1")),
    ("unknown properties", "from-the-future", Some("v1")),
    ("a large version", "large", Some("v2000000000")),
    ("version 0", "zero", Some("v0")),
    ("a prerequisite", "dependent", Some("steady was on")),
    ("a segment", "targeted", Some("member")),
    ("an updated segment", "targeted-later", Some("member")),
    ("a deleted segment", "targeted-no-more", Some("other")),
    ("a rollout", "share", Some("v1")),
    ("an updated rollout", "share-later", Some("v2")),
    ("a segment's weight", "weighted", Some("member")),
    ("an updated segment's weight", "weighted-later", Some("member")),
];

/// The same, of flags whose values are numbers: fractions that are off by the last digit if they are read carelessly.
const NUMBERS: &[(&str, &str, f64)] = &[
    ("a fraction", "fraction", 130.653_316_326_530_61),
    ("an updated fraction", "fraction-later", 130.653_316_326_530_61),
];

pub(crate) const BEYOND: &str = "a character beyond the basic plane";
/// All flags at once are as many as there are.
pub(crate) const ALL: &str = "all flags at once";

/// What a writer has been told.
pub(crate) struct Told {
    /// The writer goes on for as long as others read.
    _writing: Box<dyn Any>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
pub(crate) struct Difference {
    pub(crate) check: &'static str,
    expected: String,
    found: String,
}

/// All of them, with the value as JSON.
fn checks() -> impl Iterator<Item = (&'static str, &'static str, Option<Value>)> {
    let texts = CHECKS.iter().map(|(check, flag, value)| (*check, *flag, value.map(Value::from)));
    texts.chain(NUMBERS.iter().map(|(check, flag, value)| (*check, *flag, Some(json!(value)))))
}

fn at_first() -> Value {
    let mut dependent = flag("dependent", 1, "steady was on");
    dependent["prerequisites"] = json!([{"key": "steady", "variation": 1}]);
    let mut from_the_future = flag("from-the-future", 1, "v1");
    from_the_future["unknown"] = json!({"of": ["another", 1.5, null, {"time": "…"}]});
    let flags = [
        flag("steady", 1, "v1"),
        flag("replaced", 1, "v1"),
        flag("vanishes", 1, "v1"),
        flag("newer", 1, "v1"),
        flag("older", 5, "v5"),
        flag("equal", 5, "v5"),
        flag("deleted", 1, "v1"),
        flag("kept", 5, "v5"),
        flag("stays-deleted", 1, "v1"),
        flag("revived", 1, "v1"),
        flag("ключ/ñ 日本", 1, "значение 旗"),
        flag("🚩", 1, "🏁"),
        flag("a:\"b\" '$inited' {c}", 1, "v1"),
        from_the_future,
        flag("large", 2_000_000_000, "v2000000000"),
        flag("zero", 0, "v0"),
        dependent,
        flag_of_segment("targeted", 1, "staff"),
        flag_of_segment("targeted-later", 1, "later"),
        flag_of_segment("targeted-no-more", 1, "no-more"),
        // Of 100 000 users, this one is the 57 193rd by "share", and the 19 981st by "share-later".
        flag_with_rollout("share", 1, "v1", 60_000),
        flag_with_rollout("share-later", 1, "v1", 0),
        flag_of_segment("weighted", 1, "share"),
        flag_of_segment("weighted-later", 1, "share-later"),
        number("fraction", 1),
        flag("fraction-later", 1, "v1"),
    ];
    let segments = [
        segment("staff", 1, &[USER]),
        segment("later", 1, &[]),
        segment("no-more", 1, &[USER]),
        segment_with_weight("share", 1, USER, 60_000),
        segment_with_weight("share-later", 1, USER, 0),
    ];
    environment(flags, segments)
}

/// A flag whose value is the fraction.
fn number(key: &str, version: u64) -> Value {
    let mut flag = flag(key, version, "");
    flag["variations"][1] = json!(NUMBERS[0].2);
    flag
}

/// Tells the writer everything, and returns when it has written everything.
pub(crate) fn tell(writer: &dyn Peer, database: &Database) -> Result<Told, String> {
    let mut data = at_first();
    let upstream = Upstream::start(&data);
    let writing = writer.follow(&upstream, database)?;
    database.wait_for_item(&Kind::FEATURES, "vanishes", 1)?;

    data["flags"].as_object_mut().unwrap().remove("vanishes");
    data["flags"]["replaced"] = flag("replaced", 2, "v2");
    upstream.put(data);
    let patch = |flag| upstream.patch(&Kind::FEATURES, flag);
    let delete = |key, version| upstream.delete(&Kind::FEATURES, key, version);
    patch(flag("newer", 3, "v3"));
    patch(flag("older", 4, "v4"));
    patch(flag("equal", 5, "another v5"));
    patch(flag("new", 1, "v1"));
    delete("deleted", 2);
    delete("kept", 4);
    delete("stays-deleted", 9);
    patch(flag("stays-deleted", 8, "v8"));
    delete("never", 9);
    patch(flag("never", 8, "v8"));
    delete("revived", 6);
    patch(flag("revived", 7, "v7"));
    upstream.patch(&Kind::SEGMENTS, segment("later", 2, &[USER]));
    upstream.delete(&Kind::SEGMENTS, "no-more", 2);
    upstream.patch(&Kind::SEGMENTS, segment_with_weight("share-later", 2, USER, 60_000));
    patch(flag_with_rollout("share-later", 2, "v2", 60_000));
    patch(number("fraction-later", 2));
    patch(flag(END, 1, "v1"));
    database.wait_for_item(&Kind::FEATURES, END, 1)?;
    Ok(Told { _writing: Box::new((writing, upstream)) })
}

impl Told {
    /// Whether the writer stores properties that it does not know.
    #[expect(clippy::unused_self, reason = "only what was told can be checked")]
    pub(crate) fn keeps_unknown_properties(&self, database: &Database) -> bool {
        let item = database.store().get(&Kind::FEATURES, "from-the-future").unwrap().unwrap();
        let stored: Value = serde_json::from_str(item.json()).unwrap();
        stored["unknown"] == at_first()["flags"]["from-the-future"]["unknown"]
    }

    #[expect(clippy::unused_self, reason = "only what was told can be checked")]
    pub(crate) fn checks(&self) -> usize {
        checks().count() + 1
    }

    /// What the reader does not find as it is.
    #[expect(clippy::unused_self, reason = "only what was told can be checked")]
    pub(crate) fn differences(
        &self,
        reader: &dyn Peer,
        database: &Database,
    ) -> Result<Vec<Difference>, String> {
        let flags: Vec<_> = checks().map(|(_, flag, _)| flag).collect();
        let found = reader.evaluate(database, &flags, USER)?;
        let mut differences = Vec::new();
        for (check, flag, value) in checks() {
            let expected = match value {
                Some(value) => Evaluation { value, ..Evaluation::default() },
                None => Evaluation { error: Some("FLAG_NOT_FOUND".to_owned()), ..Evaluation::default() },
            };
            let found = &found.results[flag];
            if *found != expected {
                differences.push(Difference {
                    check,
                    expected: format!("{expected:?}"),
                    found: format!("{found:?}"),
                });
            }
        }
        let mut expected: Vec<&str> =
            checks().filter(|(_, _, value)| value.is_some()).map(|(_, flag, _)| flag).collect();
        expected.push(END);
        expected.sort_unstable();
        let all: Vec<&String> = found.all.keys().collect();
        if all != expected {
            differences.push(Difference {
                check: ALL,
                expected: format!("{expected:?}"),
                found: format!("{all:?}"),
            });
        }
        Ok(differences)
    }
}
