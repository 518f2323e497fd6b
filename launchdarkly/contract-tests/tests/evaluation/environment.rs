//! The flags and segments that the cases evaluate.

use flagstore_core::AllData;

/// The flag that is on for who is in the Big Segment, or matches its rule.
pub(crate) const MEMBER: &str = "member";
/// The one that is on for who is in a segment in whose rules the Big Segment is.
pub(crate) const NESTED: &str = "nested";
/// The one that is on for whom `member` is on.
pub(crate) const AFTER: &str = "after";
/// One that has nothing to do with it.
pub(crate) const PLAIN: &str = "plain";

/// The reference of the Big Segment.
pub(crate) const BIG: &str = "big.g3";
/// Who matches its rule.
pub(crate) const BY_RULE: &str = "by-rule";

pub(crate) fn environment() -> AllData {
    let in_segment = |key: &str| {
        format!(
            r#"[{{"variation":1,"clauses":[{{"attribute":"","op":"segmentMatch","values":["{key}"]}}]}}]"#
        )
    };
    let flag = |key: &str, rules: &str, more: &str| {
        format!(
            r#""{key}":{{"key":"{key}","version":1,"on":true,"trackEvents":true,"variations":[false,true],
                "offVariation":0,"fallthrough":{{"variation":0}},"salt":"",{more}"rules":{rules}}}"#
        )
    };
    let everyone = r#"[{"variation":1,"clauses":[]}]"#;
    let flags = [
        flag(MEMBER, &in_segment("big"), ""),
        flag(NESTED, &in_segment("outer"), ""),
        flag(AFTER, everyone, r#""prerequisites":[{"key":"member","variation":1}],"#),
        flag(PLAIN, "[]", ""),
    ]
    .join(",");
    let outer = in_segment("big").replace(r#""variation":1,"#, "");
    let json = format!(
        r#"{{"flags":{{{flags}}},"segments":{{
            "big":{{"key":"big","version":1,"unbounded":true,"generation":3,"salt":"",
                "rules":[{{"clauses":[{{"attribute":"key","op":"in","values":["{BY_RULE}"]}}]}}]}},
            "outer":{{"key":"outer","version":1,"salt":"","rules":{outer}}}}}}}"#
    );
    AllData::from_json(&json).unwrap()
}
