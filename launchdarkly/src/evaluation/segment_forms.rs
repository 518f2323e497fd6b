use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;
use launchdarkly_server_sdk::{Context, Kind, Segment};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::parsed::FromJson;
use crate::readable::read;

/// A segment, prepared for evaluations that know their context.
///
/// Whether a context is in a segment depends first on the segment's lists, which may be long or, for a Big Segment, in
/// a database of their own. Whoever knows the context looks there by himself, and hands the evaluator one of three
/// forms of the segment in which the answer is all there is. None of them has a list, so a copy costs little.
#[derive(Debug)]
pub(crate) struct SegmentForms {
    pub(crate) members: Members,
    /// No lists, and a rule that everyone matches.
    pub(crate) included: Form,
    /// No lists and no rules.
    pub(crate) excluded: Form,
    /// No lists: the rules decide.
    pub(crate) neither: Form,
}

/// Where it stands who is in a segment.
#[derive(Debug)]
pub(crate) enum Members {
    /// In the segment itself.
    Listed { included: Lists, excluded: Lists },
    /// In a Big Segment store, by context of this kind. Without a generation there is no reference to ask for.
    Big { context_kind: Kind, reference: Option<Box<str>> },
}

/// A segment as the evaluator takes it, and as the client does.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) segment: Segment,
    pub(crate) json: Box<str>,
}

/// Context keys by kind.
#[derive(Debug)]
pub(crate) struct Lists(Vec<(Kind, HashSet<Box<str>, RandomState>)>);

impl Lists {
    fn new(users: Vec<Box<str>>, targets: Vec<Target>) -> Self {
        let users = Target { context_kind: Kind::user(), values: users };
        let lists = std::iter::once(users).chain(targets).filter(|target| !target.values.is_empty());
        Self(lists.map(|target| (target.context_kind, target.values.into_iter().collect())).collect())
    }

    pub(crate) fn contain(&self, context: &Context) -> bool {
        self.0
            .iter()
            .any(|(kind, keys)| context.as_kind(kind).is_some_and(|context| keys.contains(context.key())))
    }
}

/// What a segment's JSON says, apart from what only its rules need.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    version: u64,
    included: Vec<Box<str>>,
    excluded: Vec<Box<str>>,
    #[serde(default)]
    included_contexts: Vec<Target>,
    #[serde(default)]
    excluded_contexts: Vec<Target>,
    #[serde(borrow)]
    rules: &'a RawValue,
    #[serde(borrow)]
    salt: &'a RawValue,
    #[serde(default)]
    unbounded: bool,
    unbounded_context_kind: Option<Kind>,
    // Not from the SDK's segment, where 0 and none are the same.
    generation: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    context_kind: Kind,
    values: Vec<Box<str>>,
}

impl FromJson for SegmentForms {
    fn from_json(json: &str) -> serde_json::Result<Self> {
        let (_, repaired) = read::<Segment>(json)?;
        let parts: Parts<'_> = serde_json::from_str(repaired.as_deref().unwrap_or(json))?;
        Ok(Self {
            included: parts.form(EVERYONE, EVERYONE_TO_CLIENTS, NO_SALT)?,
            excluded: parts.form("[]", "[]", NO_SALT)?,
            neither: parts.form(parts.rules.get(), parts.rules.get(), parts.salt.get())?,
            members: if parts.unbounded {
                Members::Big {
                    reference: parts
                        .generation
                        .map(|generation| format!("{}.g{generation}", parts.key).into()),
                    context_kind: parts.unbounded_context_kind.unwrap_or_else(Kind::user),
                }
            } else {
                Members::Listed {
                    included: Lists::new(parts.included, parts.included_contexts),
                    excluded: Lists::new(parts.excluded, parts.excluded_contexts),
                }
            },
        })
    }
}

/// A rule that everyone matches.
const EVERYONE: &str = r#"[{"clauses":[]}]"#;

/// The same with a context kind, since the SDK tries to parse a rule with one before it tries one without. In
/// [`EVERYONE`] it would be a text to copy at each evaluation.
const EVERYONE_TO_CLIENTS: &str = r#"[{"clauses":[],"rolloutContextKind":"user"}]"#;

/// Only rules with a weight need the salt.
const NO_SALT: &str = r#""""#;

impl Parts<'_> {
    fn form(&self, rules: &str, rules_to_clients: &str, salt: &str) -> serde_json::Result<Form> {
        Ok(Form {
            segment: serde_json::from_str(&self.json(rules, salt))?,
            json: self.json(rules_to_clients, salt).into(),
        })
    }

    fn json(&self, rules: &str, salt: &str) -> String {
        format!(
            r#"{{"key":{},"version":{},"included":[],"excluded":[],"rules":{rules},"salt":{salt}}}"#,
            Value::from(&*self.key),
            self.version
        )
    }
}
