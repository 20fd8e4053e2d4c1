//! What a process writes to its standard output and error: into the host's log, with its id, and bounded.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, sleep};
use trellis_lattice::id::EntityId;

/// The longest line that is logged, in bytes; of longer ones this much.
const MAX_LINE: usize = 4 << 10;
/// Lines that are logged in one window; the rest is counted.
const LINES: u32 = 100;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(1);
/// What is read in one window. Who writes more waits: a flood must not cost the host more than this.
const BYTES: usize = 8 << 20;

/// Logs what comes from `output` until it ends, in a task that ends with it: when the last process that holds the
/// other end is gone.
pub(super) fn follow(id: &EntityId, output: Option<impl AsyncRead + Unpin + Send + 'static>) {
    if let Some(output) = output {
        tokio::spawn(run(id.clone(), output));
    }
}

async fn run(id: EntityId, mut output: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 32 << 10];
    let mut lines = Lines::default();
    let mut window = Window::new(Instant::now());
    // A process whose output fails has none.
    while let Ok(len @ 1..) = output.read(&mut buffer).await {
        let now = Instant::now();
        if let Some(left_out) = window.renew(now) {
            tracing::warn!(provider_id = %id, left_out, "lines of a provider were left out");
        }
        for line in lines.take(&buffer[..len]) {
            if window.admits() {
                log(&id, &line);
            }
        }
        window.bytes += len;
        if window.bytes > BYTES {
            sleep(WINDOW.saturating_sub(now - window.start)).await;
        }
    }
}

/// What was logged and read in one second.
struct Window {
    start: Instant,
    lines: u32,
    left_out: u64,
    bytes: usize,
}

impl Window {
    fn new(start: Instant) -> Self {
        Self { start, lines: 0, left_out: 0, bytes: 0 }
    }

    /// Begins the next one if it is time, and says how many lines were left out in this one, if some were.
    fn renew(&mut self, now: Instant) -> Option<u64> {
        if now - self.start < WINDOW {
            return None;
        }
        let ended = std::mem::replace(self, Self::new(now));
        (ended.left_out > 0).then_some(ended.left_out)
    }

    fn admits(&mut self) -> bool {
        self.lines += 1;
        let is_admitted = self.lines <= LINES;
        if !is_admitted {
            self.left_out += 1;
        }
        is_admitted
    }
}

/// Cuts bytes into lines; keeps no more of one than is logged.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE - self.begun.len();
            self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() && !self.begun.is_empty() {
                whole.push(String::from_utf8_lossy(&self.begun).into_owned());
            }
            if pieces.peek().is_some() {
                self.begun.clear();
            }
        }
        whole
    }
}

fn log(id: &EntityId, line: &str) {
    let (level, message, fields) = read(line);
    match level {
        tracing::Level::ERROR => tracing::error!(provider_id = %id, fields, "{message}"),
        tracing::Level::WARN => tracing::warn!(provider_id = %id, fields, "{message}"),
        tracing::Level::INFO => tracing::info!(provider_id = %id, fields, "{message}"),
        tracing::Level::DEBUG => tracing::debug!(provider_id = %id, fields, "{message}"),
        tracing::Level::TRACE => tracing::trace!(provider_id = %id, fields, "{message}"),
    }
}

/// The level, the message and the fields of a line: of JSON as the SDK writes it, else the line itself.
fn read(line: &str) -> (tracing::Level, String, Option<String>) {
    let plain = || (tracing::Level::INFO, clean(line), None);
    let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) else { return plain() };
    let level = line.get("level").and_then(Value::as_str).and_then(|level| level.parse().ok());
    let fields = line.get("fields").and_then(Value::as_object);
    let (Some(level), Some(fields)) = (level, fields) else { return plain() };
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
    (level, clean(message), rest(fields))
}

fn rest(fields: &Map<String, Value>) -> Option<String> {
    let rest: Vec<String> = fields
        .iter()
        .filter(|(name, _)| *name != "message")
        .map(|(name, value)| match value {
            Value::String(text) => format!("{}={}", clean(name), clean(text)),
            other => format!("{}={other}", clean(name)),
        })
        .collect();
    (!rest.is_empty()).then(|| rest.join(" "))
}

/// Without what a terminal would take for orders.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Instant, LINES, Lines, MAX_LINE, WINDOW, Window, read};

    #[test]
    fn lines_are_whole_and_no_longer_than_a_bound() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\n\nthree\n"), ["two", "three"]);
        assert!(lines.take(&vec![b'x'; 10 * MAX_LINE]).is_empty());
        assert_eq!(lines.take(b"x\nend\n"), ["x".repeat(MAX_LINE), "end".to_owned()]);
    }

    #[test]
    fn a_flood_is_counted_and_not_logged() {
        let start = Instant::now();
        let mut window = Window::new(start);
        assert_eq!((0..1_000).filter(|_| window.admits()).count(), LINES as usize);
        assert_eq!(window.renew(start), None);
        assert_eq!(window.renew(start + WINDOW), Some(1_000 - u64::from(LINES)));
        assert!(window.admits());
    }

    #[test]
    fn lines_of_the_sdk_keep_level_and_fields() {
        let line = r#"{"level":"WARN","fields":{"message":"disk is slow","disk":"a","ms":3},"target":"x"}"#;
        let expected = (tracing::Level::WARN, "disk is slow".to_owned(), Some("disk=a ms=3".to_owned()));
        assert_eq!(read(line), expected);
        for plain in ["hello", "{}", r#"{"level":"LOUD","fields":{}}"#, "[1]"] {
            assert_eq!(read(plain), (tracing::Level::INFO, plain.to_owned(), None));
        }
        assert_eq!(read("\x1b[31mred\r").1, "\u{fffd}[31mred\u{fffd}");
    }
}
