//! How an item is stored only where nothing newer is.
//!
//! The comparison has to happen inside the server, next to the write. It was chosen by measurement
//! (`cargo bench`, redis-server 7.0, time inside the server for items of 0.5, 10 and 100 KB):
//!
//! | way | round trips | 0.5 KB | 10 KB | 100 KB |
//! |---|---|---|---|---|
//! | bare HSET | 1 | 1.5 us | 2 us | 6 us |
//! | script that decodes the stored JSON with cjson, and writes | 1 | 26 us | 258 us | 2400 us |
//! | HGET, then a script that compares the stored text with what was read, and writes | 2 | 15 us | 65 us | 480 us |
//! | script that looks for the version in the stored text, and writes | 1 | 15 us | 55 us | 340 us |
//! | **such a script that only makes way, and HSETNX, in one transaction** | 1 | 17 us | 35 us | 185 us |
//! | WATCH and HGET, then MULTI, HSET and EXEC | 2 | 4 us | 5 us | 15 us |
//!
//! Redis's Lua hashes every byte of each text that enters a script. So the new text goes around it: the script
//! deletes what is older, and HSETNX stores where nothing is. WATCH is the cheapest for the server and the worst
//! for those who write: every write to another item of the environment makes it fail.
//!
//! The script reads the version only where it can be certain of it. Elsewhere (a nested `version`, `2.0`, what
//! is not an item) the stored text comes back, the comparison is made here, and the script goes again with
//! that text as one that it may delete: a second round trip, and the same for all sizes.
//!
//! Where the server takes no MULTI, the new text goes into the script, which then stores it by itself.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagstore_core::{Item, Upsert};
use parking_lot::Mutex;
use redis::{Cmd, Script, ServerErrorKind, Value};

use crate::codec::item_in;
use crate::connections::Connections;
use crate::error::Failure;
use crate::pool::random;
use crate::session::{Session, answer};

const TEXT: &str = include_str!("upsert.lua");

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(TEXT));

/// How often the stored text may change between a script's answer and its next run, all writers of one item
/// being quick enough for that. Once is rare.
const ROUNDS: u32 = 10;

/// The same where every write to the hash counts, of other processes at least.
const WATCHED_ROUNDS: u32 = 50;

/// After so many upserts without a script one is tried again: somebody may have given the permission.
const WITHOUT_SCRIPTS: u32 = 100;

#[derive(Default)]
pub(crate) struct Upserts {
    /// How many upserts to come do without a script, since the server runs none for this user, who may write.
    without_scripts: AtomicU32,
    /// Whose turn it is to watch: in one process they would only get into each other's way.
    turn: Mutex<()>,
}

impl Upserts {
    pub(crate) fn upsert(
        &self,
        connections: &Connections,
        deadline: Instant,
        hash: &str,
        key: &str,
        item: &Item,
    ) -> Result<Upsert, Failure> {
        let one_less = |count: u32| count.checked_sub(1);
        let asks = self.without_scripts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err();
        let mut refused = None;
        if asks {
            match connections.write(hash, deadline, |session| by_script(session, hash, key, item)) {
                Err(failure) if failure.may_concern_scripts() => refused = Some(failure),
                upserted => return upserted,
            }
        }
        let turn = self.turn.try_lock_until(deadline).ok_or(Failure::Late)?;
        let upserted = connections.write(hash, deadline, |session| by_watching(session, hash, key, item));
        drop(turn);
        if asks && upserted.is_ok() {
            self.without_scripts.store(WITHOUT_SCRIPTS, Ordering::Relaxed);
            tracing::debug!("redis: the server runs no scripts for this user, so upserts use WATCH: slower");
        }
        match (refused, upserted) {
            // Then it was not about scripts.
            (Some(first), Err(failure)) if failure.may_concern_scripts() => Err(first),
            (_, upserted) => upserted,
        }
    }
}

fn by_script(session: &mut Session, hash: &str, key: &str, item: &Item) -> Result<Upsert, Failure> {
    let mut replaceable = Vec::new();
    for round in 0..ROUNDS {
        let Some(stored) = store_unless_stored(session, hash, key, item, &replaceable)? else {
            return Ok(Upsert::Applied);
        };
        match item_in(&stored) {
            Ok(current) if current.version() >= item.version() => return Ok(Upsert::Stale(current)),
            _ => replaceable = stored,
        }
        pause(round);
    }
    Err(Failure::Raced)
}

/// Stores the item, or returns what is stored in its place.
fn store_unless_stored(
    session: &mut Session,
    hash: &str,
    key: &str,
    item: &Item,
    replaceable: &[u8],
) -> Result<Option<Vec<u8>>, Failure> {
    let mut make_way = |command: &str, script: &str| {
        let mut make_way = redis::cmd(command);
        make_way.arg(script).arg(1).arg(hash).arg(key).arg(item.version()).arg(replaceable);
        match in_a_transaction(session, &make_way, hash, key, item) {
            Err(Failure::NoTransaction(_)) => session.query(make_way.arg(item.json())),
            stored => stored,
        }
    };
    match make_way("EVALSHA", SCRIPT.get_hash()) {
        // The first time on this server, or after SCRIPT FLUSH. It was not run, so this is no retry.
        Err(failure) if failure.is_answer(ServerErrorKind::NoScript) => make_way("EVAL", TEXT),
        stored => stored,
    }
}

fn in_a_transaction(
    session: &mut Session,
    make_way: &Cmd,
    hash: &str,
    key: &str,
    item: &Item,
) -> Result<Option<Vec<u8>>, Failure> {
    // Stored where nothing is, something older, or exactly the text that was found to be older or no item.
    // Nothing else runs in the server between the commands of a transaction, and it refuses the transaction as a
    // whole where it would refuse the second command, so what made way is replaced.
    let mut transaction = redis::pipe();
    transaction.add_command(make_way.clone()).cmd("HSETNX").arg(hash).arg(key).arg(item.json());
    let mut answers = session.transact(&mut transaction)?.into_iter();
    let (in_place, stored) = (answers.next().unwrap_or(Value::Nil), answers.next());
    // Where nothing is, it is stored whatever has become of the script.
    if stored == Some(Value::Int(1)) {
        return Ok(None);
    }
    match answer(in_place)? {
        Value::BulkString(stored) => Ok(Some(stored)),
        _ => Err(Failure::NotExecuted),
    }
}

fn by_watching(session: &mut Session, hash: &str, key: &str, item: &Item) -> Result<Upsert, Failure> {
    let mut hget = redis::cmd("HGET");
    hget.arg(hash).arg(key);
    for round in 0..WATCHED_ROUNDS {
        let stored = session.watch(hash, &hget)?;
        if let Some(Ok(current)) = stored.map(|stored| item_in(&stored))
            && current.version() >= item.version()
        {
            session.unwatch()?;
            return Ok(Upsert::Stale(current));
        }
        // Executed only if nobody has written to the hash since it was watched, so what was read still holds.
        let mut write = redis::pipe();
        write.cmd("HSET").arg(hash).arg(key).arg(item.json());
        match session.execute(&mut write) {
            Err(Failure::NotExecuted) => pause(round),
            executed => return executed.map(|()| Upsert::Applied),
        }
    }
    Err(Failure::Raced)
}

/// Lets those who are in each other's way go apart: not at all at first, then for a random time up to some
/// milliseconds.
fn pause(round: u32) {
    if round > 0 {
        thread::sleep(Duration::from_micros(100 << round.min(6)).mul_f64(random()));
    }
}
