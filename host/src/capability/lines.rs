//! What an actor may write to the log of its host: so many lines and bytes a second, each line cut to a length and
//! freed of what could forge other lines or move the cursor of whoever reads it.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use trellis_lattice::id::EntityId;

/// The longest line, in bytes before escaping.
pub(super) const LINE_BYTES: usize = 4 << 10;
/// Lines of an actor in a second.
const LINES: u32 = 1_000;
/// Bytes of an actor in a second.
const BYTES: usize = 256 << 10;

/// What an actor may still write in this second.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    /// A lock because all instances of the actor draw on it; held for a few instructions.
    window: Mutex<Option<Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    lines: u32,
    bytes: usize,
    dropped: u64,
}

impl Allowance {
    /// Whether `actor` may write a line of `bytes` bytes now. At the first line after some were dropped the log says
    /// how many.
    pub(super) fn admits(&self, actor: &EntityId, bytes: usize) -> bool {
        let (admitted, dropped) = self.admit(Instant::now(), bytes);
        if dropped > 0 {
            tracing::warn!(actor_id = %actor, dropped, "log lines of an actor were dropped");
        }
        admitted
    }

    fn admit(&self, now: Instant, bytes: usize) -> (bool, u64) {
        let mut guard = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = guard.get_or_insert(Window { start: now, lines: 0, bytes: 0, dropped: 0 });
        let mut dropped = 0;
        if now.duration_since(window.start).as_secs() >= 1 {
            dropped = window.dropped;
            *window = Window { start: now, lines: 0, bytes: 0, dropped: 0 };
        }
        if window.lines >= LINES || window.bytes.saturating_add(bytes) > BYTES {
            window.dropped += 1;
            return (false, dropped);
        }
        window.lines += 1;
        window.bytes += bytes;
        (true, dropped)
    }
}

/// `text` as one line for the log: cut, control and direction-changing characters escaped.
pub(super) fn clean(text: &[u8]) -> String {
    let cut = text.len().min(LINE_BYTES);
    let mut line = String::with_capacity(cut);
    for character in String::from_utf8_lossy(&text[..cut]).chars() {
        if is_harmless(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    if cut < text.len() {
        line.push('…');
    }
    line
}

fn is_harmless(character: char) -> bool {
    let is_format =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    character == '\t' || !(character.is_control() || is_format)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Allowance, BYTES, LINE_BYTES, LINES, clean};
    use tokio::time::Instant;

    #[test]
    fn a_line_cannot_forge_another_or_move_the_cursor() {
        assert_eq!(clean("ä\tb".as_bytes()), "ä\tb");
        assert_eq!(clean(b"a\nERROR forged\r\x1b[31mred\x07"), r"a\nERROR forged\r\u{1b}[31mred\u{7}");
        assert_eq!(clean("\u{202e}gpj\u{9b}31m".as_bytes()), r"\u{202e}gpj\u{9b}31m");
        assert_eq!(clean(&[0xff, b'x']), "\u{fffd}x");
    }

    #[test]
    fn a_line_is_cut() {
        let line = clean(&vec![b'x'; 1 << 20]);
        assert_eq!(line.len(), LINE_BYTES + '…'.len_utf8());
    }

    #[test]
    fn a_flood_is_cut_to_the_allowance_and_counted() {
        let (allowance, start) = (Allowance::default(), Instant::now());
        let admitted = (0..100_000).filter(|_| allowance.admit(start, 10).0).count();
        assert_eq!(admitted, LINES as usize);
        assert_eq!(allowance.admit(start + Duration::from_secs(1), 10), (true, 100_000 - u64::from(LINES)));
        let large = (0..1_000).filter(|_| allowance.admit(start + Duration::from_secs(3), LINE_BYTES).0).count();
        assert_eq!(large, BYTES / LINE_BYTES);
    }
}
