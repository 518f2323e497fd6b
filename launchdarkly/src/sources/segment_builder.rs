use launchdarkly_server_sdk::{AttributeValue, Kind as ContextKind};
use serde::Serialize;

/// Builds a segment for [`TestData`](super::TestData): who is in it by key, and who by rules. Whoever is excluded is
/// not in it by any rule, and whoever is included is in it all the same.
///
/// It is written as LaunchDarkly's JSON. The official crate has a builder of flags, but none of segments, and most of
/// its `Segment` cannot be set.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use = "a builder does nothing until it is given to `TestData::update_segment`"]
pub struct SegmentBuilder {
    key: String,
    included: Vec<String>,
    excluded: Vec<String>,
    included_contexts: Vec<Target>,
    excluded_contexts: Vec<Target>,
    rules: Vec<Rule>,
    salt: String,
    unbounded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unbounded_context_kind: Option<ContextKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    context_kind: ContextKind,
    values: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Rule {
    id: String,
    clauses: Vec<Clause>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Clause {
    context_kind: ContextKind,
    attribute: String,
    op: &'static str,
    values: Vec<AttributeValue>,
    negate: bool,
}

impl SegmentBuilder {
    /// A segment that nobody is in.
    pub fn new(key: impl Into<String>) -> Self {
        let key = key.into();
        Self {
            salt: key.clone(),
            key,
            included: Vec::new(),
            excluded: Vec::new(),
            included_contexts: Vec::new(),
            excluded_contexts: Vec::new(),
            rules: Vec::new(),
            unbounded: false,
            unbounded_context_kind: None,
            generation: None,
        }
    }

    /// The key that flags refer to it by.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Includes users by their keys, besides those that are included already.
    pub fn include<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.included.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Excludes users by their keys, besides those that are excluded already.
    pub fn exclude<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.excluded.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Includes contexts of this kind by their keys.
    pub fn include_contexts<K: Into<String>>(
        mut self,
        context_kind: ContextKind,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.included_contexts.push(Target::new(context_kind, keys));
        self
    }

    /// Excludes contexts of this kind by their keys.
    pub fn exclude_contexts<K: Into<String>>(
        mut self,
        context_kind: ContextKind,
        keys: impl IntoIterator<Item = K>,
    ) -> Self {
        self.excluded_contexts.push(Target::new(context_kind, keys));
        self
    }

    /// Begins a rule: users are in the segment of whom this attribute is one of the values.
    pub fn if_match<V: Into<AttributeValue>>(
        self,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> SegmentRuleBuilder {
        self.if_match_context(ContextKind::user(), attribute, values)
    }

    /// Begins a rule for contexts of this kind.
    pub fn if_match_context<V: Into<AttributeValue>>(
        self,
        context_kind: ContextKind,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> SegmentRuleBuilder {
        SegmentRuleBuilder { segment: self, clauses: Vec::new() }.and_match_context(
            context_kind,
            attribute,
            values,
        )
    }

    /// Begins a rule: users are in the segment of whom this attribute is none of the values.
    pub fn if_not_match<V: Into<AttributeValue>>(
        self,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> SegmentRuleBuilder {
        SegmentRuleBuilder { segment: self, clauses: Vec::new() }.and_not_match(attribute, values)
    }

    /// Takes everyone out who is in the segment or excluded by key.
    pub fn clear_targets(mut self) -> Self {
        self.included.clear();
        self.excluded.clear();
        self.included_contexts.clear();
        self.excluded_contexts.clear();
        self
    }

    /// Takes all rules away.
    pub fn clear_rules(mut self) -> Self {
        self.rules.clear();
        self
    }

    /// Makes it a Big Segment of this generation, in which are those contexts of this kind that the store of Big
    /// Segments says, under the reference `<key>.g<generation>`.
    pub fn unbounded(self, context_kind: ContextKind, generation: u32) -> Self {
        Self {
            unbounded: true,
            unbounded_context_kind: Some(context_kind),
            generation: Some(generation),
            ..self
        }
    }
}

impl Target {
    fn new<K: Into<String>>(context_kind: ContextKind, keys: impl IntoIterator<Item = K>) -> Self {
        Self { context_kind, values: keys.into_iter().map(Into::into).collect() }
    }
}

/// A rule of a [`SegmentBuilder`]: all of its conditions must hold.
#[derive(Debug, Clone)]
#[must_use = "the rule is part of the segment when `then_include` is called"]
pub struct SegmentRuleBuilder {
    segment: SegmentBuilder,
    clauses: Vec<Clause>,
}

impl SegmentRuleBuilder {
    /// And this attribute of the user is one of the values.
    pub fn and_match<V: Into<AttributeValue>>(
        self,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.and_match_context(ContextKind::user(), attribute, values)
    }

    /// And this attribute of the context of this kind is one of the values.
    pub fn and_match_context<V: Into<AttributeValue>>(
        self,
        context_kind: ContextKind,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.and(context_kind, attribute.into(), values, false)
    }

    /// And this attribute of the user is none of the values. A user without the attribute does not match.
    pub fn and_not_match<V: Into<AttributeValue>>(
        self,
        attribute: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.and(ContextKind::user(), attribute.into(), values, true)
    }

    /// Ends the rule: whom it matches is in the segment.
    pub fn then_include(self) -> SegmentBuilder {
        let Self { mut segment, clauses } = self;
        let id = format!("rule{}", segment.rules.len());
        segment.rules.push(Rule { id, clauses });
        segment
    }

    fn and<V: Into<AttributeValue>>(
        mut self,
        context_kind: ContextKind,
        attribute: String,
        values: impl IntoIterator<Item = V>,
        negate: bool,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.clauses.push(Clause { context_kind, attribute, op: "in", values, negate });
        self
    }
}

#[cfg(test)]
mod tests {
    use flagstore_core::{CachingStoreWrapper, DataSource, DataSourceUpdateSink, Kind, MemoryStore};
    use launchdarkly_server_sdk::{Context, ContextBuilder};

    use super::*;
    use crate::Evaluator;
    use crate::sources::TestData;

    /// Who is in the segment `s` as it was built last, by a flag that is true for them.
    struct Members {
        data: TestData,
        evaluator: Evaluator,
        _source: DataSource,
    }

    impl Members {
        fn of(segment: impl FnOnce(SegmentBuilder) -> SegmentBuilder) -> Self {
            let store = CachingStoreWrapper::builder(MemoryStore::new()).build().unwrap();
            let data = TestData::new();
            let flag = r#"{"key":"f","on":true,"variations":[false,true],"fallthrough":{"variation":0},"offVariation":0,
                "targets":[],"prerequisites":[],"salt":"","rules":[{"id":"r","variation":1,"trackEvents":false,"clauses":
                [{"contextKind":"user","attribute":"","op":"segmentMatch","values":["s"],"negate":false}]}]}"#;
            data.set_json(&Kind::FEATURES, "f", flag).unwrap();
            let sink = DataSourceUpdateSink::builder(store.clone()).build();
            let source = DataSource::start(&data, sink).unwrap();
            let members = Self { data, evaluator: Evaluator::new(store), _source: source };
            members.update(segment);
            members
        }

        fn update(&self, segment: impl FnOnce(SegmentBuilder) -> SegmentBuilder) {
            self.data.update_segment(segment(self.data.segment("s")));
        }

        fn has(&self, context: &Context) -> bool {
            self.evaluator.bool_variation(context, "f", false)
        }
    }

    fn user(key: &str) -> Context {
        ContextBuilder::new(key).build().unwrap()
    }

    fn of_country(key: &str, country: &str) -> Context {
        ContextBuilder::new(key).set_value("country", country.into()).build().unwrap()
    }

    fn team(key: &str) -> Context {
        ContextBuilder::new(key).kind("team").build().unwrap()
    }

    /// And the segment as it was built is the one that the next change begins with.
    #[test]
    fn members_are_named_by_key() {
        let members = Members::of(|segment| segment.include(["a", "b"]));
        assert!(members.has(&user("a")) && members.has(&user("b")) && !members.has(&user("c")));
        members.update(|segment| segment.include(["c"]));
        assert!(members.has(&user("a")) && members.has(&user("c")));
        members.update(SegmentBuilder::clear_targets);
        assert!(!members.has(&user("a")));
    }

    /// Contexts of other kinds have keys of their own.
    #[test]
    fn members_may_be_of_any_kind() {
        let kind = || ContextKind::try_from("team").unwrap();
        let members = Members::of(|segment| {
            segment.include_contexts(kind(), ["blue", "red"]).exclude_contexts(ContextKind::user(), ["blue"])
        });
        assert!(members.has(&team("blue")) && members.has(&team("red")) && !members.has(&user("blue")));
    }

    /// All of a rule's conditions, any of the rules, and nobody who is excluded.
    #[test]
    fn rules_include_those_whom_they_match() {
        let members = Members::of(|segment| {
            segment
                .exclude(["gone"])
                .if_match("country", ["nl", "be"])
                .and_not_match("key", ["other"])
                .then_include()
                .if_match("key", ["a"])
                .then_include()
        });
        assert!(members.has(&of_country("x", "nl")) && members.has(&user("a")));
        assert!(!members.has(&of_country("other", "nl")), "one of two conditions");
        assert!(!members.has(&of_country("gone", "be")), "excluded");
        assert!(!members.has(&of_country("x", "de")) && !members.has(&user("x")));
        members.update(|segment| segment.clear_rules().if_not_match("country", ["nl"]).then_include());
        assert!(!members.has(&of_country("x", "nl")) && members.has(&of_country("x", "de")));
    }

    /// As the store of Big Segments is asked about it.
    #[test]
    fn it_may_be_a_big_one() {
        let segment = SegmentBuilder::new("s").unbounded(ContextKind::user(), 4);
        let json = serde_json::to_value(&segment).unwrap();
        assert_eq!(json["unbounded"], true);
        assert_eq!(json["generation"], 4);
        assert_eq!(json["unboundedContextKind"], "user");
        assert!(
            serde_json::from_value::<launchdarkly_server_sdk::Segment>({
                let mut json = json;
                json["version"] = 1.into();
                json
            })
            .is_ok()
        );
    }
}
