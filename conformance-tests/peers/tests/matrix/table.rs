//! The outcome as tables of Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use flagstore_peers::database::DatabaseKind;
use flagstore_peers::peer::Peer;

use crate::PEERS;
use crate::story::Difference;

/// The comments in the document between which the tables are.
const MARKS: [&str; 2] = ["<!-- matrix -->", "<!-- end of matrix -->"];

/// All that has been found so far.
#[derive(Default)]
pub(crate) struct Table {
    cells: Mutex<BTreeMap<(DatabaseKind, String, String), Cell>>,
    /// Of what each is made, and whether it keeps unknown properties.
    writers: Mutex<BTreeMap<String, (String, bool)>>,
}

struct Cell {
    checks: usize,
    wrong: Vec<&'static str>,
}

impl Table {
    pub(crate) fn add(
        &self,
        database: DatabaseKind,
        writer: &dyn Peer,
        reader: &dyn Peer,
        differences: &[Difference],
        checks: usize,
    ) {
        let key = (database, writer.name().to_owned(), reader.name().to_owned());
        let wrong = differences.iter().map(|difference| difference.check).collect();
        self.cells.lock().unwrap().insert(key, Cell { checks, wrong });
    }

    pub(crate) fn add_writer(&self, writer: &dyn Peer, keeps_unknown: bool) {
        self.writers.lock().unwrap().insert(writer.name().to_owned(), (writer.versions(), keeps_unknown));
    }

    /// Prints the tables, and puts them into the document that is asked for.
    pub(crate) fn publish(&self) {
        let text = self.to_string();
        if self.cells.lock().unwrap().is_empty() {
            return;
        }
        println!("{text}");
        let Some(path) = std::env::var_os("FLAGSTORE_WRITE_MATRIX") else { return };
        let document = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = document.split_once(MARKS[0]).unwrap();
        let (_, after) = rest.split_once(MARKS[1]).unwrap();
        std::fs::write(&path, format!("{before}{}\n{text}\n{}{after}", MARKS[0], MARKS[1])).unwrap();
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cells = self.cells.lock().unwrap();
        for database in DatabaseKind::ALL {
            let title = match database {
                DatabaseKind::Redis => "Redis",
                DatabaseKind::DynamoDb => "DynamoDB",
            };
            writeln!(f, "| {title}: written by ↓, read by → | {} |", PEERS.join(" | "))?;
            writeln!(f, "|---|{}", "---|".repeat(PEERS.len()))?;
            for writer in PEERS {
                let mut row = format!("| {writer} |");
                for reader in PEERS {
                    match cells.get(&(database, writer.to_owned(), reader.to_owned())) {
                        Some(Cell { checks, wrong }) if wrong.is_empty() => write!(row, " all {checks} |")?,
                        Some(Cell { wrong, .. }) => write!(row, " not: {} |", wrong.join(", "))?,
                        None => row.push_str(" |"),
                    }
                }
                writeln!(f, "{row}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "| who | versions | keeps unknown properties |\n|---|---|---|")?;
        let writers = self.writers.lock().unwrap();
        for name in PEERS {
            if let Some((versions, keeps_unknown)) = writers.get(name) {
                let keeps_unknown = if *keeps_unknown { "yes" } else { "no" };
                writeln!(f, "| {name} | {versions} | {keeps_unknown} |")?;
            }
        }
        Ok(())
    }
}
