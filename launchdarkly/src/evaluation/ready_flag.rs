use std::collections::HashSet;

use foldhash::fast::RandomState;
use launchdarkly_server_sdk::{Context, Detail, Flag, FlagValue, Kind, Reason};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::parsed::FromJson;
use crate::readable::read;

/// A flag, prepared for evaluations.
///
/// Most flags are off, or on for all but for some targets. Of those the result is looked up, which takes a part of the
/// time of an evaluation, however many targets there are.
#[derive(Debug)]
pub(crate) struct ReadyFlag {
    pub(crate) flag: Flag,
    lookup: Option<Lookup>,
}

/// All that there is to a flag without prerequisites, rules and rollouts.
#[derive(Debug)]
enum Lookup {
    Off,
    On { targets: Vec<Target>, fallthrough: isize },
}

/// Contexts of one kind that get a variation of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    #[serde(default)]
    context_kind: Kind,
    values: HashSet<Box<str>, RandomState>,
    variation: isize,
}

impl ReadyFlag {
    /// The result for this context, if there is no more to it than to look it up.
    pub(crate) fn look_up(&self, context: &Context) -> Option<Detail<&FlagValue>> {
        Some(match self.lookup.as_ref()? {
            Lookup::Off => self.flag.off_value(Reason::Off),
            Lookup::On { targets, fallthrough } => {
                match targets.iter().find(|target| target.contains(context)) {
                    Some(target) => self.flag.variation(target.variation, Reason::TargetMatch),
                    None => self.flag.variation(*fallthrough, Reason::Fallthrough { in_experiment: false }),
                }
            }
        })
    }
}

impl Target {
    fn contains(&self, context: &Context) -> bool {
        context.as_kind(&self.context_kind).is_some_and(|context| self.values.contains(context.key()))
    }
}

impl FromJson for ReadyFlag {
    fn from_json(json: &str) -> serde_json::Result<Self> {
        let (flag, repaired) = read::<Flag>(json)?;
        let parts = serde_json::from_str::<Parts>(repaired.as_deref().unwrap_or(json));
        Ok(Self { flag, lookup: parts.ok().and_then(Parts::lookup) })
    }
}

/// What a flag's JSON says of who gets what. The SDK's flag does not show it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    on: bool,
    prerequisites: Vec<IgnoredAny>,
    targets: Vec<Target>,
    #[serde(default)]
    context_targets: Vec<Target>,
    rules: Vec<IgnoredAny>,
    fallthrough: Fallthrough,
}

#[derive(Deserialize)]
struct Fallthrough {
    variation: Option<isize>,
    rollout: Option<IgnoredAny>,
}

impl Parts {
    fn lookup(self) -> Option<Lookup> {
        if !self.on {
            return Some(Lookup::Off);
        }
        let is_all =
            self.prerequisites.is_empty() && self.rules.is_empty() && self.fallthrough.rollout.is_none();
        let fallthrough = self.fallthrough.variation.filter(|_| is_all)?;
        Some(Lookup::On { targets: self.targets_in_order(), fallthrough })
    }

    /// In the order in which they count. A context target of users that lists none says where those of the same
    /// variation stand that are listed in the older property.
    fn targets_in_order(self) -> Vec<Target> {
        let Self { targets, context_targets, .. } = self;
        if context_targets.is_empty() {
            return targets;
        }
        let in_order = context_targets.into_iter().flat_map(|target| {
            if target.context_kind.is_user() && target.values.is_empty() {
                targets.iter().filter(|users| users.variation == target.variation).cloned().collect()
            } else {
                vec![target]
            }
        });
        in_order.collect()
    }
}

#[cfg(test)]
mod tests {
    use launchdarkly_server_sdk::{ContextBuilder, MultiContextBuilder, Segment};
    use launchdarkly_server_sdk_evaluation::{Store, evaluate};

    use super::*;

    struct Nothing;

    impl Store for Nothing {
        fn flag(&self, _: &str) -> Option<Flag> {
            None
        }

        fn segment(&self, _: &str) -> Option<Segment> {
            None
        }
    }

