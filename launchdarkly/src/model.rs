//! What is put right in the JSON of flags and segments, between the SDK and everyone else.
//!
//! The SDK for Rust writes what others cannot read: Python refuses a flag with `"weight":60000.0`, and with it all
//! flags; Go, and so the Relay Proxy, refuses a segment with `"unboundedContextKind":null`; PHP requires `deleted`.
//! It is also stricter than others in what it reads: it refuses `"version":3.0` and `"targets":null`. In each of
//! these the meaning is clear, so one set of rules serves both directions:
//!
//! - what is an integer in LaunchDarkly's model is written as one: `3.0` and `3e0` become `3`;
//! - what is null or missing, and has a meaning all the same, gets it: `"targets":null` becomes `"targets":[]`;
//! - any other property of the model that is null is left out.
//!
//! Everything else stays as it is: unknown properties, and the values of variations and clauses, where a null and
//! a `3.0` mean what they say.

use std::borrow::Cow;
use std::fmt;

use flagstore_core::MAX_VERSION;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// What LaunchDarkly's model says of a value.
#[derive(Debug)]
pub(crate) enum Model {
    /// Nothing that matters here.
    Anything,
    Integer,
    List(&'static Self),
    Object(&'static [Property]),
}

#[derive(Debug)]
pub(crate) struct Property {
    name: &'static str,
    model: Model,
    /// What it means if it is null or missing, as JSON. A property without that is optional.
    default: Option<&'static str>,
}

const fn optional(name: &'static str, model: Model) -> Property {
    Property { name, model, default: None }
}

const fn required(name: &'static str, model: Model, default: &'static str) -> Property {
    Property { name, model, default: Some(default) }
}

pub(crate) const FLAG: Model = Model::Object(&[
    required("version", Model::Integer, "0"),
    required("on", Model::Anything, "false"),
    required("prerequisites", Model::List(&PREREQUISITE), "[]"),
    required("targets", Model::List(&TARGET), "[]"),
    optional("contextTargets", Model::List(&TARGET)),
    required("rules", Model::List(&FLAG_RULE), "[]"),
    optional("fallthrough", Model::Object(VARIATION_OR_ROLLOUT)),
    optional("offVariation", Model::Integer),
    required("variations", Model::Anything, "[]"),
    optional("clientSide", Model::Anything),
    optional("clientSideAvailability", Model::Anything),
    required("salt", Model::Anything, r#""""#),
    optional("trackEvents", Model::Anything),
    optional("trackEventsFallthrough", Model::Anything),
    optional("debugEventsUntilDate", Model::Integer),
    optional("migration", Model::Object(&[optional("checkRatio", Model::Integer)])),
    optional("samplingRatio", Model::Integer),
    optional("excludeFromSummaries", Model::Anything),
    required("deleted", Model::Anything, "false"),
]);

pub(crate) const SEGMENT: Model = Model::Object(&[
    required("version", Model::Integer, "0"),
    required("included", Model::Anything, "[]"),
    required("excluded", Model::Anything, "[]"),
    optional("includedContexts", Model::List(&SEGMENT_TARGET)),
    optional("excludedContexts", Model::List(&SEGMENT_TARGET)),
    required("rules", Model::List(&SEGMENT_RULE), "[]"),
    required("salt", Model::Anything, r#""""#),
    optional("unbounded", Model::Anything),
    optional("unboundedContextKind", Model::Anything),
    optional("generation", Model::Integer),
    required("deleted", Model::Anything, "false"),
]);

const PREREQUISITE: Model = Model::Object(&[optional("variation", Model::Integer)]);

const TARGET: Model = Model::Object(&[
    optional("contextKind", Model::Anything),
    required("values", Model::Anything, "[]"),
    optional("variation", Model::Integer),
]);

const SEGMENT_TARGET: Model =
    Model::Object(&[optional("contextKind", Model::Anything), required("values", Model::Anything, "[]")]);

const FLAG_RULE: Model = Model::Object(&[
    optional("id", Model::Anything),
    required("clauses", Model::List(&CLAUSE), "[]"),
    optional("variation", Model::Integer),
    optional("rollout", ROLLOUT),
    required("trackEvents", Model::Anything, "false"),
]);

const SEGMENT_RULE: Model = Model::Object(&[
    optional("id", Model::Anything),
    required("clauses", Model::List(&CLAUSE), "[]"),
    optional("weight", Model::Integer),
    optional("bucketBy", Model::Anything),
    optional("rolloutContextKind", Model::Anything),
]);

const CLAUSE: Model = Model::Object(&[
    optional("contextKind", Model::Anything),
    required("attribute", Model::Anything, r#""""#),
    optional("negate", Model::Anything),
    required("values", Model::Anything, "[]"),
]);

const VARIATION_OR_ROLLOUT: &[Property] =
    &[optional("variation", Model::Integer), optional("rollout", ROLLOUT)];

const ROLLOUT: Model = Model::Object(&[
    optional("kind", Model::Anything),
    optional("contextKind", Model::Anything),
    optional("bucketBy", Model::Anything),
    optional("seed", Model::Integer),
    required("variations", Model::List(&WEIGHTED_VARIATION), "[]"),
]);

const WEIGHTED_VARIATION: Model = Model::Object(&[
    optional("variation", Model::Integer),
    optional("weight", Model::Integer),
    optional("untracked", Model::Anything),
]);

impl Model {
    /// The same JSON put right, or `None` if nothing in it is wrong.
    ///
    /// What is put right loses the spaces around it; all values that are right keep every byte.
    pub(crate) fn repair(&self, json: &str) -> Option<String> {
        match self {
            Self::Anything => None,
            Self::Integer => repair_integer(json),
            Self::List(model) => repair_list(model, json),
            Self::Object(properties) => repair_object(properties, json),
        }
    }
}

fn repair_integer(json: &str) -> Option<String> {
    if !json.contains(['.', 'e', 'E']) {
        return None;
    }
    let number: f64 = json.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact in a double")]
    let is_integer = number.fract() == 0.0 && number.abs() <= MAX_VERSION as f64;
    #[expect(clippy::cast_possible_truncation, reason = "it is in the range of exact integers")]
    is_integer.then(|| (number as i64).to_string())
}

fn repair_list(model: &Model, json: &str) -> Option<String> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let repaired: Vec<Option<String>> = elements.iter().map(|element| model.repair(element.get())).collect();
    if repaired.iter().all(Option::is_none) {
        return None;
    }
    let elements = elements.iter().zip(&repaired);
    let texts: Vec<&str> =
        elements.map(|(element, repaired)| repaired.as_deref().unwrap_or(element.get())).collect();
    Some(format!("[{}]", texts.join(",")))
}

fn repair_object(properties: &[Property], json: &str) -> Option<String> {
    let Members(members) = serde_json::from_str(json).ok()?;
    let mut is_right = true;
    let mut texts = Vec::with_capacity(members.len());
    for (name, value) in &members {
        let property = properties.iter().find(|property| property.name == name);
        let value = match property {
            None => Cow::Borrowed(value.get()),
            Some(property) if value.get() == "null" => {
                is_right = false;
                match property.default {
                    Some(default) => Cow::Borrowed(default),
                    None => continue,
                }
            }
            Some(property) => match property.model.repair(value.get()) {
                Some(repaired) => {
                    is_right = false;
                    Cow::Owned(repaired)
                }
                None => Cow::Borrowed(value.get()),
            },
        };
        texts.push(member(name, &value));
    }
    for property in properties {
        if let Some(default) = property.default
            && !members.iter().any(|(name, _)| name == property.name)
        {
            is_right = false;
            texts.push(member(property.name, default));
        }
    }
    (!is_right).then(|| format!("{{{}}}", texts.join(",")))
}

fn member(name: &str, value: &str) -> String {
    format!("{}:{value}", Value::from(name))
}

/// The members of an object in order, each value as its own text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_repaired(model: &Model, json: &str, expected: &str) {
        assert_eq!(model.repair(json).as_deref(), Some(expected), "{json}");
        assert_eq!(model.repair(expected), None, "what is put right is right");
    }

    /// A flag with nothing wrong, and these properties before the others.
    fn flag(more: &str) -> String {
        format!(
            r#"{{{more},"on":true,"prerequisites":[],"targets":[],"rules":[],"variations":[],"salt":"","deleted":false}}"#
        )
    }

    #[test]
    fn integers_of_the_model_are_written_as_integers() {
        for (given, expected) in [
            ("3.0", "3"),
            ("1e3", "1000"),
            ("1.7E12", "1700000000000"),
            ("-0.0", "0"),
            ("9007199254740992.0", "9007199254740992"),
        ] {
            assert_repaired(
                &FLAG,
                &flag(&format!(r#""version":{given}"#)),
                &flag(&format!(r#""version":{expected}"#)),
            );
        }
        for right in ["3", "2.5", "-1", "1e300", r#""3.0""#] {
            assert_eq!(FLAG.repair(&flag(&format!(r#""version":{right}"#))), None, "{right}");
        }
    }

    #[test]
    fn every_integer_of_a_flag_is_found() {
        let with = |one: &str, many: &str| {
            format!(
                concat!(
                    r#"{{"version":{1},"on":true,"prerequisites":[{{"key":"p","variation":{0}}}],"#,
                    r#""targets":[{{"values":["2.0"],"variation":{0}}}],"#,
                    r#""contextTargets":[{{"contextKind":"org","values":[],"variation":{0}}}],"#,
                    r#""rules":[{{"clauses":[{{"attribute":"n","op":"in","values":[2.0,null]}}],"variation":{0},"trackEvents":false}},"#,
                    r#"{{"clauses":[],"rollout":{{"seed":{1},"variations":[{{"variation":{0},"weight":{1}}}]}},"trackEvents":true}}],"#,
                    r#""fallthrough":{{"rollout":{{"variations":[{{"variation":{0},"weight":{1},"untracked":true}}]}}}},"#,
                    r#""offVariation":{0},"variations":[1.0,null,{{"weight":2.0,"generation":null}}],"#,
                    r#""debugEventsUntilDate":{1},"migration":{{"checkRatio":{0}}},"samplingRatio":{0},"#,
                    r#""unknown":{{"version":3.0,"null":null}},"salt":"","deleted":false}}"#
                ),
                one, many
            )
        };
        assert_repaired(&FLAG, &with("1.0", "60000.0"), &with("1", "60000"));
    }

    #[test]
    fn every_integer_of_a_segment_is_found() {
        let with = |number: &str| {
            format!(
                concat!(
                    r#"{{"version":{0},"included":[],"excluded":[],"rules":[{{"clauses":[],"weight":{0}}}],"#,
                    r#""salt":"","generation":{0},"deleted":false}}"#
                ),
                number
            )
        };
        assert_repaired(&SEGMENT, &with("7.0"), &with("7"));
    }

    #[test]
    fn optional_properties_that_are_null_are_left_out() {
        assert_repaired(
            &SEGMENT,
            concat!(
                r#"{"key":"s","included":[],"excluded":[],"includedContexts":null,"rules":[{"id":null,"clauses":[],"#,
                r#""weight":null,"bucketBy":null}],"salt":"","unbounded":true,"unboundedContextKind":null,"#,
                r#""generation":null,"new":null,"version":1,"deleted":false}"#
            ),
            concat!(
                r#"{"key":"s","included":[],"excluded":[],"rules":[{"clauses":[]}],"salt":"","unbounded":true,"#,
                r#""new":null,"version":1,"deleted":false}"#
            ),
        );
    }

    #[test]
    fn what_is_null_or_missing_and_has_a_meaning_gets_it() {
        let flag = concat!(
            r#""on":false,"prerequisites":[],"targets":[],"rules":[],"variations":[],"salt":"","#,
            r#""deleted":false"#
        );
        assert_repaired(
            &FLAG,
            concat!(
                r#"{"version":null,"on":null,"prerequisites":null,"targets":null,"rules":null,"#,
                r#""variations":null,"salt":null,"deleted":null}"#
            ),
            &format!(r#"{{"version":0,{flag}}}"#),
        );
        assert_repaired(&FLAG, r#" { "version" : 3 } "#, &format!(r#"{{"version":3,{flag}}}"#));
        assert_repaired(
            &SEGMENT,
            r#"{"version":3,"excluded":null,"rules":[{"clauses":null}]}"#,
            r#"{"version":3,"excluded":[],"rules":[{"clauses":[]}],"included":[],"salt":"","deleted":false}"#,
        );
    }

    #[test]
    fn what_is_no_json_or_of_another_shape_is_left_alone() {
        for json in ["", "{", "[]", "3.0", r#"{"version":1,"rules":{"a":1.0}}"#] {
            let json = if json.contains("rules") {
                flag(r#""version":1"#).replace(r#""rules":[]"#, r#""rules":{"a":1.0}"#)
            } else {
                json.to_owned()
            };
            assert_eq!(FLAG.repair(&json), None, "{json}");
        }
    }
}
