use super::*;

fn keys(all_data: &AllData, kind: &Kind) -> Vec<String> {
    all_data.items(kind).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn items_keep_their_order_and_every_byte() {
    let all_data = AllData::from_json(
        r#" {"flags": {"z": { "version" : 2.0, "new":1e2 }, "a":{"version":1}}, "segments": {}, "more": 1} "#,
    )
    .unwrap();
    assert_eq!(keys(&all_data, &Kind::FEATURES), ["z", "a"]);
    let (_, z) = all_data.items(&Kind::FEATURES).next().unwrap();
    assert_eq!((z.version(), z.json()), (2, r#"{ "version" : 2.0, "new":1e2 }"#));
}

#[test]
fn a_missing_section_is_an_empty_kind() {
    for json in [r#"{"flags":{}}"#, r#"{"segments":{},"flags":null}"#] {
        let all_data = AllData::from_json(json).unwrap();
        let kinds: Vec<_> = all_data.kinds().map(|(kind, items)| (kind.as_str(), items.len())).collect();
        assert_eq!(kinds, [("segments", 0), ("features", 0)], "{json}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (json, expected) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "expected an object {\"flags\":{...},\"segments\":{...}}"),
        (r#"{"path":"/","data":{"flags":{}}}"#, "neither flags nor segments"),
        (r#"{"flags":[]}"#, "expected an object of items by key at line 1 column 9"),
        (r#"{"flags":{"a":{"version":1},"a":{"version":2}}}"#, "the key a is there twice at line 1"),
        (r#"{"flags":{"a":{"version":1},"b":[]}}"#, "flags/b: expected a JSON object with a version"),
        (r#"{"segments":{"s":{"version":-1}}}"#, "segments/s: invalid type: integer `-1`"),
        ("{\"flags\":{\n\"a\":{,}}}", "line 2 column 6"),
    ] {
        let error = AllData::from_json(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn a_key_given_again_replaces_the_item_in_its_place() {
    let item = |version| Item::from_parts(version, false, "{}");
    let all_data = AllData::new()
        .with(Kind::FEATURES, [("a", item(1)), ("b", item(1))])
        .with(Kind::FEATURES, [("a", item(2))]);
    assert_eq!(keys(&all_data, &Kind::FEATURES), ["a", "b"]);
    assert_eq!(all_data.items(&Kind::FEATURES).next().unwrap().1.version(), 2);
}

#[test]
fn in_dependency_order_segments_come_before_flags_and_other_kinds_last() {
    let all_data = AllData::new()
        .with(Kind::new("mock1"), [("m", Item::from_parts(1, false, "{}"))])
        .with(
            Kind::FEATURES,
            [
                ("top", Item::from_parts(1, false, r#"{"prerequisites":[{"key":"base"}]}"#)),
                ("base", Item::from_parts(1, false, "{}")),
            ],
        )
        .with(Kind::SEGMENTS, [("s", Item::from_parts(1, false, "{}"))])
        .in_dependency_order();
    let kinds: Vec<_> = all_data.kinds().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["segments", "features", "mock1"]);
    assert_eq!(keys(&all_data, &Kind::FEATURES), ["base", "top"]);
}
