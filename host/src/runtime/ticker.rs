//! The one thread that makes guests yield: it advances the epoch of both engines every 10 ms.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::EngineWeak;

use crate::error::{Error, ErrorKind, Result};

/// How long a guest runs at a stretch.
const TICK: Duration = Duration::from_millis(10);

/// The thread; ends when this is dropped.
pub(super) struct Ticker {
    engines: Option<Sender<EngineWeak>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start() -> Result<Self> {
        let (engines, arrivals) = mpsc::channel();
        let thread = std::thread::Builder::new().name("epoch-ticker".to_owned()).spawn(move || run(&arrivals));
        let thread = thread.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot start the thread that interrupts guests").with_source(error)
        })?;
        Ok(Self { engines: Some(engines), thread: Some(thread) })
    }

    /// Ticks `engine` too from now on.
    pub(super) fn add(&self, engine: EngineWeak) {
        let engines = self.engines.as_ref().expect("is only taken by drop");
        engines.send(engine).expect("the thread ends after the sender");
    }
}

fn run(arrivals: &mpsc::Receiver<EngineWeak>) {
    let mut engines: Vec<EngineWeak> = Vec::with_capacity(2);
    loop {
        match arrivals.recv_timeout(TICK) {
            Ok(engine) => engines.push(engine),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        engines.iter().filter_map(EngineWeak::upgrade).for_each(|engine| engine.increment_epoch());
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.engines = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            debug_assert!(ended.is_ok(), "the ticker does not panic");
        }
    }
}
