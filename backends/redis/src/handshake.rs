//! From an address to a connection on which the server has said that it serves.

use std::time::{Duration, Instant};

use redis::{Cmd, ConnectionAddr, ConnectionInfo, RedisConnectionInfo, Value};

use crate::error::Failure;
use crate::session::{Session, answer};
use crate::socket::{Place, Stream};
use crate::tls::Certificates;
use crate::wire::Link;

/// Connects within this time. The name is resolved before, however long that takes.
pub(crate) fn open(
    info: &ConnectionInfo,
    certificates: &Certificates,
    name: Option<&str>,
    time: Duration,
) -> Result<Link, Failure> {
    let by_io = |error: std::io::Error| Failure::Lost { error: error.into(), was_sent: false };
    let attempt = |place: &Place, deadline: Instant| {
        let socket = place.connect(info.tcp_settings(), deadline).map_err(by_io)?;
        let stream: Box<dyn Stream> = match info.addr() {
            ConnectionAddr::TcpTls { host, insecure, .. } => {
                certificates.shake_hands(host, *insecure, socket).map_err(by_io)?
            }
            _ => Box::new(socket),
        };
        let mut link = Link::new(stream);
        greet(&mut link, info.redis_settings(), name, deadline)?;
        Ok::<_, Failure>(link)
    };
    let opened = Place::find(info.addr()).map_err(by_io).and_then(|place| {
        let deadline = Instant::now() + time;
        match attempt(&place, deadline) {
            // Cut without a word, as by CLIENT KILL or a restart just now, and no refusal.
            Err(failure) if failure.is_closed_connection() && failure.was_sent() => attempt(&place, deadline),
            opened => opened,
        }
    });
    opened.map_err(|failure| Failure::connect(info.addr(), &failure, info.redis_settings().password()))
}

/// Says who we are. A server that refuses a connection says so instead of an answer, and closes it.
fn greet(
    link: &mut Link,
    settings: &RedisConnectionInfo,
    name: Option<&str>,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut session = Session::new(link, deadline);
    let (username, password) = (settings.username(), settings.password());
    if settings.protocol().supports_resp3() {
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if let Some(password) = password {
            hello.arg("AUTH").arg(username.unwrap_or("default")).arg(password);
        }
        ask(&mut session, &hello)?;
    } else if let Some(password) = password {
        ask(&mut session, redis::cmd("AUTH").arg(username).arg(password))?;
    }
    if settings.db() != 0 {
        ask(&mut session, redis::cmd("SELECT").arg(settings.db()))?;
    }
    let ping = redis::cmd("PING");
    if let Some(name) = name {
        // Not every user may, and nothing depends on it.
        served(&mut session, redis::cmd("CLIENT").arg("SETNAME").arg(name))
    } else if password.is_none() && settings.db() == 0 && !settings.protocol().supports_resp3() {
        served(&mut session, &ping)
    } else {
        Ok(())
    }
}

fn ask(session: &mut Session, command: &Cmd) -> Result<(), Failure> {
    let reply = session.send(&command.get_packed_command(), 1).and_then(|()| session.receive());
    // Its last words, if it has closed the connection before anything could be sent.
    let reply = reply.or_else(|failure| match session.receive() {
        Ok(words @ Value::ServerError(_)) => Ok(words),
        _ => Err(failure),
    });
    answer(reply?).map(drop)
}

/// Whether the server answers, be it with an error about the command: then it answers again.
fn served(session: &mut Session, command: &Cmd) -> Result<(), Failure> {
    let Err(failure) = ask(session, command) else { return Ok(()) };
    match ask(session, &redis::cmd("PING")) {
        Err(Failure::Answer(_)) | Ok(()) if !failure.concerns_the_server() => Ok(()),
        _ => Err(failure),
    }
}
