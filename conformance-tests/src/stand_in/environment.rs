use std::collections::BTreeMap;

use flagstore_core::{AllData, Item, Kind};

/// What the service serves. Every change is a new revision, which is the `ETag`.
#[derive(Default)]
pub(super) struct Environment {
    items: BTreeMap<Kind, BTreeMap<String, Item>>,
    revision: u64,
}

impl Environment {
    pub(super) fn init(&mut self, all_data: &AllData) {
        self.revision += 1;
        self.items.clear();
        for (kind, items) in all_data.kinds() {
            let items = items.map(|(key, item)| (key.to_owned(), item.clone()));
            self.items.entry(kind.clone()).or_default().extend(items);
        }
    }

    pub(super) fn upsert(&mut self, kind: &Kind, key: &str, item: &Item) {
        self.revision += 1;
        let items = self.items.entry(kind.clone()).or_default();
        if item.is_deleted() {
            items.remove(key);
        } else {
            items.insert(key.to_owned(), item.clone());
        }
    }

    pub(super) fn etag(&self) -> String {
        format!("\"revision-{}\"", self.revision)
    }

    /// `{"flags":{...},"segments":{...}}`, each item byte for byte as it was given.
    pub(super) fn json(&self) -> String {
        format!(r#"{{"flags":{},"segments":{}}}"#, self.object(&Kind::FEATURES), self.object(&Kind::SEGMENTS))
    }

    fn object(&self, kind: &Kind) -> String {
        let items = self.items.get(kind).into_iter().flatten();
        let properties: Vec<_> =
            items.map(|(key, item)| format!("{}:{}", quoted(key), item.json())).collect();
        format!("{{{}}}", properties.join(","))
    }
}

/// The event by which a stream begins.
pub(super) fn put(environment: &Environment) -> Vec<u8> {
    event("put", &format!(r#"{{"path":"/","data":{}}}"#, environment.json()))
}

pub(super) fn patch(kind: &Kind, key: &str, item: &Item) -> Vec<u8> {
    event("patch", &format!(r#"{{"path":{},"data":{}}}"#, path(kind, key), item.json()))
}

pub(super) fn delete(kind: &Kind, key: &str, version: u64) -> Vec<u8> {
    event("delete", &format!(r#"{{"path":{},"version":{version}}}"#, path(kind, key)))
}

/// A text of several lines is one `data:` line for each, which the client joins again.
pub(super) fn event(name: &str, data: &str) -> Vec<u8> {
    let data = data.replace('\n', "\ndata: ");
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

fn path(kind: &Kind, key: &str) -> String {
    let kind = if *kind == Kind::FEATURES { "flags" } else { kind.as_str() };
    quoted(&format!("/{kind}/{key}"))
}

/// LaunchDarkly's keys hold nothing that JSON would escape otherwise.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
