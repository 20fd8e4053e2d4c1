//! Keeps what happens again and again from flooding the log: some lines are written, the rest is counted and the count
//! goes with the next line.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in a window.
const LINES: u32 = 10;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// Decides for one kind of event of one source which occurrences are logged: ten in ten seconds.
#[derive(Debug, Default)]
pub struct Damper {
    /// A lock because events come from any thread; held for a few instructions.
    window: Mutex<Option<Window>>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    start: Instant,
    lines: u32,
    left_out: u64,
}

impl Damper {
    /// What happens now: `None` to leave it out of the log, else how many were left out since the last line.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut guard = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = guard.get_or_insert(Window { start: now, lines: 0, left_out: 0 });
        if now.duration_since(window.start) >= WINDOW {
            *window = Window { start: now, lines: 0, ..*window };
        }
        if window.lines >= LINES {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Damper, LINES, WINDOW};

    #[test]
    fn some_are_logged_and_the_rest_is_counted() {
        let (damper, start) = (Damper::default(), Instant::now());
        let logged: Vec<u64> = (0..1_000).filter_map(|_| damper.admit_at(start)).collect();
        assert_eq!(logged, vec![0; LINES as usize]);
        assert_eq!(damper.admit_at(start + WINDOW), Some(1_000 - u64::from(LINES)));
        assert_eq!(damper.admit_at(start + WINDOW), Some(0), "it was said once");
    }
}
