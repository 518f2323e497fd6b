use std::time::Instant;

use flagstore_core::{
    BigSegmentMembership, BigSegmentPatch, BigSegmentStore, BigSegmentUpdates, PatchOutcome, StoreError,
    UnixMillis,
};
use redis::{Cmd, Pipeline, Value};

use crate::RedisStore;
use crate::connections::Pieces;
use crate::error::Failure;
use crate::session::{Session, answer};

/// How often others may apply a patch between a look at the version and the write. Once is rare.
const ROUNDS: usize = 5;

impl BigSegmentStore for RedisStore {
    fn get_metadata(&self) -> Result<Option<UnixMillis>, StoreError> {
        let key = self.keys.synchronized_on();
        let stored = self
            .get_text(&key, self.deadline())
            .and_then(|stored| stored.map(|time| time_of(&time)).transpose());
        stored.map_err(|failure| failure.during("get_metadata"))
    }

    fn get_membership(&self, context_hash: &str) -> Result<Option<BigSegmentMembership>, StoreError> {
        let sets = [self.keys.included(context_hash), self.keys.excluded(context_hash)];
        let deadline = self.deadline();
        // One round trip, and one moment: no reader sees half a patch.
        let at_once = self.connections.are_together(self.keys.prefix()).then(|| {
            let mut transaction = redis::pipe();
            for set in &sets {
                transaction.cmd("SMEMBERS").arg(set);
            }
            self.connections.read(&sets[0], deadline, |session| session.transact(&mut transaction))
        });
        let lists = match at_once {
            Some(Err(Failure::NoTransaction(_))) | None => {
                let smembers = |set: &String| {
                    let mut smembers = redis::cmd("SMEMBERS");
                    smembers.arg(set);
                    self.connections.read(set, deadline, |session| session.query(&smembers))
                };
                sets.iter().map(smembers).collect()
            }
            Some(lists) => lists,
        };
        let membership = lists.and_then(membership_in);
        let membership = membership.map_err(|failure| failure.during("get_membership"))?;
        Ok(Some(membership).filter(|membership| !membership.is_empty()))
    }

    /// There is nothing to end: the store has no threads, and its connections may serve feature flags too.
    fn stop(&self) {}
}

impl BigSegmentUpdates for RedisStore {
    fn get_version(&self) -> Result<String, StoreError> {
        let version = self.get_text(&self.keys.cursor(), self.deadline());
        Ok(version.map_err(|failure| failure.during("get_version"))?.unwrap_or_default())
    }

    fn set_metadata(&self, synchronized_on: UnixMillis) -> Result<(), StoreError> {
        let key = self.keys.synchronized_on();
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(synchronized_on.0);
        let set = self.connections.write(&key, self.deadline(), |session| session.query(&set));
        set.map_err(|failure| failure.during("set_metadata"))
    }

    fn apply_patch(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, StoreError> {
        let applied = if self.connections.are_together(self.keys.prefix()) {
            let mut write = redis::pipe();
            write.cmd("SET").arg(self.keys.lock()).arg("");
            for (_, command) in self.set_changes(patch) {
                write.add_command(command);
            }
            write.cmd("SET").arg(self.keys.cursor()).arg(&patch.version);
            let lock = self.keys.lock();
            self.write_if_in_order(
                &mut Pieces::new(&self.connections, self.deadline()),
                &lock,
                patch,
                &mut write,
            )
        } else {
            self.apply_in_pieces(patch)
        };
        applied.map_err(|failure| failure.during("apply_patch"))
    }
}

impl RedisStore {
    fn get_text(&self, key: &str, deadline: Instant) -> Result<Option<String>, Failure> {
        let mut get = redis::cmd("GET");
        get.arg(key);
        let stored: Option<Vec<u8>> = self.connections.read(key, deadline, |session| session.query(&get))?;
        stored.map(text).transpose()
    }

