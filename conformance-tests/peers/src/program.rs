//! A program that answers each line of JSON with a line of JSON.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::wait::PATIENCE;

/// The folder that `scripts/peers` has built.
///
/// # Errors
///
/// What to do to have it.
pub fn folder() -> Result<PathBuf, String> {
    match std::env::var("FLAGSTORE_PEERS") {
        Ok(folder) => Ok(folder.into()),
        Err(_) => Err("FLAGSTORE_PEERS is not set. Run: scripts/relay, or scripts/matrix".to_owned()),
    }
}

/// A running program, which ends when this is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// That it cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}. Run: scripts/peers"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        // A thread, since a read of a pipe has no deadline.
        let (sender, answers) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { name: name.to_owned(), child, input, answers })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    ///
    /// The `error` of the answer, or that there was none.
    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{request}").map_err(|error| format!("{} has ended: {error}", self.name))?;
        self.answer()
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn answer(&mut self) -> Result<Value, String> {
        let line = self
            .answers
            .recv_timeout(PATIENCE)
            .map_err(|_| format!("{} has not answered. What it printed is above.", self.name))?;
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("{} said {line:?}: {error}", self.name))?;
        match answer["error"].as_str() {
            Some(error) => Err(format!("{}: {error}", self.name)),
            None => Ok(answer),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // They end with their input. What hangs instead is not worth a wait.
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
