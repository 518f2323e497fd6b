//! What the store costs above the bare synchronous client: `cargo bench -p flagstore-redis`, against the server
//! of `FLAGSTORE_REDIS_URL`. `-- threads` runs only the part of that name.
//!
//! The raw side is one connection and the command that one would write by hand, with owned results.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot set itself up may as well panic")]

use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use flagstore_conformance::ratio::{Comparison, verdict};
use flagstore_core::{AllData, FeatureStoreCore, Item, Kind, Upsert};
use flagstore_redis::RedisStore;
use flagstore_redis::redis::{self, Client, Cmd, Commands, Connection, FromRedisValue, Script};

type Error = Box<dyn std::error::Error>;
type Part = fn(&Bench) -> Result<(), Error>;

const FLAGS: usize = 10_000;
const THREADS: usize = 16;
const SIZES: [(&str, usize, f64); 3] =
    [("0.5 KB", 500, 1.35), ("10 KB", 10_000, 1.5), ("100 KB", 100_000, 2.5)];

/// How the issue asks what to do about it: compares versions as JSON, inside the server.
const CJSON: &str = "local stored = redis.call('HGET', KEYS[1], ARGV[1])
    if stored and cjson.decode(stored).version >= tonumber(ARGV[3]) then return stored end
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
    return false";

/// The second half of an HGET with the comparison in the client.
const COMPARE_AND_SET: &str = "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[3] then return 0 end
    return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";

/// The same with a digest, so that the old text is not sent.
const DIGEST_AND_SET: &str =
    "if redis.sha1hex(redis.call('HGET', KEYS[1], ARGV[1])) ~= ARGV[3] then return 0 end
    return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])";

fn main() -> Result<(), Error> {
    let Ok(url) = std::env::var("FLAGSTORE_REDIS_URL") else {
        println!("FLAGSTORE_REDIS_URL is not set. Start a server: eval \"$(scripts/services up redis)\"");
        return Ok(());
    };
    let bench = Bench { prefix: format!("flagstore-bench-{}", std::process::id()), url };
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let parts: [(&str, Part); 6] = [
        ("get", Bench::get),
        ("upsert", Bench::upsert),
        ("inside", Bench::inside_redis),
        ("environment", Bench::environment),
        ("threads", Bench::threads),
        ("writers", Bench::writers),
    ];
    for (_, part) in parts.iter().filter(|(name, _)| name.contains(&wanted)) {
        part(&bench)?;
    }
    bench.clean_up()
}

struct Bench {
    url: String,
    prefix: String,
}

impl Bench {
    fn raw(&self) -> Result<Connection, Error> {
        Ok(Client::open(self.url.as_str())?.get_connection()?)
    }

    fn store(&self) -> Result<RedisStore, Error> {
        Ok(RedisStore::builder().url(&self.url).prefix(&self.prefix).pool_size(THREADS).build()?)
    }

    fn hash(&self, kind: &str) -> String {
        format!("{}:{kind}", self.prefix)
    }

    fn get(&self) -> Result<(), Error> {
        let (mut raw, store, hash) = (self.raw()?, self.store()?, self.hash("features"));
        for (name, size, _) in SIZES {
            store.upsert(&Kind::FEATURES, name, &flag(1, size)).map(drop)?;
            Comparison::new(format!("get, {name}"), 1.1)
                .rounds(300)
                .repeat(50)
                .measure(
                    |_| ask::<Option<String>>(&mut raw, redis::cmd("HGET").arg(&hash).arg(name)),
                    |_| store.get(&Kind::FEATURES, name).expect("get"),
                )
                .print();
        }
        Ok(())
    }