    /// The sets of the patch's contexts, each with the command that changes it, which can be repeated.
    fn set_changes(&self, patch: &BigSegmentPatch) -> Vec<(String, Cmd)> {
        let mut commands = Vec::new();
        for (context_hash, change) in patch.by_context() {
            let included = (self.keys.included(context_hash), change.included);
            let excluded = (self.keys.excluded(context_hash), change.excluded);
            for (set, is_in_it) in [included, excluded] {
                let Some(is_in_it) = is_in_it else { continue };
                let mut command = redis::cmd(if is_in_it { "SADD" } else { "SREM" });
                command.arg(&set).arg(&patch.segment_ref);
                commands.push((set, command));
            }
        }
        commands
    }

    /// In a cluster that keeps the keys apart: the sets, one after another, and then the version.
    fn apply_in_pieces(&self, patch: &BigSegmentPatch) -> Result<PatchOutcome, Failure> {
        let cursor = self.keys.cursor();
        // One round trip for each set, so a long patch takes as long as an init.
        let deadline = Instant::now() + self.init_timeout;
        let version = self.get_text(&cursor, deadline)?.unwrap_or_default();
        if version != patch.previous_version {
            return Ok(PatchOutcome::OutOfOrder(version));
        }
        let mut pieces = Pieces::new(&self.connections, deadline);
        for (set, command) in self.set_changes(patch) {
            pieces.write(&set, |session| session.query::<()>(&command))?;
        }
        let mut write = redis::pipe();
        write.cmd("SET").arg(&cursor).arg(&patch.version);
        self.write_if_in_order(&mut pieces, &cursor, patch, &mut write)
    }

    /// Writes if the version is the one where the patch begins. The key that is watched is written to with
    /// every patch, ours and the Relay Proxy's, so the server executes nothing if one has come between the
    /// look at the version and the write.
    fn write_if_in_order(
        &self,
        pieces: &mut Pieces<'_>,
        watched: &str,
        patch: &BigSegmentPatch,
        write: &mut Pipeline,
    ) -> Result<PatchOutcome, Failure> {
        let cursor = self.keys.cursor();
        let mut get = redis::cmd("GET");
        get.arg(&cursor);
        let mut write_once = |session: &mut Session<'_>| {
            let version = session.watch(watched, &get)?.map(text).transpose()?.unwrap_or_default();
            if version != patch.previous_version {
                session.unwatch()?;
                return Ok(PatchOutcome::OutOfOrder(version));
            }
            session.execute(write).map(|()| PatchOutcome::Applied)
        };
        pieces.write(&cursor, |session| {
            for _ in 0..ROUNDS {
                match write_once(session) {
                    Err(Failure::NotExecuted) => {}
                    outcome => return outcome,
                }
            }
            Err(Failure::Raced)
        })
    }
}

/// What is in the two sets, as RESP2 or RESP3 has them.
fn membership_in(replies: Vec<Value>) -> Result<BigSegmentMembership, Failure> {
    let mut lists = replies.into_iter().map(|reply| match answer(reply)? {
        Value::Array(segment_refs) | Value::Set(segment_refs) => segment_refs
            .into_iter()
            .map(|segment_ref| match segment_ref {
                Value::BulkString(segment_ref) => text(segment_ref),
                _ => Err(Failure::NotText),
            })
            .collect(),
        _ => Ok(Vec::new()),
    });
    let included = lists.next().transpose()?.unwrap_or_default();
    let excluded = lists.next().transpose()?.unwrap_or_default();
    Ok(BigSegmentMembership::new(included, excluded))
}

/// Nothing but digits, as others read it too: an empty text is no time (bug 45 of the Relay Proxy).
fn time_of(stored: &str) -> Result<UnixMillis, Failure> {
    let is_number = !stored.is_empty() && stored.bytes().all(|byte| byte.is_ascii_digit());
    stored.parse().ok().filter(|_| is_number).map(UnixMillis).ok_or(Failure::NotATime)
}

fn text(stored: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(stored).map_err(|_| Failure::NotText)
}
