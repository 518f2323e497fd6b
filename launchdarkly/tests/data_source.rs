//! Every source of ours keeps the rules of sources.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

#[path = "support/stand_in.rs"]
mod stand_in;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use flagstore_conformance::stand_in::Answer;
use flagstore_conformance::{Origin, SourceFixture, StandIn, run_sources};
use flagstore_core::{AllData, DataSourceFactory, Kind};
use flagstore_launchdarkly::sources::{
    FileDataSourceBuilder, LaunchDarklyService, PollingDataSourceBuilder, StreamingDataSourceBuilder,
    TestData,
};

use stand_in::stand_in;

fn main() -> ExitCode {
    run_sources([
        Box::new(Streaming) as Box<dyn SourceFixture>,
        Box::new(Polling),
        Box::new(File),
        Box::new(Test),
    ])
}

/// Sources that come back at once are what the suite asks for.
const SOON: Duration = Duration::from_millis(10);

struct Streaming;

impl SourceFixture for Streaming {
    fn name(&self) -> &str {
        "streaming"
    }

    fn open(&self) -> Box<dyn Origin> {
        let of =
            |service| Box::new(StreamingDataSourceBuilder::new(service).initial_reconnect_delay(SOON)) as _;
        Box::new(Service { service: stand_in(), of })
    }
}

struct Polling;

impl SourceFixture for Polling {
    fn name(&self) -> &str {
        "polling"
    }

    fn open(&self) -> Box<dyn Origin> {
        let of =
            |service| Box::new(PollingDataSourceBuilder::new(service).poll_interval_for_tests(SOON)) as _;
        Box::new(Service { service: stand_in(), of })
    }
}

struct Service {
    service: StandIn,
    of: fn(LaunchDarklyService) -> Box<dyn DataSourceFactory>,
}

impl Origin for Service {
    fn factory(&self) -> Box<dyn DataSourceFactory> {
        (self.of)(LaunchDarklyService::new("sdk-key").relay_proxy(self.service.url()))
    }

    fn set(&self, all_data: &AllData) {
        self.service.init(all_data);
    }

    fn fail(&self) {
        self.service.always(Answer::Status(503));
        self.service.cut_connections();
    }

    fn mend(&self) {
        self.service.always(Answer::Service);
    }
}

struct File;

impl SourceFixture for File {
    fn name(&self) -> &str {
        "file"
    }

    fn open(&self) -> Box<dyn Origin> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        Box::new(Folder { _folder: folder, path, text: Mutex::default() })
    }

    fn keeps_bytes(&self) -> bool {
        false
    }
}

struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
    text: Mutex<String>,
}

impl Folder {
    /// At once, so that nobody reads half of it.
    fn write(&self, text: &str) {
        let new = self.path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.path).unwrap();
    }
}

impl Origin for Folder {
    fn factory(&self) -> Box<dyn DataSourceFactory> {
        Box::new(FileDataSourceBuilder::new([&self.path]).poll_interval(SOON))
    }

    fn set(&self, all_data: &AllData) {
        let of = |kind: &Kind| {
            let items = all_data.items(kind).map(|(key, item)| format!("{key:?}:{}", item.json()));
            items.collect::<Vec<_>>().join(",")
        };
        let text =
            format!(r#"{{"flags":{{{}}},"segments":{{{}}}}}"#, of(&Kind::FEATURES), of(&Kind::SEGMENTS));
        let mut last = self.text.lock().unwrap();
        // A file that is broken now is mended with what it would be.
        if !self.path.exists() || fs::read_to_string(&self.path).unwrap() == *last {
            self.write(&text);
        }
        *last = text;
    }

    fn fail(&self) {
        self.write("{\"flags\":");
    }

    fn mend(&self) {
        self.write(&self.text.lock().unwrap());
    }
}

struct Test;

impl SourceFixture for Test {
    fn name(&self) -> &str {
        "test_data"
    }

    fn open(&self) -> Box<dyn Origin> {
        Box::new(Data { data: TestData::new(), last: Mutex::default() })
    }

    fn keeps_bytes(&self) -> bool {
        false
    }

    fn can_fail(&self) -> bool {
        false
    }
}

struct Data {
    data: TestData,
    last: Mutex<Option<AllData>>,
}

impl Origin for Data {
    fn factory(&self) -> Box<dyn DataSourceFactory> {
        Box::new(self.data.clone())
    }

    fn set(&self, all_data: &AllData) {
        let last = self.last.lock().unwrap().replace(all_data.clone());
        for (kind, items) in all_data.kinds() {
            for (key, item) in items {
                self.data.set_json(kind, key, item.json()).unwrap();
            }
        }
        for (kind, items) in last.iter().flat_map(AllData::kinds) {
            for (key, _) in items {
                if all_data.items(kind).all(|(other, _)| other != key) {
                    self.data.delete(kind, key);
                }
            }
        }
    }

    fn fail(&self) {}

    fn mend(&self) {}
}
