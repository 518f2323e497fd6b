use super::*;

fn of(code: &str, message: &str) -> Failure {
    of_service(code, message, &[])
}

/// Each code that `of_service` names has its own failure and kind.
#[test]
fn every_named_code_has_its_failure() {
    let message = || "reason".to_owned();
    let both = |code: &str| format!("{code}: reason");
    let throttled = |code: &str| Failure::Throttled(Throttling::new(both(code), &[]));
    let server = |code: &str| Failure::Server(both(code));
    let unavailable = ErrorKind::Unavailable;
    let table = [
        ("ResourceNotFoundException", Failure::NoTable, unavailable),
        ("AccessDeniedException", Failure::Denied(message()), unavailable),
        (
            "ProvisionedThroughputExceededException",
            throttled("ProvisionedThroughputExceededException"),
            unavailable,
        ),
        ("ThrottlingException", throttled("ThrottlingException"), unavailable),
        ("RequestLimitExceeded", throttled("RequestLimitExceeded"), unavailable),
        ("InternalServerError", server("InternalServerError"), unavailable),
        ("ReplicatedWriteConflictException", server("ReplicatedWriteConflictException"), unavailable),
        (
            "TransactionConflictException",
            Failure::Conflict(both("TransactionConflictException")),
            ErrorKind::Other,
        ),
        (
            "ItemCollectionSizeLimitExceededException",
            Failure::CollectionTooLarge(message()),
            ErrorKind::TooLarge,
        ),
        ("RequestTimeTooSkewed", Failure::ClockSkew("RequestTimeTooSkewed".to_owned()), unavailable),
        ("ValidationException", Failure::Other(both("ValidationException")), ErrorKind::Other),
        ("SomethingNew", Failure::Other(both("SomethingNew")), ErrorKind::Other),
    ];
    for (code, failure, kind) in table {
        assert_eq!(failure.kind(), kind, "{code}");
        assert_eq!(of(code, "reason"), failure);
    }
    assert_eq!(
        of("ValidationException", "Item size has exceeded the maximum allowed size"),
        Failure::TooLarge
    );
}

/// In each of the server's ways to say that it is about the keys, and in no other.
#[test]
fn the_key_schema_is_advised_about_only_where_it_is_the_matter() {
    let about_keys = [
        "The provided key element does not match the schema",
        "One or more parameter values were invalid: Missing the key id in the item",
        "One or more parameter values were invalid: Type mismatch for key key expected: N actual: S",
        "Query condition missed key schema element: id",
        "Query key condition not supported",
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    ];
    for message in about_keys {
        assert_eq!(of("ValidationException", message), Failure::WrongTable(message.to_owned()));
    }
    let others = [
        "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty",
        "1 validation error detected: Value at 'tableName' failed to satisfy constraint",
    ];
    for message in others {
        let failure = of("ValidationException", message);
        assert!(!failure.to_string().contains("partition key"), "{failure}");
        assert!(failure.to_string().contains(message), "{failure}");
    }
}

/// A wrong clock is not a wrong key.
#[test]
fn a_wrong_clock_is_named() {
    for message in [
        "Signature expired: 20261125T100000Z is now earlier than 20261125T115500Z (20261125T120000Z - 5 min.)",
        "Signature not yet current: 20261125T130000Z is still later than 20261125T120500Z",
    ] {
        let failure = of("InvalidSignatureException", message);
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert!(failure.to_string().contains("this machine's clock is wrong"), "{failure}");
    }
}

/// What the server says of a wrong signature can repeat the request's headers.
#[test]
fn a_message_about_the_signature_is_not_shown() {
    for code in ["InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException"] {
        let failure = of(code, "x-amz-security-token: SECRET");
        assert_eq!(failure, Failure::BadCredentials(code.to_owned()));
        assert!(!format!("{failure} {failure:?}").contains("SECRET"));
    }
}

/// An error names the operation, the place and what to do next.
#[test]
fn a_message_says_where_and_what_to_do() {
    let error = Failure::NoTable.during("get", "table flags in eu-west-1");
    assert_eq!(
        error.to_string(),
        "dynamodb: get: table flags in eu-west-1: the table does not exist: create it, or correct the table's \
         name, the region or the endpoint"
    );
}

/// After an attempt without an answer a write may have happened, whatever came of the next.
#[test]
fn doubt_is_a_timeout() {
    assert_eq!(Failure::InDoubt(Box::new(Failure::NoTable)).kind(), ErrorKind::Timeout);
}
