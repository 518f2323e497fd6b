//! A timestamp as a version, as the LaunchDarkly service itself makes them for some items.

use flagstore_core::AllData;
use flagstore_peers::flags::{environment, flag};
use serde_json::json;

use crate::known;
use crate::setup::Setup;

/// A version that needs more than 32 bits is read by all that are not known to refuse it.
pub(crate) fn a_version_of_milliseconds_is_read_by_all(setup: &Setup) -> Result<(), String> {
    let database = setup.database.anew();
    let data = environment([flag("now", 1_760_000_000_000, "v1")], []);
    database.store().init(&AllData::from_json(&data.to_string()).unwrap()).unwrap();
    for reader in setup.peers() {
        let found = reader.evaluate(&database, &["now"], "alice")?;
        let refused = known::refuses_versions_of_milliseconds(reader.name());
        let expected = if refused { json!(null) } else { json!("v1") };
        assert_eq!(found.results["now"].value, expected, "{}", reader.name());
    }
    Ok(())
}
