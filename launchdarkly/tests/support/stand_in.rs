//! The stand-in of the LaunchDarkly service, in a program that says which provider of cryptography rustls uses. One that
//! has several has to say it, and the workspace as a whole is such a program: DynamoDB's tests bring one, and Redis's
//! another.

use flagstore_conformance::StandIn;

pub(crate) fn stand_in() -> StandIn {
    // A second time it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    StandIn::start().unwrap()
}
