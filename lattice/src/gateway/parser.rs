//! Commands of NATS clients from bytes as they come in, in pieces of any size.

use bytes::{Buf, Bytes, BytesMut};

use super::headers;
use crate::subject::{QueueGroup, Subject};
use crate::transport::Message;
use crate::transport::memory::MAX_PAYLOAD_BYTES;

/// The longest line, in bytes, payloads aside: what a nats-server has by default.
pub(super) const MAX_LINE_BYTES: usize = 4096;

/// What a client wants.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(super) enum Command {
    /// With the JSON that came along, in which the token is.
    Connect(Bytes),
    Ping,
    Pong,
    Publish(Message),
    Subscribe {
        subject: Subject,
        group: Option<QueueGroup>,
        id: Box<str>,
    },
    Unsubscribe {
        id: Box<str>,
        /// Only after so many messages in all.
        after: Option<u64>,
    },
    /// Understood and refused; the connection goes on.
    Refused(Refusal),
    /// Of no interest to a server.
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Subject,
    Headers,
}

/// What ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    UnknownOperation,
    Arguments,
    Line,
    Payload,
}

/// Takes commands from a buffer to which bytes are added as they come.
#[derive(Default)]
pub(super) struct Parser {
    // So many bytes of the buffer hold no end of line.
    scanned: usize,
    awaiting: Option<Head>,
}

/// A publish whose payload has yet to come.
struct Head {
    // `None` for those that are refused once their payload is over.
    subject: Option<Subject>,
    reply: Option<Option<Subject>>,
    header_bytes: usize,
    total_bytes: usize,
}

enum Line {
    Whole(Command),
    Head(Head),
}

impl Parser {
    /// The next command, when all of it is there.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Command>, Violation> {
        loop {
            if let Some(head) = self.awaiting.take() {
                if input.len() < head.total_bytes + 2 {
                    self.awaiting = Some(head);
                    return Ok(None);
                }
                let content = input.split_to(head.total_bytes).freeze();
                if !input.starts_with(b"\r\n") {
                    return Err(Violation::Arguments);
                }
                input.advance(2);
                return Ok(Some(head.with(content)));
            }
            let Some(line) = self.take_line(input)? else { return Ok(None) };
            match parse_line(line)? {
                Line::Whole(command) => return Ok(Some(command)),
                Line::Head(head) => self.awaiting = Some(head),
            }
        }
    }

    fn take_line(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, Violation> {
        let end = input[self.scanned..].iter().position(|&byte| byte == b'\n').map(|at| self.scanned + at);
        if end.unwrap_or(input.len()) > MAX_LINE_BYTES {
            return Err(Violation::Line);
        }
        let Some(end) = end else {
            self.scanned = input.len();
            return Ok(None);
        };
        self.scanned = 0;
        let mut line = input.split_to(end).freeze();
        input.advance(1);
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }
}

impl Head {
    fn with(self, mut content: Bytes) -> Command {
        let block = content.split_to(self.header_bytes);
        let (Some(subject), Some(reply)) = (self.subject, self.reply) else {
            return Command::Refused(Refusal::Subject);
        };
        match headers::parse(&block) {
            Some(headers) => Command::Publish(Message { subject, reply, headers, payload: content, status: None }),
            None => Command::Refused(Refusal::Headers),
        }
    }
}

fn parse_line(line: Bytes) -> Result<Line, Violation> {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let end = line.iter().position(blank).unwrap_or(line.len());
    let rest = line.slice(end..);
    let operation = line[..end].to_ascii_uppercase();
    if operation == b"CONNECT" {
        return Ok(Line::Whole(Command::Connect(rest)));
    }
    let rest = std::str::from_utf8(&rest).map_err(|_error| Violation::Arguments)?;
    let mut words = [""; 5];
    let mut count = 0;
    for word in rest.split_ascii_whitespace() {
        *words.get_mut(count).ok_or(Violation::Arguments)? = word;
        count += 1;
    }
    let whole = |command| Ok(Line::Whole(command));
    match (operation.as_slice(), &words[..count]) {
        (b"PUB", [subject, bytes]) => head(subject, None, ["0", bytes]),
        (b"PUB", [subject, reply, bytes]) => head(subject, Some(reply), ["0", bytes]),
        (b"HPUB", [subject, header, total]) => head(subject, None, [header, total]),
        (b"HPUB", [subject, reply, header, total]) => head(subject, Some(reply), [header, total]),
        (b"SUB", [subject, id]) => whole(subscribe(subject, None, id)),
        (b"SUB", [subject, group, id]) => whole(subscribe(subject, Some(group), id)),
        (b"UNSUB", [id]) => whole(Command::Unsubscribe { id: (*id).into(), after: None }),
        (b"UNSUB", [id, after]) => {
            let after = Some(number(after)?);
            whole(Command::Unsubscribe { id: (*id).into(), after })
        }
        (b"PING", _) => whole(Command::Ping),
        (b"PONG", _) => whole(Command::Pong),
        (b"+OK" | b"-ERR" | b"INFO", _) => whole(Command::Ignored),
        (b"PUB" | b"HPUB" | b"SUB" | b"UNSUB", _) => Err(Violation::Arguments),
        _ => Err(Violation::UnknownOperation),
    }
}

fn head(subject: &str, reply: Option<&str>, [header, total]: [&str; 2]) -> Result<Line, Violation> {
    let (header, total) = (number(header)?, number(total)?);
    let total_bytes = usize::try_from(total).ok().filter(|&total| total <= MAX_PAYLOAD_BYTES);
    let total_bytes = total_bytes.ok_or(Violation::Payload)?;
    let header_bytes = usize::try_from(header).ok().filter(|&header| header <= total_bytes);
    let header_bytes = header_bytes.ok_or(Violation::Arguments)?;
    let subject = Subject::from_wire(subject).ok();
    let reply = reply.map(Subject::from_wire).transpose().ok();
    Ok(Line::Head(Head { subject, reply, header_bytes, total_bytes }))
}

