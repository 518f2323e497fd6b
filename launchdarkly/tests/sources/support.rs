use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{AllData, Item, Kind};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A flag that is on, with one value for everybody, and `rest` among its properties.
pub(crate) fn flag(key: &str, version: u64, value: bool) -> Item {
    let json = format!(
        r#"{{"key":"{key}","version":{version},"on":true,"variations":[{value}],"fallthrough":{{"variation":0}},"offVariation":0,"targets":[],"rules":[],"prerequisites":[],"salt":""}}"#
    );
    Item::parse(json).unwrap()
}

pub(crate) fn flags<'a>(flags: impl IntoIterator<Item = (&'a str, u64)>) -> AllData {
    let flags = flags.into_iter().map(|(key, version)| (key, flag(key, version, true)));
    AllData::new().with(Kind::SEGMENTS, Vec::<(&str, Item)>::new()).with(Kind::FEATURES, flags)
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
