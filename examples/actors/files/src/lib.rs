//! Files over HTTP, kept in a blob store: `PUT /name` stores one, `GET /name` gives it back, `DELETE /name` removes it,
//! `GET /` lists all names.
//!
//! A file is never in memory as a whole: the body of the request is spliced into the object as it arrives, and the
//! object into the body of the response as it is read. A file of any size takes the same little memory.

use exports::wasi::http::incoming_handler::Guest;
use wasi::blobstore::blobstore;
use wasi::blobstore::container::{Container, StreamObjectNames};
use wasi::blobstore::types::{IncomingValue, OutgoingValue};
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::{InputStream, OutputStream, StreamError};

wit_bindgen::generate!({ world: "demo:files/files", path: ["../../wit/wasi-0.2", "wit"], generate_all });

/// The container's name; the link says where it is.
const CONTAINER: &str = "files";
/// The most that is moved at once.
const PIECE_BYTES: u64 = 64 * 1024;
/// Names that are asked for at once.
const NAMES: u64 = 1_000;

struct Files;

/// What a request is answered with.
enum Reply {
    /// A status code and a line.
    Line(u16, String),
    /// A file, and how long it is.
    File(InputStream, u64),
    /// Names, one on each line.
    Names(StreamObjectNames),
}

impl Guest for Files {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let reply = reply(&request).unwrap_or_else(|(status, reason)| Reply::Line(status, reason));
        reply.send(response_out);
    }
}

/// A status code and the reason, for a request that cannot be done.
type Refusal = (u16, String);

fn reply(request: &IncomingRequest) -> Result<Reply, Refusal> {
    let path = request.path_with_query().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let name = decode(path.strip_prefix('/').unwrap_or(path)).ok_or((400, "the path is no text".to_owned()))?;
    match request.method() {
        Method::Get if name.is_empty() => Ok(Reply::Names(container()?.list_objects().map_err(failed)?)),
        Method::Get => open(&name),
        Method::Put => store(&name, request),
        Method::Delete => {
            container()?.delete_object(&name).map_err(failed)?;
            Ok(Reply::Line(200, format!("{name} is deleted")))
        }
        _ => Err((405, "only GET, PUT and DELETE are served".to_owned())),
    }
}

fn failed(error: String) -> Refusal {
    (500, error)
}

/// The container, made when it is used first.
fn container() -> Result<Container, Refusal> {
    blobstore::get_container(CONTAINER).or_else(|_| blobstore::create_container(CONTAINER)).map_err(failed)
}

fn open(name: &str) -> Result<Reply, Refusal> {
    let container = container()?;
    if !container.has_object(name).map_err(failed)? {
        return Err((404, format!("there is no {name}")));
    }
    let value = container.get_data(name, 0, u64::MAX).map_err(failed)?;
    let size = value.size();
    Ok(Reply::File(IncomingValue::incoming_value_consume_async(value).map_err(failed)?, size))
}

fn store(name: &str, request: &IncomingRequest) -> Result<Reply, Refusal> {
    let value = OutgoingValue::new_outgoing_value();
    let to = value.outgoing_value_write_body().expect("the stream is taken once");
    container()?.write_data(name, &value).map_err(failed)?;
    let body = request.consume().expect("the body is taken once");
    let from = body.stream().expect("the stream is taken once");
    let end = copy(&from, &to);
    drop((from, to));
    if end == End::SourceBroke {
        // A value that is dropped before it is finished is not stored.
        return Err((400, format!("{name} did not arrive whole")));
    }
    // Of a store that stopped reading, this is the reason.
    OutgoingValue::finish(value).map_err(failed)?;
    if end == End::SinkClosed {
        return Err((500, format!("{name} was not stored whole")));
    }
    Ok(Reply::Line(201, format!("{name} is stored")))
}

/// How copying ended.
#[derive(PartialEq, Eq)]
enum End {
    /// All was copied.
    Whole,
    /// What is read from failed.
    SourceBroke,
    /// What is written to takes no more.
    SinkClosed,
}

fn copy(from: &InputStream, to: &OutputStream) -> End {
    loop {
        match to.blocking_splice(from, PIECE_BYTES) {
            Ok(_) => {}
            // It is not said which of the two is closed.
            Err(StreamError::Closed) if matches!(from.read(1), Err(StreamError::Closed)) => return End::Whole,
            Err(StreamError::Closed) => return End::SinkClosed,
            Err(StreamError::LastOperationFailed(_)) => return End::SourceBroke,
        }
    }
}

impl Reply {
    fn send(self, response_out: ResponseOutparam) {
        let headers = Fields::new();
        let status = match &self {
            Self::Line(status, _) => *status,
            Self::File(_, size) => {
                headers.set("content-length", &[size.to_string().into_bytes()]).expect("the header is well formed");
                200
            }
            Self::Names(_) => 200,
        };
        let response = OutgoingResponse::new(headers);
        response.set_status_code(status).expect("the status code is in range");
        let body = response.body().expect("the body is taken once");
        ResponseOutparam::set(response_out, Ok(response));
        let stream = body.write().expect("the stream is taken once");
        let is_whole = match self {
            Self::Line(_, text) => write(&stream, &format!("{text}\n")),
            Self::File(file, _) => copy(&file, &stream) == End::Whole && stream.blocking_flush().is_ok(),
            Self::Names(names) => write_names(&stream, &names),
        };
        drop(stream);
        if is_whole {
            // A client that has left is the only way for this to fail, and then nobody is there to be told.
            let _ = OutgoingBody::finish(body, None);
        }
    }
}

fn write_names(stream: &OutputStream, names: &StreamObjectNames) -> bool {
    loop {
        let Ok((page, is_end)) = names.read_stream_object_names(NAMES) else { return false };
        let lines: String = page.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        if !write(stream, &lines) {
            return false;
        }
        if is_end {
            return true;
        }
    }
}

fn write(stream: &OutputStream, text: &str) -> bool {
    // One blocking write takes 4,096 bytes at most.
    text.as_bytes().chunks(4_096).all(|piece| stream.blocking_write_and_flush(piece).is_ok())
}

/// A percent-encoded path as text.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

export!(Files);