fn subscribe(subject: &str, group: Option<&str>, id: &str) -> Command {
    match (Subject::from_wire(subject), group.map(QueueGroup::from_wire).transpose()) {
        (Ok(subject), Ok(group)) => Command::Subscribe { subject, group, id: id.into() },
        _ => Command::Refused(Refusal::Subject),
    }
}

fn number(text: &str) -> Result<u64, Violation> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(Violation::Arguments)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::{Command, MAX_LINE_BYTES, Message, Parser, QueueGroup, Refusal, Subject, Violation};

    /// All commands of `pieces`, which come one after the other, and how it ended.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Command>, Result<(), Violation>) {
        let (mut parser, mut input, mut commands) = (Parser::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match parser.next(&mut input) {
                    Ok(Some(command)) => commands.push(command),
                    Ok(None) => break,
                    Err(violation) => return (commands, Err(violation)),
                }
            }
        }
        (commands, Ok(()))
    }

    fn check(text: &str, expected: Vec<Command>) {
        assert_eq!(parse([text.as_bytes()]), (expected, Ok(())), "{text:?}");
    }

    fn check_violation(text: &str, expected: Violation) {
        assert_eq!(parse([text.as_bytes()]).1, Err(expected), "{text:?}");
    }

    fn subject(text: &str) -> Subject {
        Subject::from_wire(text).expect("valid")
    }

    #[test]
    fn commands_are_read_as_clients_write_them() {
        check("PING\r\nping\r\nPONG\n+OK\r\n", vec![Command::Ping, Command::Ping, Command::Pong, Command::Ignored]);
        check("CONNECT {\"a\": 1}\r\n", vec![Command::Connect(Bytes::from_static(b" {\"a\": 1}"))]);
        let message = Message::new(subject("a.b"), "hel\r\n");
        check("PUB a.b 5\r\nhel\r\n\r\n", vec![Command::Publish(message.clone())]);
        let mut message = message.with_reply(subject("r"));
        check("pub\ta.b  r 5 \r\nhel\r\n\r\n", vec![Command::Publish(message.clone())]);
        message.headers = vec![("A".into(), "1".into())];
        check("HPUB a.b r 18 23\r\nNATS/1.0\r\nA: 1\r\n\r\nhel\r\n\r\n", vec![Command::Publish(message)]);
        let group = Some(QueueGroup::from_wire("g").expect("valid"));
        check("SUB a.* g 7\r\n", vec![Command::Subscribe { subject: subject("a.*"), group, id: "7".into() }]);
        check("UNSUB 7 2\r\n", vec![Command::Unsubscribe { id: "7".into(), after: Some(2) }]);
    }

    #[test]
    fn what_is_wrong_in_itself_is_refused_and_the_next_command_is_read() {
        let refused = |refusal| vec![Command::Refused(refusal), Command::Ping];
        check("PUB a..b 2\r\nhi\r\nPING\r\n", refused(Refusal::Subject));
        check("PUB a b. 2\r\nhi\r\nPING\r\n", refused(Refusal::Subject));
        check(&format!("PUB {} 2\r\nhi\r\nPING\r\n", "a".repeat(300)), refused(Refusal::Subject));
        check("SUB .a 1\r\nPING\r\n", refused(Refusal::Subject));
        check("HPUB a 4 6\r\nHTTPhi\r\nPING\r\n", refused(Refusal::Headers));
    }

    #[test]
    fn what_breaks_the_protocol_ends_it() {
        check_violation("GET / HTTP/1.1\r\n\r\n", Violation::UnknownOperation);
        check_violation("\r\n", Violation::UnknownOperation);
        check_violation("PUB a\r\n", Violation::Arguments);
        check_violation("PUB a b c d 1\r\n", Violation::Arguments);
        check_violation("PUB a b c d e f 1\r\n", Violation::Arguments);
        check_violation("PUB a -1\r\n", Violation::Arguments);
        check_violation("PUB a +1\r\n", Violation::Arguments);
        check_violation("PUB a 99999999999999999999999\r\n", Violation::Arguments);
        check_violation("PUB a 1048577\r\n", Violation::Payload);
        check_violation("HPUB a 3 2\r\n", Violation::Arguments);
        check_violation("PUB a 1\r\nhi\r\n", Violation::Arguments);
        check_violation(&format!("PUB {}", "a".repeat(10_240)), Violation::Line);
        check_violation(&format!("SUB {} 1\r\n", "a".repeat(MAX_LINE_BYTES)), Violation::Line);
    }

    /// Bytes that are commands, look like commands, or are anything.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|payload| {
                let mut bytes = format!("PUB a.b re.ply {}\r\n", payload.len()).into_bytes();
                bytes.extend(payload);
                bytes.extend(b"\r\n");
                bytes
            }),
            "(H?PUB|SUB|UNSUB|CONNECT|PING) [a.*> \t0-9]{0,12}\r?\n".prop_map(String::into_bytes),
            "NATS/1.0\r\n([A-Z]:? ?[a-z]{0,3}\r\n){0,3}\r\n"
                .prop_map(|block| { format!("HPUB a {} {}\r\n{block}\r\n", block.len(), block.len()).into_bytes() }),
            Just(b"SUB a.> 1\r\n".to_vec()),
            Just(vec![b'a'; 5000]),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_are_read_as_the_whole(input in input(), sizes in prop::collection::vec(1_usize..40, 1..20)) {
            let mut rest = input.as_slice();
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, later) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = later;
            }
            assert_eq!(parse(pieces), parse([input.as_slice()]));
        }
    }
}