    fn flag(parts: &str) -> ReadyFlag {
        let json = format!(r#"{{"key":"f","version":1,"variations":["a","b"],{parts}}}"#);
        ReadyFlag::from_json(&json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    /// Where the result is looked up, it is that of the SDK's evaluation.
    #[test]
    fn what_is_looked_up_is_what_the_sdk_says() {
        let on = |parts: &str| {
            format!(
                r#""on":true,"fallthrough":{{"variation":1}},"rules":[],"prerequisites":[],"salt":"s",{parts}"#
            )
        };
        let users = r#""targets":[{"values":["a","b"],"variation":0},{"values":["b","c"],"variation":1}]"#;
        let contexts = r#"{"contextKind":"org","values":["a","o"],"variation":1}"#;
        let place = |variation| format!(r#"{{"contextKind":"user","values":[],"variation":{variation}}}"#);
        let flags = [
            on(r#""targets":[]"#),
            on(r#""targets":[],"contextTargets":[],"offVariation":0"#),
            on(r#""targets":[{"values":[],"variation":0}]"#),
            on(r#""targets":[{"values":["a"],"variation":7}]"#),
            on(r#""targets":[{"contextKind":"org","values":["a","o"],"variation":0}]"#),
            on(users),
            on(&format!(r#"{users},"contextTargets":[{contexts}]"#)),
            on(&format!(r#"{users},"contextTargets":[{},{contexts},{}]"#, place(1), place(0))),
            on(&format!(r#"{users},"contextTargets":[{contexts},{}]"#, place(0))),
            on(&format!(r#"{users},"contextTargets":[{{"values":["c"],"variation":0}},{}]"#, place(1))),
            on(r#""targets":[]"#).replace(r#""variation":1"#, r#""variation":1,"rollout":null"#),
            on(r#""targets":[]"#).replace(r#""variation":1"#, r#""variation":2"#),
            on(r#""targets":[]"#).replace(r#""variation":1"#, r#""variation":-1"#),
            on(r#""targets":null"#).replace(r#""variation":1"#, r#""variation":1.0"#),
            on(r#""targets":[],"offVariation":0"#).replace("true", "false"),
            on(r#""targets":[]"#).replace("true", "false"),
            on(r#""targets":[],"offVariation":7"#).replace("true", "false"),
            on(users)
                .replace("true", "false")
                .replace(r#""rules":[]"#, r#""rules":[{"variation":0,"clauses":[]}]"#),
        ];
        let of = |kind: &str, key: &str| ContextBuilder::new(key).kind(kind).build().unwrap();
        let both =
            MultiContextBuilder::new().add_context(of("user", "c")).add_context(of("org", "o")).build();
        let mut contexts = vec![both.unwrap()];
        contexts.extend(["a", "b", "c", "d"].map(|key| of("user", key)));
        contexts.extend(["a", "o", "x"].map(|key| of("org", key)));
        for parts in flags {
            let ready = flag(&parts);
            for context in &contexts {
                let evaluated = evaluate(&Nothing, &ready.flag, context, None);
                assert_eq!(ready.look_up(context), Some(evaluated), "{parts} for {context:?}");
            }
        }
    }

    /// What has prerequisites, rules or a rollout is evaluated.
    #[test]
    fn what_has_more_to_it_is_evaluated() {
        let context = ContextBuilder::new("a").build().unwrap();
        let lists = |rules: &str, prerequisites: &str| {
            format!(
                r#""on":true,"targets":[],"rules":[{rules}],"prerequisites":[{prerequisites}],"salt":"s""#
            )
        };
        let variation = r#"{"variation":1}"#;
        for (lists, fallthrough) in [
            (lists(r#"{"variation":0,"clauses":[]}"#, ""), variation),
            (lists("", r#"{"key":"p","variation":0}"#), variation),
            (lists("", ""), r#"{"rollout":{"variations":[{"variation":0,"weight":100000}]}}"#),
            (lists("", ""), "{}"),
        ] {
            let parts = format!(r#"{lists},"fallthrough":{fallthrough}"#);
            assert_eq!(flag(&parts).look_up(&context), None, "{parts}");
        }
    }
}
