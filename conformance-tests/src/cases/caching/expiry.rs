use flagstore_core::{ErrorKind, Kind};

use super::{Setup, forever, short};
use crate::case::{Case, Database, Succeed, flags, item};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(item_is_read_anew_when_its_time_is_over),
        Case::new(missing_key_is_looked_up_anew_when_its_time_is_over),
        Case::new(all_items_are_read_anew_when_their_time_is_over),
        Case::new(what_an_init_or_update_brought_expires_too),
        Case::new(what_has_expired_is_an_error_without_the_database),
        Case::new(nothing_expires_with_forever),
    ]
}

/// What another process wrote is seen in the end.
fn item_is_read_anew_when_its_time_is_over(database: &Database<'_>) {
    let setup = Setup::new(database, short());
    setup.another_writes("a", 1);
    assert_eq!(setup.version("a"), Some(1));
    setup.another_writes("a", 2);
    setup.wait_for("the new version", || setup.version("a") == Some(2));
}

/// What another process created is seen in the end.
fn missing_key_is_looked_up_anew_when_its_time_is_over(database: &Database<'_>) {
    let setup = Setup::new(database, short());
    assert_eq!(setup.get("a"), None);
    setup.another_writes("a", 1);
    setup.wait_for("the new item", || setup.version("a") == Some(1));
}

/// And so it is among all items.
fn all_items_are_read_anew_when_their_time_is_over(database: &Database<'_>) {
    let setup = Setup::new(database, short());
    assert!(setup.all().is_empty());
    setup.another_writes("a", 1);
    setup.wait_for("the new item", || setup.version_among_all("a") == Some(1));
}

/// Our own writes count no longer than what was read.
fn what_an_init_or_update_brought_expires_too(database: &Database<'_>) {
    let setup = Setup::new(database, short());
    setup.store.init(&flags([("a", item("a", 1, ""))])).succeed();
    setup.another_writes("a", 2);
    setup.wait_for("the new version", || setup.version("a") == Some(2));
    setup.update("a", 3);
    setup.another_writes("a", 4);
    setup.wait_for("the new version", || setup.version("a") == Some(4));
    setup.wait_for("it among all", || setup.version_among_all("a") == Some(4));
}

/// An old value is not served unless the policy says so.
fn what_has_expired_is_an_error_without_the_database(database: &Database<'_>) {
    let setup = Setup::new(database, short());
    setup.another_writes("a", 1);
    assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1));
    setup.core.fail(ErrorKind::Unavailable);
    setup.wait_for("an error", || setup.store.get(&Kind::FEATURES, "a").is_err());
    setup.wait_for("an error of all", || setup.store.all(&Kind::FEATURES).is_err());
}

/// While the other mode sees another's write, this one does not.
fn nothing_expires_with_forever(database: &Database<'_>) {
    let (lasting, fleeting) = (Setup::new(database, forever()), Setup::new(database, short()));
    for setup in [&lasting, &fleeting] {
        setup.another_writes("a", 1);
        assert_eq!((setup.version("a"), setup.all().len()), (Some(1), 1), "{setup}");
        setup.another_writes("a", 2);
    }
    fleeting.wait_for("the new version", || fleeting.version("a") == Some(2));
    lasting.without_the_database(|| {
        assert_eq!(lasting.version("a"), Some(1));
        assert_eq!(lasting.version_among_all("a"), Some(1));
    });
}