    fn upsert(&self) -> Result<(), Error> {
        let (mut raw, store, hash) = (self.raw()?, self.store()?, self.hash("raw"));
        for (name, size, limit) in SIZES {
            // Made beforehand: what is measured is the way to Redis.
            let items: Vec<Item> = (0..300 * 20 + 20).map(|version| flag(version, size)).collect();
            Comparison::new(format!("upsert, {name}"), limit)
                .rounds(300)
                .repeat(20)
                .measure(
                    |n| {
                        let item = &items[n as usize];
                        ask::<()>(&mut raw, redis::cmd("HSET").arg(&hash).arg("upserted").arg(item.json()));
                    },
                    |n| {
                        let key = format!("upserted {name}");
                        let upserted = store.upsert(&Kind::FEATURES, &key, &items[n as usize]);
                        assert_eq!(upserted.expect("upsert"), Upsert::Applied);
                    },
                )
                .print();
        }
        Ok(())
    }

    /// The time inside the server, for this store and for others that one could write.
    fn inside_redis(&self) -> Result<(), Error> {
        let (mut raw, store) = (self.raw()?, self.store()?);
        for (name, size, _) in SIZES {
            let hash = self.hash("inside");
            let mut versions = 1..;
            let mut next = || flag(versions.next().expect("endless"), size);
            println!("inside Redis, for each upsert of {name}:");
            let hset = self.usage(&[("hset", 1.0)], || {
                raw.hset::<_, _, _, ()>(&hash, "inside", next().json()).expect("HSET");
            })?;
            println!("    bare HSET                     {hset:>8.1} us");
            let script = Script::new(CJSON);
            let cjson = self.usage(&[("evalsha", 1.0)], || {
                let item = next();
                let mut call = script.key(&hash);
                let call = call.arg("inside").arg(item.json()).arg(item.version());
                assert_eq!(call.invoke::<Option<String>>(&mut raw).expect("script"), None);
            })?;
            println!("    cjson script                  {cjson:>8.1} us");
            for (what, text, digests) in [
                ("HGET, compare and set", COMPARE_AND_SET, false),
                ("HGET, digest and set", DIGEST_AND_SET, true),
            ] {
                let script = Script::new(text);
                let time = self.usage(&[("evalsha", 1.0), ("hget", 0.5)], || {
                    let item = next();
                    let stored: String = raw.hget(&hash, "inside").expect("HGET");
                    let expected = if digests { Script::new(&stored).get_hash().to_owned() } else { stored };
                    let mut call = script.key(&hash);
                    let call = call.arg("inside").arg(item.json()).arg(expected);
                    assert_eq!(call.invoke::<i32>(&mut raw).ok(), Some(0));
                })?;
                println!("    {what:<30}{time:>8.1} us");
            }
            // EXEC's time is that of all commands in the transaction.
            let own = self.usage(&[("multi", 1.0), ("exec", 1.0)], || {
                assert_eq!(store.upsert(&Kind::new("inside"), "inside", &next()).ok(), Some(Upsert::Applied));
            })?;
            match name {
                "10 KB" => println!("    {}", verdict("this store's transaction, us  ", own, 50.0)),
                _ => println!("    this store's transaction      {own:>8.1} us"),
            }
        }
        Ok(())
    }

    /// Microseconds inside the server for each of 500 operations, from `INFO commandstats`.
    ///
    /// `commands` says which commands count, and which part of their calls is not made by a script: that part
    /// is in the script's own time.
    fn usage(&self, commands: &[(&str, f64)], mut operation: impl FnMut()) -> Result<f64, Error> {
        let mut raw = self.raw()?;
        // The first one loads scripts.
        operation();
        let before = statistics(&mut raw)?;
        (0..500).for_each(|_| operation());
        let after = statistics(&mut raw)?;
        let spent = |(command, part): &(&str, f64)| (usec(&after, command) - usec(&before, command)) * part;
        Ok(commands.iter().map(spent).sum::<f64>() / 500.0)
    }

