//! Everybody writes, and everybody reads what each has written.

#![allow(clippy::unwrap_used, reason = "a test may as well panic where it cannot go on")]

mod big_segments;
mod known;
mod milliseconds;
mod race;
mod setup;
mod story;
mod table;

use std::process::ExitCode;
use std::sync::Arc;

use flagstore_peers::database::DatabaseKind;
use flagstore_peers::run::{Test, run, trial};

use setup::Setup;
use table::Table;

/// The readers and writers, in the order of the table.
const PEERS: [&str; 8] = [
    "Go",
    "Java",
    "Node",
    "Python",
    "Relay",
    "ours, bare",
    "ours, under the Rust SDK",
    "ours, with our sources",
];

/// What is no cell of the table.
const OTHERS: &[Test<Setup>] = &[
    ("a_version_of_milliseconds_is_read_by_all", milliseconds::a_version_of_milliseconds_is_read_by_all),
    (
        "of_all_that_write_one_key_the_highest_version_is_left",
        race::of_all_that_write_one_key_the_highest_version_is_left,
    ),
    ("big_segments_of_the_relay_are_read_by_all", big_segments::big_segments_of_the_relay_are_read_by_all),
    ("big_segments_of_ours_are_read_by_all", big_segments::big_segments_of_ours_are_read_by_all),
];

fn main() -> ExitCode {
    let table = Arc::new(Table::default());
    let mut trials = Vec::new();
    for kind in DatabaseKind::ALL {
        let setup = Setup::find(kind).map(Arc::new);
        for writer in PEERS.into_iter().filter(|writer| Setup::has(kind, writer)) {
            let table = Arc::clone(&table);
            let name = format!("matrix_{}::what_{}_writes_is_read_by_all", kind.name(), word(writer));
            trials.push(trial(name, "matrix", setup.clone(), move |setup| written_by(writer, setup, &table)));
        }
        for (name, test) in OTHERS {
            trials.push(trial(format!("matrix_{}::{name}", kind.name()), "matrix", setup.clone(), *test));
        }
    }
    let exit = run(trials);
    table.publish();
    exit
}

fn word(name: &str) -> String {
    name.to_lowercase().replace(", ", "_").replace(' ', "_")
}

/// One row of the table: everybody finds what the writer was told, or differs in what is known.
fn written_by(writer: &str, setup: &Setup, table: &Table) -> Result<(), String> {
    let writer = setup.peer(writer);
    let database = setup.database.anew();
    let told = story::tell(writer, &database)?;
    let keeps_unknown = told.keeps_unknown_properties(&database);
    assert_ne!(keeps_unknown, known::loses_unknown_properties(writer.name()), "unknown properties");
    table.add_writer(writer, keeps_unknown);
    let mut wrong = Vec::new();
    for reader in setup.peers() {
        let found = told.differences(reader, &database)?;
        table.add(database.kind, writer, reader, &found, told.checks());
        let expected = known::differences(writer.name(), reader.name());
        let names: Vec<_> = found.iter().map(|difference| difference.check).collect();
        if names != expected {
            wrong.push(format!("{}: expected {expected:?}, found {found:#?}", reader.name()));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
