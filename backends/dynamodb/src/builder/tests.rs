use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use flagstore_core::ErrorKind;

use super::*;

fn builder() -> DynamoDbStoreBuilder {
    DynamoDbStore::builder("flags")
}

fn client() -> Client {
    let config =
        Config::builder().behavior_version(BehaviorVersion::v2026_01_12()).region(Region::new("eu-west-1"));
    Client::from_conf(config.build())
}

const ARN: &str = "arn:aws:dynamodb:eu-west-1:123456789012:table/flags";

fn at(endpoint: &str) -> SdkConfig {
    SdkConfig::builder().endpoint_url(endpoint).build()
}

fn credentials() -> Credentials {
    Credentials::new("the-id", "the-secret", Some("the-token".to_owned()), None, "test")
}

/// A value out of range is refused by name.
#[test]
fn a_wrong_value_names_its_field() {
    let wrong = [
        ("table", DynamoDbStore::builder("")),
        ("table", DynamoDbStore::builder("ab")),
        ("table", DynamoDbStore::builder("feature flags")),
        ("table", DynamoDbStore::builder("x".repeat(256))),
        ("table", DynamoDbStore::builder("arn:aws:dynamodb:eu-west-1:123456789012:flags")),
        ("table", DynamoDbStore::builder("arn:aws:dynamodb::123456789012:table/flags")),
        ("table", DynamoDbStore::builder("arn:aws:sqs:eu-west-1:123456789012:table/flags")),
        ("region", DynamoDbStore::builder(ARN).region("eu-west-2")),
        ("client", DynamoDbStore::builder(ARN.replace("west", "east")).client(client())),
        ("sdk_config", builder().sdk_config(at("http://user:password@localhost"))),
        ("sdk_config", builder().sdk_config(at("http://localhost?password@"))),
        ("prefix", builder().prefix("x".repeat(1025))),
        ("region", builder().region("")),
        ("region", builder().region("eu west")),
        ("endpoint", builder().endpoint("localhost:8000")),
        ("endpoint", builder().endpoint("http://")),
        ("endpoint", builder().endpoint("http://:8000")),
        ("endpoint", builder().endpoint("http://user:password@localhost")),
        ("timeout", builder().timeout(Duration::ZERO)),
        ("timeout", builder().timeout(Duration::MAX)),
        ("attempt_timeout", builder().attempt_timeout(Duration::ZERO)),
        ("attempt_timeout", builder().attempt_timeout(Duration::from_secs(3))),
        ("connect_timeout", builder().connect_timeout(Duration::ZERO)),
        ("init_timeout", builder().init_timeout(Duration::ZERO)),
        ("max_attempts", builder().max_attempts(0)),
        ("init_concurrency", builder().init_concurrency(0)),
    ];
    for (field, builder) in wrong {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().starts_with(&format!("dynamodb: build: {field}: ")), "{error}");
        assert!(!error.to_string().contains("password@"), "{error}");
    }
}

/// What a ready client would ignore is refused by name. (Peers' bug 33: options that are silently ignored.)
#[test]
fn a_setting_that_a_ready_client_ignores_names_its_field() {
    let client = || builder().client(client());
    let wrong = [
        ("sdk_config", client().sdk_config(SdkConfig::builder().build())),
        ("region", client().region("eu-west-1")),
        ("endpoint", client().endpoint("http://localhost:8000")),
        ("credentials_provider", client().credentials_provider(credentials())),
        ("attempt_timeout", client().attempt_timeout(Duration::from_secs(1))),
        ("connect_timeout", client().connect_timeout(Duration::from_secs(1))),
        ("max_attempts", client().max_attempts(1)),
    ];
    for (field, builder) in wrong {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(&format!("dynamodb: build: {field}: has no effect")), "{error}");
    }
    client().timeout(Duration::from_secs(1)).init_timeout(Duration::from_secs(1)).build().unwrap();
}

/// Names of every legal form are taken.
#[test]
fn a_table_may_be_a_name_or_an_arn() {
    for table in ["abc", "Feature-flags_2.0", ARN, "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/a.b_c"]
    {
        DynamoDbStore::builder(table).build().unwrap();
    }
}

/// Where the table is, as far as it is known, and the prefix if there is one.
#[test]
fn display_shows_location_table_and_prefix() {
    let shown = |builder: DynamoDbStoreBuilder| builder.build().unwrap().to_string();
    assert_eq!(shown(builder()), "DynamoDB(flags)");
    assert_eq!(shown(builder().region("eu-west-1").prefix("p")), "DynamoDB(eu-west-1/flags, p)");
    let endpoint = builder().region("eu-west-1").endpoint("http://localhost:8000");
    assert_eq!(shown(endpoint), "DynamoDB(http://localhost:8000/flags)");
    let sdk_config = SdkConfig::builder().region(Region::new("eu-west-2")).build();
    assert_eq!(shown(builder().sdk_config(sdk_config.clone())), "DynamoDB(eu-west-2/flags)");
    assert_eq!(shown(builder().sdk_config(sdk_config).region("eu-west-1")), "DynamoDB(eu-west-1/flags)");
    assert_eq!(shown(builder().client(client())), "DynamoDB(eu-west-1/flags)");
    assert_eq!(shown(builder().sdk_config(at("http://localhost:1"))), "DynamoDB(http://localhost:1/flags)");
}

/// So it need not be said again, and what the environment says does not count.
#[test]
fn an_arn_says_the_region() {
    let of_sdk = SdkConfig::builder().region(Region::new("eu-west-2")).build();
    for builder in [DynamoDbStore::builder(ARN), DynamoDbStore::builder(ARN).sdk_config(of_sdk)] {
        assert_eq!(builder.build().unwrap().to_string(), format!("DynamoDB(eu-west-1/{ARN})"));
    }
    DynamoDbStore::builder(ARN).region("eu-west-1").build().unwrap();
    DynamoDbStore::builder(ARN).client(client()).build().unwrap();
}

/// Neither output has anything of the credentials.
#[test]
fn debug_shows_no_secret() {
    let provider = SharedCredentialsProvider::new(credentials());
    let sdk_config = SdkConfig::builder().credentials_provider(provider).build();
    let builder = builder()
        .credentials_provider(credentials())
        .sdk_config(sdk_config)
        .endpoint("http://user:the-secret@localhost:8000");
    let shown = format!("{builder:?}");
    let store = builder.endpoint("http://localhost:8000").build().unwrap();
    for shown in [shown, format!("{store:?} {store}")] {
        assert!(
            !["the-id", "the-secret", "the-token"].iter().any(|secret| shown.contains(secret)),
            "{shown}"
        );
    }
}

/// Three attempts that nobody answers, and the pauses between them, end before the deadline that says less.
#[test]
fn the_defaults_leave_time_for_all_attempts() {
    let pauses = Duration::from_millis(50 + 100);
    assert!(ATTEMPT_TIMEOUT * MAX_ATTEMPTS + pauses <= sooner(builder().timeout) + Duration::from_millis(50));
}