    fn environment(&self) -> Result<(), Error> {
        let (mut raw, store) = (self.raw()?, self.store()?);
        let versions = [flags(1), flags(2)];
        let (hash, inited) = (self.hash("raw"), self.hash("raw-inited"));
        Comparison::new("init, 10 000 flags of 1 KB", 1.1)
            .rounds(20)
            .measure(
                |n| {
                    let mut transaction = redis::pipe();
                    let transaction = transaction.atomic().cmd("DEL").arg(&hash).cmd("HSET").arg(&hash);
                    for (key, item) in versions[n as usize % 2].items(&Kind::FEATURES) {
                        transaction.arg(key).arg(item.json());
                    }
                    transaction.cmd("SET").arg(&inited).arg("").exec(&mut raw).expect("init");
                },
                |n| store.init(&versions[n as usize % 2]).expect("init"),
            )
            .print();
        let many_strings =
            AllData::new().with(Kind::FEATURES, (0..FLAGS).map(|n| (format!("flag-{n}"), strings())));
        for (name, data) in [("flags of 1 KB", &versions[0]), ("of forty short strings", &many_strings)] {
            store.init(data)?;
            let hash = self.hash("features");
            Comparison::new(format!("get_all, 10 000 {name}"), 1.2)
                .rounds(30)
                .measure(
                    |_| ask::<HashMap<String, String>>(&mut raw, redis::cmd("HGETALL").arg(&hash)),
                    |_| store.get_all(&Kind::FEATURES).expect("get_all"),
                )
                .print();
        }
        Ok(())
    }

    /// Throughput of reads on 16 threads, as a part of that of 16 connections.
    fn threads(&self) -> Result<(), Error> {
        const READS: usize = 2000;
        let (store, hash) = (self.store()?, &self.hash("features"));
        let _ = store.upsert(&Kind::FEATURES, "0.5 KB", &flag(1, 500))?;
        let raw = || {
            on_threads(
                |_| {
                    let mut raw = self.raw().expect("connection");
                    move |_| drop(ask::<Option<String>>(&mut raw, redis::cmd("HGET").arg(hash).arg("0.5 KB")))
                },
                READS,
            )
        };
        let own = || on_threads(|_| |_| drop(store.get(&Kind::FEATURES, "0.5 KB").expect("get")), READS);
        // In turns, since each finds the machine as the other has left it.
        let mut ratios: Vec<(f64, f64)> = (0..25)
            .map(|round| match round % 2 {
                0 => (raw(), own()),
                _ => {
                    let own = own();
                    (raw(), own)
                }
            })
            .collect();
        ratios.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        let (raw, own) = ratios[ratios.len() / 2];
        let verdict = if own / raw >= 0.9 { "ok" } else { "UNDER" };
        println!(
            "16 threads reading               raw {raw:>8.0} /s   store {own:>8.0} /s   ratio {:.2}   at least 0.90   {verdict}",
            own / raw
        );
        Ok(())
    }

