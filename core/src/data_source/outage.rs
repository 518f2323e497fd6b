use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::error_info::{DataSourceErrorInfo, DataSourceErrorKind};

/// A time in which a data source did not work, with the errors that it had.
#[derive(Debug)]
pub(super) struct Outage {
    began: Instant,
    errors: BTreeMap<(DataSourceErrorKind, u16), u32>,
    is_reported: bool,
}

impl Outage {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, errors: BTreeMap::new(), is_reported: false }
    }

    pub(super) fn count(&mut self, error: &DataSourceErrorInfo) {
        *self.errors.entry((error.kind, error.status_code)).or_default() += 1;
    }

    /// For how long it has to go on until it is worth an error line. Zero if it is now. `None` if it has had it.
    pub(super) fn reported_in(&self, now: Instant, limit: Duration) -> Option<Duration> {
        (!self.is_reported).then(|| limit.saturating_sub(now.saturating_duration_since(self.began)))
    }

    pub(super) fn report(&mut self, now: Instant) {
        self.is_reported = true;
        let lasted = now.saturating_duration_since(self.began);
        tracing::error!("the data source has not worked for {lasted:.0?}, and goes on trying: {self}");
    }

    /// An outage that was reported is also reported to be over.
    pub(super) fn end(self, now: Instant) {
        if self.is_reported {
            let lasted = now.saturating_duration_since(self.began);
            tracing::info!("the data source works again after {lasted:.0?}: {self}");
        }
    }
}

/// Such as `NETWORK_ERROR (3 times), ERROR_RESPONSE(503) (once)`.
impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.errors.is_empty() {
            return f.write_str("no error was reported");
        }
        for (n, ((kind, status_code), count)) in self.errors.iter().enumerate() {
            write!(f, "{}{kind}", if n == 0 { "" } else { ", " })?;
            if *status_code != 0 {
                write!(f, "({status_code})")?;
            }
            match count {
                1 => write!(f, " (once)")?,
                count => write!(f, " ({count} times)")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// It is worth a line after a minute, counted from its beginning whatever happens in it, and only once.
    #[test]
    fn it_is_due_a_minute_after_it_began() {
        let began = Instant::now();
        let mut outage = Outage::new(began);
        assert_eq!(outage.reported_in(began, MINUTE), Some(MINUTE));
        outage.count(&DataSourceErrorInfo::response(500, "no"));
        assert_eq!(outage.reported_in(began + MINUTE / 3, MINUTE), Some(MINUTE * 2 / 3));
        assert_eq!(outage.reported_in(began + MINUTE, MINUTE), Some(Duration::ZERO));
        assert_eq!(outage.reported_in(began + MINUTE * 5, MINUTE), Some(Duration::ZERO));
        outage.report(began + MINUTE);
        assert_eq!(outage.reported_in(began + MINUTE * 2, MINUTE), None);
    }

    /// By kind, and answers by their status code.
    #[test]
    fn errors_are_counted_by_kind() {
        let mut outage = Outage::new(Instant::now());
        assert_eq!(outage.to_string(), "no error was reported");
        for status_code in [503, 401, 503] {
            outage.count(&DataSourceErrorInfo::response(status_code, "no"));
        }
        outage.count(&DataSourceErrorInfo::new(DataSourceErrorKind::NetworkError, "broken"));
        let counted = "NETWORK_ERROR (once), ERROR_RESPONSE(401) (once), ERROR_RESPONSE(503) (2 times)";
        assert_eq!(outage.to_string(), counted);
    }
}
