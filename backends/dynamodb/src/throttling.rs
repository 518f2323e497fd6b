use std::fmt;

use aws_sdk_dynamodb::types::ThrottlingReason;

/// Why DynamoDB throttles, in its own words, and what helps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Throttling {
    words: String,
    reasons: Vec<String>,
}

impl Throttling {
    pub(crate) fn new(words: String, reasons: &[ThrottlingReason]) -> Self {
        let reasons = reasons.iter().filter_map(|reason| reason.reason().map(str::to_owned));
        Self { words, reasons: reasons.collect() }
    }

    fn advice(&self) -> &'static str {
        // Such as TableWriteKeyRangeThroughputExceeded.
        let advice = |reason: &String| {
            let limits = [
                (
                    "KeyRange",
                    "one partition key takes 1000 writes and 3000 reads a second, and more capacity does not help: \
                     cache longer, or write less at a time",
                ),
                ("AccountLimit", "ask AWS to raise the account's quota for tables of the region"),
                ("MaxOnDemand", "raise the maximum throughput that the table is set to"),
            ];
            limits.iter().find(|(limit, _)| reason.contains(limit)).map(|(_, advice)| *advice)
        };
        self.reasons.iter().find_map(advice).unwrap_or("raise the table's capacity, or make it on-demand")
    }
}

impl fmt::Display for Throttling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.advice(), self.words)?;
        for reason in &self.reasons {
            write!(f, ", {reason}")?;
        }
        f.write_str(")")
    }
}
