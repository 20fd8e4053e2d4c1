//! Requests as they are read, and replies as they are sent.

use crate::reply::Reply;
use crate::wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use crate::wasi::io::streams::StreamError;

/// The largest body of a request.
const MAX_BODY_BYTES: usize = 16 * 1_024;
/// What is read, and written, at once.
const PIECE_BYTES: usize = 4_096;

/// A request, whole.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
    authorization: Option<String>,
    idempotency_key: Option<String>,
}

impl Request {
    /// The token of the caller, if one came along.
    pub(crate) fn token(&self) -> Option<&str> {
        self.authorization.as_deref()?.strip_prefix("Bearer ")
    }

    pub(crate) fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// The value of a key of the query, as it stands there.
    pub(crate) fn query_value(&self, key: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
}

/// Reads a request with its body.
///
/// # Errors
/// The reply to one that is too large or breaks off.
pub(crate) fn read(request: &IncomingRequest) -> Result<Request, Reply> {
    let path_with_query = request.path_with_query().unwrap_or_default();
    let (path, query) = path_with_query.split_once('?').unwrap_or((&path_with_query, ""));
    let headers = request.headers();
    // Two of what may be there once are as good as none.
    let header = |name: &str| match &headers.get(name)[..] {
        [only] => String::from_utf8(only.clone()).ok(),
        _ => None,
    };
    Ok(Request {
        method: request.method(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        body: read_body(request)?,
    })
}

fn read_body(request: &IncomingRequest) -> Result<Vec<u8>, Reply> {
    let body = request.consume().expect("the body is taken once");
    let stream = body.stream().expect("the stream is taken once");
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(PIECE_BYTES as u64) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(_)) => {
                return Err(Reply::refused(400, "broken", "the body broke off"));
            }
        }
        if bytes.len() > MAX_BODY_BYTES {
            return Err(Reply::refused(413, "too-large", "a body has up to 16 KiB"));
        }
    }
}

/// Sends a reply.
pub(crate) fn send(response_out: ResponseOutparam, reply: &Reply) {
    let headers = Fields::new();
    let mut fields = vec![
        ("content-type", reply.content_type),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"),
    ];
    if reply.status == 503 {
        fields.push(("retry-after", "1"));
    }
    for (name, value) in fields {
        headers.set(name, &[value.as_bytes().to_vec()]).expect("the header is well formed");
    }
    let response = OutgoingResponse::new(headers);
    response.set_status_code(reply.status).expect("the status code is in range");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    let is_sent = reply.body.as_bytes().chunks(PIECE_BYTES).all(|piece| stream.blocking_write_and_flush(piece).is_ok());
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}
