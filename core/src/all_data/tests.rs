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
        (r#"{"flags":[]}"#, "expected an object of flags by key at line 1 column 11"),
        (r#"{"flags":{},"segments":3}"#, "expected an object of segments by key at line 1 column"),
        (r#"{"flags":{"a":{"version":1},"a":{"version":2}}}"#, "flags/a: this key is there twice at line 1"),
        (r#"{"flags":{"a":{}},"flags":{}}"#, "the property flags is there twice at line 1"),
        (r#"{"flags":{"a":{"version":1},"b":[]}}"#, "flags/b: expected a JSON object with a version"),
        (r#"{"segments":{"s":{"version":-1}}}"#, "segments/s: invalid type: integer `-1`"),
        ("{\"flags\":{\n\"a\":{\"version\":-1}}}", "column 13 of that item, which ends at line 2 column "),
        ("{\"flags\":{\n\"a\":{,}}}", "flags/a: "),
        ("{\"flags\":{\n\"a\":{,}}}", "line 2 column 6"),
        ("{\"flags\":{\"a\\nb\":1}}", r"flags/a\nb: invalid type: integer `1`"),
    ] {
        let error = AllData::from_json(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn what_would_empty_a_database_by_mistake_is_refused() {
    for (json, expected) in [
        ("{}", "neither flags nor segments: expected"),
        (r#"{"flags":null}"#, "neither flags nor segments: expected"),
        (r#"{"flags":null,"segments":null}"#, "neither flags nor segments: expected"),
        (r#"{"Flags":{"a":{"version":1}}}"#, "the property Flags is not read: name it flags at line 1"),
        (r#"{"features":{"a":{"version":1}}}"#, "the property features is not read: name it flags at line 1"),
        (r#"{"segments":{},"FLAGS":{}}"#, "the property FLAGS is not read: name it flags at line 1"),
        (r#"{"flags":{},"Segments":{}}"#, "the property Segments is not read: name it segments at line 1"),
    ] {
        let error = AllData::from_json(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn a_long_key_is_cut_in_messages() {
    let key = "k".repeat(5000);
    let error = AllData::from_json(&format!(r#"{{"flags":{{"{key}":1}}}}"#)).unwrap_err().to_string();
    assert!(
        error.starts_with("flags/kkk") && error.contains("k...: invalid type") && error.len() < 250,
        "{error}"
    );
}

#[test]
fn a_key_given_again_replaces_the_item_in_its_place() {
    let item = |version| Item::from_parts(version, false, "{}").unwrap();
    let all_data = AllData::new()
        .with(Kind::FEATURES, [("a", item(1)), ("b", item(1))])
        .with(Kind::FEATURES, [("a", item(2))]);
    assert_eq!(keys(&all_data, &Kind::FEATURES), ["a", "b"]);
    assert_eq!(all_data.items(&Kind::FEATURES).next().unwrap().1.version(), 2);
}

#[test]
fn in_dependency_order_segments_come_before_flags_and_other_kinds_last() {
    let all_data = AllData::new()
        .with(Kind::new("mock1"), [("m", Item::from_parts(1, false, "{}").unwrap())])
        .with(
            Kind::FEATURES,
            [
                ("top", Item::from_parts(1, false, r#"{"prerequisites":[{"key":"base"}]}"#).unwrap()),
                ("base", Item::from_parts(1, false, "{}").unwrap()),
            ],
        )
        .with(Kind::SEGMENTS, [("s", Item::from_parts(1, false, "{}").unwrap())])
        .in_dependency_order();
    let kinds: Vec<_> = all_data.kinds().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["segments", "features", "mock1"]);
    assert_eq!(keys(&all_data, &Kind::FEATURES), ["base", "top"]);
}

#[test]
fn no_item_refers_to_one_of_its_own_level() {
    let flag = |prerequisites: &[&str]| {
        let keys: Vec<_> = prerequisites.iter().map(|key| format!(r#"{{"key":"{key}"}}"#)).collect();
        Item::from_parts(1, false, format!(r#"{{"prerequisites":[{}]}}"#, keys.join(","))).unwrap()
    };
    let rule = r#"{"rules":[{"clauses":[{"op":"segmentMatch","values":["inner"]}]}]}"#;
    let plain = || Item::from_parts(1, false, "{}").unwrap();
    let all_data = AllData::new()
        .with(Kind::new("mock1"), [("m", plain())])
        .with(
            Kind::FEATURES,
            [
                ("top", flag(&["middle", "base"])),
                ("middle", flag(&["base"])),
                ("base", flag(&[])),
                ("z", plain()),
            ],
        )
        .with(Kind::new("mock2"), [("m", plain())])
        .with(Kind::SEGMENTS, [("outer", Item::from_parts(1, false, rule).unwrap()), ("inner", plain())]);
    let levels: Vec<Vec<String>> = all_data
        .dependency_levels()
        .iter()
        .map(|level| level.iter().map(|(kind, key, _)| format!("{kind}/{key}")).collect())
        .collect();
    let expected: [&[&str]; 6] = [
        &["segments/inner"],
        &["segments/outer"],
        &["features/base", "features/z"],
        &["features/middle"],
        &["features/top"],
        &["mock1/m", "mock2/m"],
    ];
    assert_eq!(levels, expected);
}

#[test]
fn nothing_has_no_levels() {
    let empty = AllData::new().with(Kind::FEATURES, Vec::<(String, Item)>::new());
    assert!(empty.dependency_levels().is_empty());
}

#[test]
fn levels_flattened_are_the_dependency_order_and_a_cycle_loses_nothing() {
    let flag =
        |on: &str| Item::from_parts(1, false, format!(r#"{{"prerequisites":[{{"key":"{on}"}}]}}"#)).unwrap();
    let all_data = AllData::new()
        .with(Kind::FEATURES, [("a", flag("b")), ("b", flag("a")), ("c", flag("c")), ("d", flag("a"))]);
    let levels = all_data.dependency_levels();
    let flattened: Vec<_> = levels.iter().flatten().map(|(_, key, _)| (*key).to_owned()).collect();
    assert_eq!(flattened, keys(&all_data.clone().in_dependency_order(), &Kind::FEATURES));
    assert_eq!(flattened.len(), 4);
}

/// What is written reads back as it was, and other kinds are left out.
#[test]
fn json_goes_out_as_it_came_in() {
    let json = r#"{"flags":{"a\"b":{"version":2, "odd" : 1.0},"gone":{"version":3,"deleted":true}},"segments":{"s":{}}}"#;
    let all_data = AllData::from_json(json).unwrap();
    assert_eq!(all_data.to_json(), json);
    assert_eq!((all_data.len(), all_data.is_empty()), (3, false));
    let other = AllData::new().with(Kind::new("mock1"), [("m", Item::from_parts(1, false, "{}").unwrap())]);
    assert_eq!(other.to_json(), r#"{"flags":{},"segments":{}}"#);
    assert!(AllData::new().with(Kind::FEATURES, Vec::<(String, Item)>::new()).is_empty());
}

/// Items of several kinds may come in any order.
#[test]
fn items_can_be_collected() {
    let item = || Item::from_parts(1, false, "{}").unwrap();
    let all_data: AllData =
        [(Kind::FEATURES, "a", item()), (Kind::SEGMENTS, "s", item()), (Kind::FEATURES, "b", item())]
            .into_iter()
            .collect();
    assert_eq!(all_data.items(&Kind::FEATURES).map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(all_data.items(&Kind::SEGMENTS).count(), 1);
}
