//! A list of things to do, in an SQL database: `POST /` adds what the body says, `GET /` lists, `POST /3/done` ticks the
//! third off, `DELETE /3` removes it.
//!
//! Values go to the database as parameters, never as part of a statement. Whether that is SQLite or PostgreSQL is said
//! by the link, and so are the migrations that make the table.

use exports::wasi::http::incoming_handler::Guest;
use trellis::sql::database::{self, Error, Value};
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::io::streams::StreamError;

wit_bindgen::generate!({
    world: "demo:todo/todo",
    path: ["../../wit/wasi-0.2", "../../../interfaces/wit/sql", "wit"],
    generate_all,
});

/// The longest title, in bytes.
const MAX_TITLE_BYTES: usize = 1_000;

struct Todo;

impl Guest for Todo {
    fn handle(request: IncomingRequest, response_out: ResponseOutparam) {
        let path_with_query = request.path_with_query().unwrap_or_default();
        let path = path_with_query.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let (status, text) = match (request.method(), &words[..]) {
            (Method::Get, []) => reply(200, list()),
            (Method::Post, []) => match title(&request) {
                Some(title) => reply(201, add(title)),
                None => (400, format!("the body is the title, 1 to {MAX_TITLE_BYTES} bytes of text\n")),
            },
            (Method::Post, [id, "done"]) => changed(id, "update todo set done = true where id = $1"),
            (Method::Delete, [id]) => changed(id, "delete from todo where id = $1"),
            _ => (404, "there is nothing here\n".to_owned()),
        };
        answer(response_out, status, &text);
    }
}

fn list() -> Result<String, Error> {
    let rows = database::query("select id, title, done from todo order by id limit 1000", &[])?.rows;
    let line = |row: &Vec<Value>| match &row[..] {
        [Value::Int64(id), Value::Text(title), Value::Boolean(done)] => {
            format!("{id} [{}] {title}\n", if *done { 'x' } else { ' ' })
        }
        other => format!("? {other:?}\n"),
    };
    Ok(rows.iter().map(line).collect())
}

fn add(title: String) -> Result<String, Error> {
    let rows = database::query("insert into todo (title) values ($1) returning id", &[Value::Text(title)])?.rows;
    match rows.first().and_then(|row| row.first()) {
        Some(Value::Int64(id)) => Ok(format!("{id}\n")),
        other => Ok(format!("? {other:?}\n")),
    }
}

fn changed(id: &str, statement: &str) -> (u16, String) {
    let Ok(id) = id.parse() else { return (404, "an entry is named by its number\n".to_owned()) };
    match database::execute(statement, &[Value::Int64(id)]) {
        Ok(0) => (404, format!("there is no entry {id}\n")),
        other => reply(200, other.map(|_| String::new())),
    }
}

fn reply(status: u16, outcome: Result<String, Error>) -> (u16, String) {
    match outcome {
        Ok(text) => (status, text),
        Err(Error::Unavailable(_) | Error::Timeout(_) | Error::Conflict(_)) => (503, "try again\n".to_owned()),
        Err(error) => (500, format!("the database refused: {error:?}\n")),
    }
}

/// The body of the request, if it is a title.
fn title(request: &IncomingRequest) -> Option<String> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(1_024) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return None,
        }
        if bytes.len() > MAX_TITLE_BYTES {
            return None;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let title = text.trim();
    (!title.is_empty()).then(|| title.to_owned())
}

fn answer(response_out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]).expect("the header is well formed");
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).expect("the status code is in range");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(response_out, Ok(response));

    let stream = body.write().expect("the stream is taken once");
    // One blocking write takes 4,096 bytes at most.
    let is_sent = text.as_bytes().chunks(4096).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok());
    drop(stream);
    if is_sent {
        // A client that has left is the only way for this to fail, and then nobody is there to be told.
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Todo);
