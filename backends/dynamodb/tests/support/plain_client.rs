//! An HTTP client as an application may bring one along: it knows nothing of the SDK, tells it nothing of its
//! connections, and makes one for each request.

use std::io::{BufReader, Write};
use std::net::TcpStream;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::proxy::read_message;

pub fn plain_client() -> SharedHttpClient {
    http_client_fn(|_, _| SharedHttpConnector::new(Plain))
}

#[derive(Debug)]
struct Plain;

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(async move {
            let sent = tokio::task::spawn_blocking(move || send(&request));
            sent.await.unwrap().map_err(|error| ConnectorError::io(error.into()))
        })
    }
}

fn send(request: &HttpRequest) -> std::io::Result<HttpResponse> {
    let address = request.uri().strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let body = request.body().bytes().unwrap();
    let mut message = format!("{} / HTTP/1.1\r\nhost: {address}\r\n", request.method());
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != "host") {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut connection = TcpStream::connect(&address)?;
    connection.write_all(format!("{message}\r\n").as_bytes())?;
    connection.write_all(body)?;
    let answer = read_message(&mut BufReader::new(connection))?;
    let (head, body) = answer.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status: u16 = head[0].split(' ').nth(1).unwrap().parse().unwrap();
    let mut response = HttpResponse::new(status.try_into().unwrap(), body.into());
    for (name, value) in head[1..].iter().filter_map(|line| line.split_once(':')) {
        response.headers_mut().insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(response)
}
