//! The one thread that makes guests yield: it advances the epoch of both engines every 10 ms while there are instances,
//! and sleeps when there were none for a second, so that a host on which nothing happens wakes no processor.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::EngineWeak;

use crate::error::{Error, ErrorKind, Result};

/// How long a guest runs at a stretch.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without an instance before it sleeps: calls that come one by one need not wake it each.
const LINGER: u32 = 100;

/// The thread; ends when this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// A lock because engines may come while the thread ticks; never held but for that.
    engines: Mutex<Vec<EngineWeak>>,
    instances: AtomicUsize,
    is_asleep: AtomicBool,
    is_over: AtomicBool,
}

/// Keeps the ticker awake: an instance may run guest code.
pub(super) struct Awake(Arc<Shared>);

impl Ticker {
    pub(super) fn start() -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("epoch-ticker".to_owned()).spawn(move || ticking.run());
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot start the thread that interrupts guests").with_source(error)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks `engine` too from now on.
    pub(super) fn add(&self, engine: EngineWeak) {
        self.shared.engines().push(engine);
    }

    /// For an instance, before its first guest code.
    pub(super) fn wake(&self) -> Awake {
        // In this order, and the thread the other way round: one of the two sees the other.
        self.shared.instances.fetch_add(1, Ordering::SeqCst);
        if self.shared.is_asleep.load(Ordering::SeqCst) {
            self.unpark();
        }
        Awake(Arc::clone(&self.shared))
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            std::thread::park_timeout(TICK);
            self.engines().iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
            idle = if self.is_idle() { idle + 1 } else { 0 };
            if idle > LINGER {
                self.sleep();
                idle = 0;
            }
        }
    }

    fn sleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
        while self.is_idle() && !self.is_over.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    fn is_idle(&self) -> bool {
        self.instances.load(Ordering::SeqCst) == 0
    }

    fn engines(&self) -> MutexGuard<'_, Vec<EngineWeak>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.instances.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            debug_assert!(ended.is_ok(), "the ticker does not panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use super::{Shared, Ticker};

    fn until(is_so: impl Fn() -> bool, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < deadline, "it never {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_sleeps_while_there_is_no_instance() {
        let ticker = Ticker::start().expect("starts");
        let is_asleep = || ticker.shared.is_asleep.load(Ordering::SeqCst);
        for _ in 0..2 {
            until(is_asleep, "falls asleep");
            let (first, second) = (ticker.wake(), ticker.wake());
            until(|| !is_asleep(), "wakes up");
            drop(first);
            assert!(!ticker.shared.is_idle(), "one is left");
            drop(second);
        }
        until(is_asleep, "falls asleep again");
        let shared: Arc<Shared> = Arc::clone(&ticker.shared);
        drop(ticker);
        assert_eq!(Arc::strong_count(&shared), 1, "the thread has ended");
    }
}
