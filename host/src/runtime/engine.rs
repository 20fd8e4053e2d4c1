//! The two engines of a process, and components compiled for one of them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::compiled::Compiled;
use super::linker::{self, EngineKind};
use super::precompiled::Cache;
use super::store::State;
use super::ticker::{Awake, Ticker};
use super::{check, pool};
use crate::error::{Error, ErrorKind, Result};

/// How the runtime of a process is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled code is cached; `None` keeps it in memory only.
    pub cache_dir: Option<PathBuf>,
    /// Instances of actors that may exist at once in this process; sizes the pools.
    pub max_instances: u32,
}

/// The engines, code cache and epoch ticker of a process, shared by all hosts in it.
pub struct Runtime {
    plain: Engine,
    /// Made when the first WASI 0.3 actor comes: most hosts need but one pool.
    concurrent: OnceLock<Engine>,
    plain_linker: OnceLock<Linker<State>>,
    concurrent_linker: OnceLock<Linker<State>>,
    max_instances: u32,
    ticker: Ticker,
    cache: Option<Cache>,
    /// Loads at a time; each compiles on all cores that are free.
    loads: Arc<Semaphore>,
    loaded: Mutex<HashMap<String, Slot>>,
}

/// What is loaded of one digest. Locked while it loads, on a blocking thread, so that others with that digest wait.
type Slot = Arc<Mutex<Weak<Compiled>>>;

