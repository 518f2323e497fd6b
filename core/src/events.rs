use std::fmt::{self, Debug};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;

use crate::DecodeError;

/// Takes the events of an application, to bring them to LaunchDarkly or elsewhere.
///
/// Evaluations through the official client are none of its business: the client has a processor of its own.
pub trait EventProcessor: Debug + Send + Sync + 'static {
    /// Takes an event. Returns at once, and never fails: what cannot be delivered in the end is lost.
    fn send_event(&self, event: Event);

    /// Has all that was taken delivered soon. Returns at once.
    fn flush(&self);

    /// Delivers what it can within a deadline of its own, and takes nothing more. A second time it does nothing.
    fn stop(&self);
}

/// An event as LaunchDarkly takes it: a JSON object, with its kind (`identify`, `custom`, `feature` ...).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    kind: String,
    json: Box<str>,
}

impl Event {
    /// Reads an event. Its text is kept byte for byte.
    ///
    /// # Errors
    ///
    /// When the text is not a JSON object with a `kind` that is a string.
    ///
    /// ```
    /// use flagstore_core::Event;
    ///
    /// let event = Event::parse(r#"{"kind":"custom","key":"order","contextKeys":{"user":"u1"}}"#)?;
    /// assert_eq!(event.kind(), "custom");
    /// assert!(Event::parse(r#"{"key":"order"}"#).is_err());
    /// # Ok::<(), flagstore_core::DecodeError>(())
    /// ```
    pub fn parse(json: impl Into<Box<str>>) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        #[serde(expecting = "a JSON object with a kind")]
        struct Header {
            kind: String,
        }
        let json = json.into();
        let Header { kind } = serde_json::from_str(&json)?;
        Ok(Self { kind, json })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The JSON text, byte for byte as it was given.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// Forgets every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullEventProcessor;

impl EventProcessor for NullEventProcessor {
    fn send_event(&self, _event: Event) {}

    fn flush(&self) {}

    fn stop(&self) {}
}

/// Keeps every event, for tests that want to see what an application has sent. A clone sees the same.
///
/// ```
/// use flagstore_core::{CollectingEventProcessor, Event, EventProcessor};
///
/// let events = CollectingEventProcessor::new();
/// events.send_event(Event::parse(r#"{"kind":"custom","key":"order"}"#)?);
/// events.flush();
/// events.stop();
/// events.send_event(Event::parse(r#"{"kind":"custom","key":"too late"}"#)?);
///
/// assert_eq!(events.events(), [Event::parse(r#"{"kind":"custom","key":"order"}"#)?]);
/// assert_eq!((events.flushes(), events.is_stopped()), (1, true));
/// # Ok::<(), flagstore_core::DecodeError>(())
/// ```
#[derive(Clone, Default)]
pub struct CollectingEventProcessor(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    events: Vec<Event>,
    flushes: usize,
    is_stopped: bool,
}

impl CollectingEventProcessor {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All events that were sent before it was stopped, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().events.clone()
    }

    /// How often it was flushed before it was stopped.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.0.lock().flushes
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.lock().is_stopped
    }
}

impl EventProcessor for CollectingEventProcessor {
    fn send_event(&self, event: Event) {
        let mut collected = self.0.lock();
        if !collected.is_stopped {
            collected.events.push(event);
        }
    }

    fn flush(&self) {
        let mut collected = self.0.lock();
        if !collected.is_stopped {
            collected.flushes += 1;
        }
    }

    fn stop(&self) {
        self.0.lock().is_stopped = true;
    }
}

impl Debug for CollectingEventProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectingEventProcessor({} events)", self.0.lock().events.len())
    }
}
