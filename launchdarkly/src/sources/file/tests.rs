use std::fs;

use flagstore_core::{
    CachingStoreWrapper, DataSourceState, DataSourceStatusProvider, FeatureStore, MemoryStore,
};
use tempfile::TempDir;

use super::*;

const LONG: Duration = Duration::from_secs(60);

struct Fed {
    store: CachingStoreWrapper,
    status: DataSourceStatusProvider,
    source: Arc<dyn UpdateProcessor>,
}

impl Fed {
    fn by(builder: FileDataSourceBuilder) -> Self {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        let sink = DataSourceUpdateSink::builder(store.clone()).build();
        let status = sink.status_provider();
        let source = builder.poll_interval(Duration::from_millis(1)).create(sink).unwrap();
        source.start();
        Self { store, status, source }
    }

    fn item(&self, kind: &Kind, key: &str) -> Option<Item> {
        self.store.get(kind, key).unwrap()
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = std::time::Instant::now() + LONG;
        while !condition(self) {
            assert!(
                std::time::Instant::now() < deadline,
                "waited in vain for {what}: {:?}",
                self.status.status()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait_for_error(&self, text: &str) {
        self.wait_until(text, |fed| {
            fed.status.status().last_error.is_some_and(|error| error.message.contains(text))
        });
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.source.stop();
    }
}

fn folder(files: &[(&str, &str)]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
    for (path, (_, text)) in paths.iter().zip(files) {
        fs::write(path, text).unwrap();
    }
    (folder, paths)
}

/// In both formats, several together.
#[test]
fn files_fill_the_store() {
    let (_folder, paths) = folder(&[
        ("flags.json", r#"{"flags":{"a":{"key":"a", "version":1,"on" : true}}}"#),
        ("values.yaml", "flagValues:\n  b: hello\nsegments:\n  s: {key: s, included: [u]}\n"),
    ]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG), "{:?}", fed.status.status());
    assert!(fed.source.initialized());
    let flag = fed.item(&Kind::FEATURES, "a").unwrap();
    assert_eq!(flag.json(), format!(r#"{{"key":"a", "version":{},"on" : true}}"#, flag.version()));
    assert!(fed.item(&Kind::FEATURES, "b").unwrap().json().contains(r#""variations":["hello"]"#));
    assert!(fed.item(&Kind::SEGMENTS, "s").unwrap().json().contains(r#""included":["u"]"#));
}

/// Whatever version it says, so that it wins wherever the old one is known.
#[test]
fn every_change_is_a_newer_version_of_everything() {
    let (_folder, paths) =
        folder(&[("flags.json", r#"{"flags":{"a":{"version":1,"x":1},"b":{"version":1}}}"#)]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths.clone()));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
    let first = fed.item(&Kind::FEATURES, "b").unwrap().version();
    assert!(first > 1_700_000_000_000, "{first} is no time in milliseconds");
    fs::write(&paths[0], r#"{"flags":{"a":{"version":1,"x":2},"b":{"version":1}}}"#).unwrap();
    fed.wait_until("the change", |fed| fed.item(&Kind::FEATURES, "a").unwrap().json().contains(r#""x":2"#));
    assert!(fed.item(&Kind::FEATURES, "b").unwrap().version() > first);
}

/// Also by renaming another in its place, as editors do it.
#[test]
fn a_replaced_file_is_read_again() {
    let (folder, paths) = folder(&[("flags.json", r#"{"flagValues":{"a":1}}"#)]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths.clone()));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
    let other = folder.path().join("new");
    fs::write(&other, r#"{"flagValues":{"b":2}}"#).unwrap();
    fs::rename(&other, &paths[0]).unwrap();
    fed.wait_until("the change", |fed| fed.item(&Kind::FEATURES, "b").is_some());
    assert_eq!(fed.item(&Kind::FEATURES, "a"), None);
}

/// With file and place, once, and all is well again when it is mended.
#[test]
fn a_broken_file_keeps_the_old_data_and_says_where() {
    let (_folder, paths) =
        folder(&[("flags.json", r#"{"flagValues":{"a":1}}"#), ("more.yaml", "flagValues: {b: 1}\n")]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths.clone()));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
    for (broken, place) in [
        ("{\"flags\":{\n\"a\":", "flags.json: EOF while parsing a value at line 2"),
        ("{\"flags\":{\"a\":[]}}", "flags.json: features/a: "),
        (r#"{"flags":{"a\nforged":[]}}"#, r"flags.json: features/a\nforged: "),
        (r#"{"flags":{"a\nforged":{},"a\nforged":{}}}"#, r"flags.json: the key a\nforged is there twice"),
        ("{\"flagValues\":{\"b\":1}}", "more.yaml: features/b is there already"),
    ] {
        fs::write(&paths[0], broken).unwrap();
        fed.wait_for_error(place);
        assert_eq!(fed.status.status().state, DataSourceState::Interrupted);
        assert!(fed.item(&Kind::FEATURES, "a").is_some() && fed.item(&Kind::FEATURES, "b").is_some());
    }
    fs::write(&paths[0], r#"{"flagValues":{"a":2}}"#).unwrap();
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
}

/// The data comes when the file does.
#[test]
fn a_missing_file_is_waited_for() {
    let (_folder, paths) = folder(&[("flags.json", "")]);
    fs::remove_file(&paths[0]).unwrap();
    let fed = Fed::by(FileDataSourceBuilder::new(paths.clone()));
    fed.wait_for_error("flags.json: ");
    assert_eq!(fed.status.status().state, DataSourceState::Initializing);
    fs::write(&paths[0], r#"{"flagValues":{"a":1}}"#).unwrap();
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
}

/// If asked for, the first file counts, and in it the flag before the value.
#[test]
fn the_first_of_duplicate_keys_may_win() {
    let (_folder, paths) = folder(&[
        ("a.json", r#"{"flagValues":{"a":2},"flags":{"a":{"x":1}}}"#),
        ("b.json", r#"{"flags":{"a":{"x":3},"b":{"x":3}}}"#),
    ]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths).duplicate_keys(DuplicateKeys::FirstWins));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
    assert!(fed.item(&Kind::FEATURES, "a").unwrap().json().contains(r#""x":1"#));
    assert!(fed.item(&Kind::FEATURES, "b").unwrap().json().contains(r#""x":3"#));
}

/// Without a change of the file.
#[test]
fn a_refresh_brings_everything_again() {
    let (_folder, paths) = folder(&[("a.json", r#"{"flagValues":{"a":2}}"#)]);
    let fed = Fed::by(FileDataSourceBuilder::new(paths));
    assert!(fed.status.wait_for(DataSourceState::Valid, LONG));
    let item = Item::parse(r#"{"version":1}"#).unwrap();
    let _ = fed.store.upsert(&Kind::FEATURES, "mark", &item).unwrap();
    fed.source.refresh();
    fed.wait_until("the refresh", |fed| fed.item(&Kind::FEATURES, "mark").is_none());
}

/// Each names its setter.
#[test]
fn wrong_settings_are_refused() {
    let of = |builder: FileDataSourceBuilder| {
        let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
        builder.create(DataSourceUpdateSink::builder(store).build()).unwrap_err().to_string()
    };
    assert_eq!(of(FileDataSourceBuilder::new(Vec::<PathBuf>::new())), "file: build: paths: must name a file");
    let zero = of(FileDataSourceBuilder::new(["a"]).poll_interval(Duration::ZERO));
    assert_eq!(zero, "file: build: poll_interval: must be longer than zero");
}