impl Runtime {
    /// Builds the engines.
    ///
    /// # Errors
    /// `Unavailable` when the machine has no room for the pools or the cache directory cannot be used.
    pub fn new(settings: Settings) -> Result<Arc<Self>> {
        let cache = settings.cache_dir.as_deref().map(Cache::open).transpose()?;
        let plain = pool::engine(EngineKind::Plain, settings.max_instances)?;
        let ticker = Ticker::start()?;
        ticker.add(plain.weak());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Arc::new(Self {
            plain,
            concurrent: OnceLock::new(),
            plain_linker: OnceLock::new(),
            concurrent_linker: OnceLock::new(),
            max_instances: settings.max_instances,
            ticker,
            cache,
            loads: Arc::new(Semaphore::new(cores.min(4))),
            loaded: Mutex::default(),
        }))
    }

    /// Instances that may exist at once in this process.
    pub fn max_instances(&self) -> u32 {
        self.max_instances
    }

    /// Has guests interrupted as long as it is held, which is as long as a store is.
    pub(super) fn awake(&self) -> Awake {
        self.ticker.wake()
    }

    /// Compiles `component` on a bounded pool of threads, or takes it from the cache.
    ///
    /// Dropping the future does not stop a compilation that has begun; its result is cached.
    ///
    /// # Errors
    /// When it is no component, is over a limit, or uses what is not supported; names it.
    pub async fn load(self: &Arc<Self>, component: Bytes) -> Result<Arc<Compiled>> {
        check::size(&component)?;
        let permit = Arc::clone(&self.loads).acquire_owned().await.expect("is never closed");
        let runtime = Arc::clone(self);
        let load = move || {
            let compiled = runtime.load_blocking(&component);
            drop(permit);
            compiled
        };
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Component, "compiling the component failed").with_source(panic))
        })
    }

    fn load_blocking(&self, bytes: &[u8]) -> Result<Arc<Compiled>> {
        let digest = format!("{:x}", Sha256::digest(bytes));
        let slot = self.slot(&digest);
        let mut loaded = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = loaded.upgrade() {
            return Ok(compiled);
        }
        let (component, kind) = match self.cached(&digest)? {
            Some(found) => found,
            None => self.compile(&digest, bytes)?,
        };
        let compiled = Arc::new(Compiled::new(component, kind, digest));
        *loaded = Arc::downgrade(&compiled);
        Ok(compiled)
    }

    fn slot(&self, digest: &str) -> Slot {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|compiled| compiled.strong_count() > 0)
        });
        Arc::clone(loaded.entry(digest.to_owned()).or_default())
    }

    /// Which engine a cached component is for shows in its name.
    fn cached(&self, digest: &str) -> Result<Option<(Component, EngineKind)>> {
        let Some(cache) = &self.cache else { return Ok(None) };
        if let Some(component) = cache.load(&self.plain, digest) {
            return Ok(Some((component, EngineKind::Plain)));
        }
        if !cache.may_have(digest) {
            return Ok(None);
        }
        let engine = self.engine(EngineKind::Concurrent)?;
        Ok(cache.load(engine, digest).map(|component| (component, EngineKind::Concurrent)))
    }

    fn compile(&self, digest: &str, bytes: &[u8]) -> Result<(Component, EngineKind)> {
        let kind = check::kind(bytes)?;
        let engine = self.engine(kind)?;
        let component = Component::from_binary(engine, bytes).map_err(|error| {
            let message = format!("component cannot be compiled: {error:#}");
            Error::new(ErrorKind::Component, message).with_source(error)
        })?;
        if let Some(cache) = &self.cache {
            cache.save(engine, digest, &component);
        }
        Ok((component, kind))
    }

    /// Links `compiled`.
    ///
    /// # Errors
    /// `Refused`, naming every import that cannot be provided and why.
    pub(crate) fn link(&self, compiled: &Compiled) -> Result<InstancePre<State>> {
        let cell = match compiled.kind() {
            EngineKind::Plain => &self.plain_linker,
            EngineKind::Concurrent => &self.concurrent_linker,
        };
        if let Some(built_in) = cell.get() {
            return linker::link(compiled, built_in);
        }
        let built_in = linker::built_in(self.engine(compiled.kind())?, compiled.kind()).map_err(|error| {
            Error::new(ErrorKind::Unavailable, format!("built-in interfaces cannot be defined: {error:#}"))
        })?;
        linker::link(compiled, cell.get_or_init(|| built_in))
    }

    fn engine(&self, kind: EngineKind) -> Result<&Engine> {
        if kind == EngineKind::Plain {
            return Ok(&self.plain);
        }
        if let Some(engine) = self.concurrent.get() {
            return Ok(engine);
        }
        let engine = pool::engine(kind, self.max_instances)?;
        Ok(self.concurrent.get_or_init(|| {
            self.ticker.add(engine.weak());
            engine
        }))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("max_instances", &self.max_instances).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Runtime, Settings};

    fn component() -> Bytes {
        let wat = r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f"))) (instance $o (export "f" (func $f)))
            (export "test:run/run" (instance $o)))"#;
        wat::parse_str(wat).expect("is text").into()
    }

    fn asynchronous() -> Bytes {
        let wat = r#"(component (import "a:b/c" (instance (export "f" (func async)))))"#;
        wat::parse_str(wat).expect("is text").into()
    }

    fn runtime(dir: &Path) -> Arc<Runtime> {
        let cache_dir = Some(dir.join("cache"));
        Runtime::new(Settings { cache_dir, max_instances: 16 }).expect("builds")
    }

    fn code(dir: &Path) -> Vec<PathBuf> {
        let entries =
            std::fs::read_dir(dir.join("cache")).expect("is there").map(|entry| entry.expect("is read").path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect()
    }

    /// How compiled code is got: [`Runtime::cached`] finds it, or not.
    fn is_cached(runtime: &Runtime, digest: &str) -> bool {
        runtime.cached(digest).expect("engines are there").is_some()
    }

    #[tokio::test]
    async fn compiled_code_is_shared_and_kept() {
        let dir = tempfile::tempdir().expect("is made");
        let runtime = self::runtime(dir.path());
        let (first, second) = (runtime.load(component()).await, runtime.load(component()).await);
        let (first, second) = (first.expect("loads"), second.expect("loads"));
        assert!(Arc::ptr_eq(&first, &second));
        runtime.load(asynchronous()).await.expect("loads");
        assert_eq!(code(dir.path()).len(), 2);
        let again = self::runtime(dir.path());
        assert!(is_cached(&again, first.digest()));
        let again = again.load(asynchronous()).await.expect("loads");
        assert_eq!(again.imports().len(), 1);
    }

    #[tokio::test]
    async fn code_that_was_tampered_with_is_compiled_again() {
        let dir = tempfile::tempdir().expect("is made");
        let digest = runtime(dir.path()).load(component()).await.expect("loads").digest().to_owned();
        let path = code(dir.path()).pop().expect("was saved");
        let genuine = std::fs::read(&path).expect("is read");
        let mut flipped = genuine.clone();
        *flipped.last_mut().expect("has bytes") ^= 1;
        let other_key = tempfile::tempdir().expect("is made");
        runtime(other_key.path()).load(component()).await.expect("loads");
        let foreign = std::fs::read(code(other_key.path()).pop().expect("was saved")).expect("is read");
        for bytes in [&flipped[..], &genuine[..genuine.len() / 2], &foreign, b""] {
            std::fs::write(&path, bytes).expect("is written");
            let runtime = runtime(dir.path());
            assert!(!is_cached(&runtime, &digest));
            runtime.load(component()).await.expect("compiles");
            assert!(is_cached(&runtime, &digest), "is saved again");
        }
    }

    #[tokio::test]
    async fn the_cache_is_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("is made");
        runtime(dir.path()).load(component()).await.expect("loads");
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("cache")), 0o700);
        assert_eq!(mode(&dir.path().join("cache/key")), 0o600);
        assert_eq!(mode(&code(dir.path())[0]), 0o600);
    }
}
