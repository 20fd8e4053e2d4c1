//! The header block of a NATS message.

use bytes::{BufMut, BytesMut};

use crate::transport::{Headers, Message, Status};

const VERSION: &str = "NATS/1.0";

/// The headers of `block`, which may be empty; `None` when it is none. What a client says of a status is dropped: that
/// is for a server to say.
pub(super) fn parse(block: &[u8]) -> Option<Headers> {
    if block.is_empty() {
        return Some(Headers::new());
    }
    let text = std::str::from_utf8(block).ok()?.strip_prefix(VERSION)?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?;
    if !(status.is_empty() || status.starts_with(' ')) {
        return None;
    }
    lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_valid = !name.is_empty() && !value.contains(['\r', '\n']) && !name.contains(['\r', '\n']);
            is_valid.then(|| (name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// How many bytes [`write`] adds for `message`; 0 when it has no block.
pub(super) fn size(message: &Message) -> usize {
    let lines: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum();
    match message.status {
        Some(Status::NoResponders) => VERSION.len() + " 503\r\n\r\n".len() + lines,
        None if message.headers.is_empty() => 0,
        None => VERSION.len() + "\r\n\r\n".len() + lines,
    }
}

/// Adds the block of `message`, if it has one, to `out`. The bus has checked that no header holds a line end.
pub(super) fn write(message: &Message, out: &mut BytesMut) {
    if size(message) == 0 {
        return;
    }
    out.put_slice(VERSION.as_bytes());
    if message.status == Some(Status::NoResponders) {
        out.put_slice(b" 503");
    }
    out.put_slice(b"\r\n");
    for (name, value) in &message.headers {
        for part in [name, ": ", value, "\r\n"] {
            out.put_slice(part.as_bytes());
        }
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{Message, Status, parse, size, write};
    use crate::subject::Subject;

    fn message(headers: &[(&str, &str)]) -> Message {
        let mut message = Message::new(Subject::from_wire("a").expect("valid"), "");
        message.headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        message
    }

    #[test]
    fn what_is_written_is_read_and_has_the_size_that_was_told() {
        for headers in [vec![], vec![("A", "1")], vec![("A", "1"), ("A", ""), ("B-c", "x: y")]] {
            let message = message(&headers);
            let mut block = BytesMut::new();
            write(&message, &mut block);
            assert_eq!(block.len(), size(&message));
            assert_eq!(parse(&block), Some(message.headers));
        }
    }

    #[test]
    fn no_responders_is_the_status_that_clients_know() {
        let mut message = message(&[]);
        message.status = Some(Status::NoResponders);
        let mut block = BytesMut::new();
        write(&message, &mut block);
        assert_eq!((&block[..], size(&message)), (&b"NATS/1.0 503\r\n\r\n"[..], 16));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for block in
            ["NATS/1.0", "NATS/1.0\r\n", "NATS/1.0\r\nA\r\n\r\n", "NATS/1.0\r\n: 1\r\n\r\n", "NATS/1.00\r\n\r\n"]
        {
            assert_eq!(parse(block.as_bytes()), None, "{block:?}");
        }
        assert_eq!(parse(b"NATS/1.0\r\nA: \xff\r\n\r\n"), None);
        assert_eq!(parse(b"NATS/1.0\r\nA: 1\nB: 2\r\n\r\n"), None);
        assert_eq!(parse(b"NATS/1.0 503 x\r\n\r\n"), Some(vec![]));
    }
}
