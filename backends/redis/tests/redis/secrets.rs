//! No password, token or key is in anything that is printed or logged.

use std::process::{Command, ExitCode};
use std::time::Duration;

use flagstore_core::{ChangeSource, FeatureStoreCore, Kind};
use flagstore_redis::redis::Client;
use flagstore_redis::{Credentials, RedisStore, RedisStoreBuilder};

use crate::server::{Server, free_port};
use crate::{Test, flags, upsert};

pub(crate) const TESTS: &[Test] = &[("secrets::are_in_no_output", are_in_no_output)];

const ASKED: &str = "FLAGSTORE_REDIS_SHOW_EVERYTHING";
const SECRET: &str = "sEcReT-pa55";

pub(crate) fn is_asked() -> bool {
    std::env::var_os(ASKED).is_some()
}

/// Another process does everything that can go wrong with all logs on, and everything that it has written is
/// searched.
fn are_in_no_output() {
    let output = Command::new(std::env::current_exe().unwrap()).env(ASKED, "1").output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    assert!(
        text.matches("WRONGPASS").count() + text.matches("uthenticat").count() >= 5,
        "it has tried: {text}"
    );
    assert!(text.contains("DEBUG") || text.contains("TRACE"), "it has logged: {text}");
    assert!(!text.contains("pa55") && !text.contains("sEcReT"), "a secret is shown: {text}");
}

/// In that process.
pub(crate) fn show_everything() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE).init();
    let protected = Server::with(&["--requirepass", "another"]);
    // It answers HELLO and AUTH with an error that repeats the arguments, as old servers do.
    let forgetful = Server::with(&["--rename-command", "HELLO", "", "--rename-command", "AUTH", ""]);
    let open = Server::start();
    for port in [protected.port, forgetful.port, open.port, free_port()] {
        for scheme in ["redis", "unix", "http", "rediss"] {
            for resp in ["", "?protocol=resp3"] {
                let url = format!("{scheme}://user:{SECRET}@127.0.0.1:{port}{resp}");
                show(RedisStore::builder().url(&url));
                if let Ok(client) = Client::open(url.as_str()) {
                    show(RedisStore::builder().client(client));
                }
                show(RedisStore::builder().cluster([url.clone()]));
                show(RedisStore::builder().sentinel("mymaster", [url]).password(SECRET));
            }
        }
        let address = || RedisStore::builder().host("127.0.0.1").port(port);
        show(address().password(SECRET));
        show(address().username("user").password(SECRET));
        show(address().credentials(|| Ok(Credentials::user("user", SECRET))));
        println!("{:?}", Credentials::user("user", SECRET));
    }
    for url in [
        format!("{SECRET}@localhost"),
        format!("redis://:{SECRET}/#@localhost"),
        format!("redis://{SECRET}:6379/x"),
        format!("redis://localhost:{SECRET}"),
        format!("redis://localhost/{SECRET}"),
        format!("redis://localhost?protocol=3&password={SECRET}"),
    ] {
        let shown = RedisStore::builder().url(url);
        println!("{shown:?} {:?}", shown.clone().build().err());
    }
    ExitCode::SUCCESS
}

fn show(builder: RedisStoreBuilder) {
    println!("{builder:?}");
    // A server without TLS waits for more of what it takes for a command, so some of these calls last as long.
    let timeout = Duration::from_millis(100);
    let builder = builder.timeout(timeout).init_timeout(timeout);
    let store = match builder.build() {
        Ok(store) => store,
        Err(error) => return println!("{error} {error:?}"),
    };
    let changes = store.changes();
    println!("{store} {store:?} {changes:?}");
    let (sender, armed) = std::sync::mpsc::channel();
    let watch = changes.watch(Box::new(move |change| drop(sender.send(change))));
    let errors = [
        store.init(&flags(1)).err(),
        store.get(&Kind::FEATURES, "a").err(),
        store.get_all(&Kind::FEATURES).err(),
        upsert(&store, 1).err(),
        store.is_initialized().err(),
    ];
    for error in errors.into_iter().flatten() {
        println!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
    }
    println!("{}", store.is_available());
    let _ = armed.recv_timeout(Duration::from_millis(50));
    drop(watch);
}
