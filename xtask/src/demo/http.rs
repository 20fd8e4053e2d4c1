//! A small HTTP/1.1 client: each request on a connection of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a route may take to be there after its link was put.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
const RESPONSE_BYTES_MAX: u64 = 1024 * 1024;

/// A response with its body as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) path: &'a str,
    /// Lines of the head, each with its line break.
    pub(super) headers: &'a str,
    pub(super) body: &'a str,
}

/// Asks for `path` until the route is there: until the answer is not 404, 503 or a refused connection.
pub(super) fn get_when_ready(address: SocketAddr, host: Option<&str>, path: &str) -> Result<Response> {
    let started = Instant::now();
    loop {
        let answer = get(address, host, path);
        let is_ready = answer.as_ref().is_ok_and(|response| ![404, 503].contains(&response.status));
        if is_ready || started.elapsed() > PATIENCE {
            return answer;
        }
        std::thread::park_timeout(PAUSE);
    }
}

fn get(address: SocketAddr, host: Option<&str>, path: &str) -> Result<Response> {
    send(address, host, Request { method: "GET", path, headers: "", body: "" })
}

/// Sends a request and reads the response.
///
/// # Errors
/// If nobody answers in time, or what comes is no whole response.
pub(super) fn send(address: SocketAddr, host: Option<&str>, request: Request<'_>) -> Result<Response> {
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let host = host.map_or_else(|| address.to_string(), |host| format!("{host}:{}", address.port()));
    let Request { method, path, headers, body } = request;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut bytes).context("the response broke off")?;
    parse(&bytes).context("the response is not HTTP/1.1")
}

/// A whole response; none if it is cut or malformed.
fn parse(bytes: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { join_chunks(body)? } else { body.to_owned() };
    Some(Response { status, body })
}

fn join_chunks(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let bytes = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if bytes == 0 {
            return Some(body);
        }
        body.push_str(after.get(..bytes)?);
        rest = after.get(bytes..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn chunks_are_joined() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let response = parse(text).expect("it is whole");
        assert_eq!((response.status, response.body.as_str()), (200, "abcde"));
    }

    #[test]
    fn a_body_with_a_length_is_taken_as_it_is() {
        let response = parse(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").expect("it is whole");
        assert_eq!((response.status, response.body.as_str()), (404, "no"));
    }

    #[test]
    fn a_cut_response_is_none() {
        for text in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
