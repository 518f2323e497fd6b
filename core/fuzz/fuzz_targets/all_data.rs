//! Whatever a file or a server says, reading it as an environment ends in its items, or in an error; and
//! putting them into dependency order loses none.
#![no_main]

use flagstore_core::{AllData, Kind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(all_data) = AllData::from_json(text) {
        let sorted = all_data.clone().in_dependency_order();
        for kind in [Kind::FEATURES, Kind::SEGMENTS] {
            assert_eq!(all_data.items(&kind).count(), sorted.items(&kind).count());
            assert!(all_data.items(&kind).all(|(_, item)| text.contains(item.json())));
        }
    }
});
