use std::time::Duration;

/// What the stand-in does with a request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Answer {
    /// What the service would answer.
    Service,
    /// This status, and no body.
    Status(u16),
    /// This status and this `Location`.
    Redirect(u16, String),
    /// Status 200 with these bytes as a whole body.
    Body(Vec<u8>),
    /// Status 200 with this `Content-Encoding` and these bytes as a whole body.
    Encoded(String, Vec<u8>),
    /// A stream that begins with these bytes and stays open.
    Stream(Vec<u8>),
    /// These bytes instead of HTTP, and then the end of the connection.
    Raw(Vec<u8>),
    /// Status 200 and the length of a body of which only these bytes come, before the connection ends.
    CutOff(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
    /// The end of the connection.
    HangUp,
    /// That answer, after this time.
    Late(Duration, Box<Self>),
}
