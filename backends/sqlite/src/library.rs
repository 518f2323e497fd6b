//! Which SQLite this program is linked with, and whether it can be trusted with the data.

use crate::error::Failure;

/// STRICT tables came with 3.37.
const OLDEST: i32 = 3_037_000;

/// Refuses a SQLite that cannot do what the schema needs, and, where there is a write-ahead log, one that can lose
/// commits with it.
pub(crate) fn check(has_log: bool) -> Result<(), Failure> {
    check_version(rusqlite::version_number(), rusqlite::version(), has_log)
}

fn check_version(number: i32, version: &str, has_log: bool) -> Result<(), Failure> {
    let reason = if number < OLDEST {
        format!(
            "version {version} is linked and 3.37 is needed: install a newer one, or turn on the feature `bundled`"
        )
    } else if has_log && has_wal_reset_bug(number) {
        format!(
            "version {version} is linked, whose WAL reset bug can lose commits and damage the file when several \
             connections write to it (sqlite.org/wal.html): install 3.51.3 or newer, 3.50.7 or 3.44.6, or turn on \
             the feature `bundled`; where one store of one process has the file for itself, \
             `accept_wal_reset_bug(true)` does as well"
        )
    } else {
        return Ok(());
    };
    Err(Failure::Refused { field: "libsqlite3", reason })
}

/// In all versions from 3.7.0 to 3.51.2, but for two that have the correction of 3.51.3 too.
fn has_wal_reset_bug(number: i32) -> bool {
    match number {
        3_044_006..3_045_000 | 3_050_007..3_051_000 => false,
        _ => (3_007_000..3_051_003).contains(&number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(number: i32, has_log: bool) -> Option<String> {
        check_version(number, "of the test", has_log).err().map(|failure| failure.to_string())
    }

    /// Exactly the versions that sqlite.org names have the bug.
    #[test]
    fn versions_with_the_wal_reset_bug_are_refused() {
        for number in [3_037_000, 3_040_001, 3_044_005, 3_045_000, 3_045_001, 3_050_006, 3_051_000, 3_051_002]
        {
            let reason = refusal(number, true).unwrap();
            assert!(reason.contains("WAL reset bug") && reason.contains("accept_wal_reset_bug"), "{reason}");
            assert_eq!(refusal(number, false), None, "{number} without a log, or with the risk accepted");
        }
        for number in [3_044_006, 3_050_007, 3_051_003, 3_052_000, 3_054_001] {
            assert_eq!(refusal(number, true), None, "{number}");
        }
    }

    /// Without STRICT tables there is nothing to accept.
    #[test]
    fn versions_without_strict_tables_are_refused() {
        for has_log in [false, true] {
            assert!(refusal(3_036_000, has_log).unwrap().contains("3.37 is needed"));
        }
    }

    /// What the feature `bundled` compiles into the program is well.
    #[cfg(feature = "bundled")]
    #[test]
    fn what_is_bundled_is_well() {
        check(true).unwrap();
    }
}
