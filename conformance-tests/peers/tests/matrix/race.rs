//! Everybody writes the same keys at once.

use flagstore_core::Kind;
use flagstore_peers::flags::{environment, flag};
use flagstore_peers::upstream::Upstream;
use serde_json::json;

use crate::setup::Setup;

const KEYS: u64 = 12;
/// Of each key. Each of them, after the first, is sent to one of the writers.
const VERSIONS: u64 = 61;

/// Every version of every key is written by one of them, deletions among them, and each of them writes every key. At
/// the end the highest is there, whoever wrote it and in whichever words it is deleted, and everybody sees that.
pub(crate) fn of_all_that_write_one_key_the_highest_version_is_left(setup: &Setup) -> Result<(), String> {
    let database = setup.database.anew();
    let mut writers = Vec::new();
    for peer in setup.peers() {
        // The next one begins only after this one's init, and from then on nobody inits any more.
        let begun = format!("{} has begun", peer.name());
        let flags = (0..KEYS).map(|key| flag(&name(key), 1, "v1")).chain([flag(&begun, 1, "v1")]);
        let upstream = Upstream::start(&environment(flags, []));
        let writing = peer.follow(&upstream, &database)?;
        database.wait_for_item(&Kind::FEATURES, &begun, 1)?;
        writers.push((peer, upstream, writing));
    }
    // The number of writes, by writer and key.
    let mut written = vec![[0; KEYS as usize]; writers.len()];
    for step in 2..=VERSIONS {
        // Each before the one that it replaces.
        let version = if step % 2 == 0 { step + 1 } else { step - 1 };
        for key in 0..KEYS {
            let writer = usize::try_from(version * 5 + key).unwrap() % writers.len();
            written[writer][usize::try_from(key).unwrap()] += 1;
            let (_, upstream, _) = &writers[writer];
            if is_deletion(key, version) {
                upstream.delete(&Kind::FEATURES, &name(key), version);
            } else {
                upstream.patch(&Kind::FEATURES, flag(&name(key), version, &format!("v{version}")));
            }
        }
    }
    assert!(
        written.iter().flatten().all(|writes| *writes >= 7),
        "not everybody writes every key: {written:?}"
    );
    for (peer, upstream, _) in &writers {
        upstream.patch(&Kind::FEATURES, flag(&format!("{} has ended", peer.name()), 1, "v1"));
    }
    for (peer, _, _) in &writers {
        database.wait_for_item(&Kind::FEATURES, &format!("{} has ended", peer.name()), 1)?;
    }
    let names: Vec<String> = (0..KEYS).map(name).collect();
    let flags: Vec<&str> = names.iter().map(String::as_str).collect();
    for (reader, _, _) in &writers {
        let found = reader.evaluate(&database, &flags, "alice")?;
        for key in 0..KEYS {
            let expected =
                if is_deletion(key, VERSIONS) { json!(null) } else { json!(format!("v{VERSIONS}")) };
            assert_eq!(found.results[&name(key)].value, expected, "{} for {}", name(key), reader.name());
        }
    }
    let store = database.store();
    for key in 0..KEYS {
        let item = store.get(&Kind::FEATURES, &name(key)).unwrap().unwrap();
        let expected = (VERSIONS, is_deletion(key, VERSIONS));
        assert_eq!((item.version(), item.is_deleted()), expected, "{}", name(key));
    }
    Ok(())
}

fn name(key: u64) -> String {
    format!("raced-{key}")
}

/// Some of the versions, and the last one of every third key.
fn is_deletion(key: u64, version: u64) -> bool {
    (version + key).is_multiple_of(3)
}