    /// Sixteen writers, each on a flag of its own: how often is a write done again?
    fn writers(&self) -> Result<(), Error> {
        const WRITES: usize = 500;
        let (store, hash) = (self.store()?, self.hash("watched"));
        let mut statistics_of = self.raw()?;
        let before = statistics(&mut statistics_of)?;
        let own = on_threads(
            |n| {
                let (key, store) = (format!("written {n}"), &store);
                move |version| {
                    let upserted = store.upsert(&Kind::FEATURES, &key, &flag(version as u64, 500));
                    assert_eq!(upserted.expect("upsert"), Upsert::Applied);
                }
            },
            WRITES,
        );
        let after = statistics(&mut statistics_of)?;
        let runs = calls(&after, "evalsha") - calls(&before, "evalsha");
        // With the one by which each thread connects.
        let retries = runs - ((WRITES + 1) * THREADS) as f64;
        println!(
            "16 writers, 16 flags, this store {own:>8.0} /s   retries {retries} of {} writes",
            WRITES * THREADS
        );

        let retries = std::sync::atomic::AtomicUsize::new(0);
        let watched = on_threads(
            |n| {
                let (key, mut raw) = (format!("written {n}"), self.raw().expect("connection"));
                let (hash, retries) = (&hash, &retries);
                move |version| {
                    let json = flag(version as u64, 500);
                    loop {
                        ask::<()>(&mut raw, redis::cmd("WATCH").arg(hash));
                        let stored = ask::<Option<String>>(&mut raw, redis::cmd("HGET").arg(hash).arg(&key));
                        let stored = stored.map(|stored| Item::parse(stored).expect("an item"));
                        assert!(stored.is_none_or(|stored| stored.version() < json.version()));
                        let mut write = redis::pipe();
                        write.atomic().cmd("HSET").arg(hash).arg(&key).arg(json.json());
                        if write.query::<Option<()>>(&mut raw).expect("EXEC").is_some() {
                            break;
                        }
                        retries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            },
            WRITES,
        );
        println!(
            "16 writers, 16 flags, with WATCH {watched:>8.0} /s   retries {} of {} writes",
            retries.into_inner(),
            WRITES * THREADS
        );
        Ok(())
    }

    fn clean_up(&self) -> Result<(), Error> {
        let mut raw = self.raw()?;
        let keys: Vec<String> = raw.keys(format!("{}:*", self.prefix))?;
        keys.iter().try_for_each(|key| Ok(raw.del(key)?))
    }
}

/// Operations a second, of threads that all start at the same moment.
fn on_threads<F: FnMut(usize) + Send>(make: impl Fn(usize) -> F + Sync, count: usize) -> f64 {
    let (start, end) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (make, start, end) = (&make, &start, &end);
            scope.spawn(move || {
                let mut operation = make(n);
                // Connects.
                operation(0);
                start.wait();
                (1..=count).for_each(&mut operation);
                end.wait();
            });
        }
        start.wait();
        let started = Instant::now();
        end.wait();
        (THREADS * count) as f64 / started.elapsed().as_secs_f64()
    })
}

/// An error is a panic, which costs nothing.
fn ask<T: FromRedisValue>(raw: &mut Connection, command: &Cmd) -> T {
    command.query(raw).expect("command")
}

fn statistics(raw: &mut Connection) -> Result<String, Error> {
    Ok(redis::cmd("INFO").arg("commandstats").query(raw)?)
}

fn calls(statistics: &str, command: &str) -> f64 {
    statistic(statistics, command, "calls=")
}

fn usec(statistics: &str, command: &str) -> f64 {
    statistic(statistics, command, "usec=")
}

fn statistic(statistics: &str, command: &str, name: &str) -> f64 {
    let line = statistics.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:")));
    let value = line.and_then(|line| line.split(',').find_map(|field| field.strip_prefix(name)));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// A flag in the order of properties in which the Relay Proxy writes it.
fn flag(version: u64, size: usize) -> Item {
    let rules = size.saturating_sub(150) / 50;
    let rule = r#"{"variation":0,"clauses":[],"id":"0123456789abcde"}"#;
    let rules = vec![rule; rules].join(",");
    let json = format!(
        r#"{{"key":"flag","on":true,"rules":[{rules}],"salt":"0123456789abcdef","version":{version},"deleted":false}}"#
    );
    Item::from_parts(version, false, json).unwrap()
}

/// A flag with a target of forty short keys.
fn strings() -> Item {
    let keys: Vec<_> = (0..40).map(|n| format!(r#""user-{n:04}""#)).collect();
    let json = format!(
        r#"{{"key":"flag","on":true,"targets":[{{"values":[{}],"variation":0}}],"salt":"0123456789abcdef","version":1,"deleted":false}}"#,
        keys.join(",")
    );
    Item::parse(json).expect("an item")
}

fn flags(version: u64) -> AllData {
    AllData::new().with(Kind::FEATURES, (0..FLAGS).map(|n| (format!("flag-{n}"), flag(version, 1000))))
}
