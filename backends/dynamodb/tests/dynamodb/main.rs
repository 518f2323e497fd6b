//! What is particular to DynamoDB. What holds for every store is in the conformance suite.
//!
//! Without a server these show as ignored, with the command that starts one, and where `FLAGSTORE_REQUIRE`
//! names dynamodb they fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up may as well panic")]

mod big_segments;
mod child;
mod configuration;
mod faults;
mod identity;
mod init;
mod requests;
mod situations;
mod stored;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod throttling;

use std::any::type_name;
use std::process::ExitCode;

use flagstore_core::{AllData, ErrorKind, Item, Kind, StoreError};
use libtest_mimic::{Arguments, Completion, Trial};

use support::Server;

/// A test, named after its function, on a table in which it has a prefix of its own.
struct Case {
    name: &'static str,
    run: fn(&Server),
}

fn case<F: Fn(&Server)>(_named: F, run: fn(&Server)) -> Case {
    let path = type_name::<F>();
    Case { name: path.split_once("::").map_or(path, |(_, name)| name), run }
}

/// Lists cases, so that one that is left out is dead code.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        pub(crate) fn cases() -> Vec<crate::Case> {
            vec![$(crate::case($case, $case)),*]
        }
    };
}
pub(crate) use cases;

fn main() -> ExitCode {
    if let Some(exit) = child::work_if_asked() {
        return exit;
    }
    let server = Server::find();
    let required = std::env::var("FLAGSTORE_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == "dynamodb");
    let modules = [
        big_segments::cases(),
        configuration::cases(),
        faults::cases(),
        identity::cases(),
        init::cases(),
        requests::cases(),
        situations::cases(),
        stored::cases(),
        tables::cases(),
        throttling::cases(),
    ];
    let trials = modules.into_iter().flatten().map(|Case { name, run }| match server.clone() {
        Ok(server) => Trial::test(name, move || {
            run(&server.anew());
            Ok(())
        }),
        Err(advice) if required => Trial::test(name, move || Err(advice.into())),
        Err(advice) => Trial::ignorable_test(name, move || Ok(Completion::ignored_with(advice))),
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn flag(version: u64) -> Item {
    Item::parse(format!(r#"{{"key":"dark-mode","version":{version},"on":true}}"#)).unwrap()
}

/// So many flags of this version, about as long as `size`.
fn flags(count: usize, version: u64, size: usize) -> AllData {
    let filler = "x".repeat(size);
    let item = Item::parse(format!(r#"{{"version":{version},"filler":"{filler}"}}"#)).unwrap();
    AllData::new().with(Kind::FEATURES, (0..count).map(|n| (format!("flag-{n}"), item.clone())))
}

fn assert_kind<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: ErrorKind, says: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(!support::SECRETS.iter().any(|secret| error.to_string().contains(secret)), "{error}");
}
