//! `trellis host`: one host of a lattice on NATS; `cordon`, `uncordon` and `drain` are for hosts that run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tokio::time::timeout;
use trellis_host::config::{Config, Resume, Unsigned};
use trellis_host::host::{Host, Parts};
use trellis_lattice::error::{Error, ErrorKind};
use trellis_lattice::id::{EntityId, IssuerId, LatticeName};
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::token::verify_peer;
use trellis_lattice::store::SharedStore;
use trellis_lattice::store::jetstream::JetStreamStore;
use trellis_lattice::store::late::LateStore;
use trellis_lattice::transport::Transport as _;
use trellis_lattice::transport::nats::{NatsOptions, NatsTransport};

use crate::command::{Pair, map_of};
use crate::context::{Context, default_lattice, options};
use crate::data_dir;
use crate::key_store::{Authority, now_unix_seconds};
use crate::native::NativeArgs;
use crate::output::say;
use crate::serve::{self, Signals};

mod maintenance;
mod settings;

use self::maintenance::Action;
use self::settings::Settings;

/// How long a host that takes up what it ran waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The arguments: those of a host to run, or what to do with one that runs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    run: RunHost,
}

/// Does what the arguments say.
pub(crate) async fn run(context: &Context, arguments: HostArgs) -> anyhow::Result<()> {
    match arguments.action {
        Some(action) => maintenance::run(context, action).await,
        None => serve(context, arguments.run).await,
    }
}

/// The arguments. Each wins over its environment variable, and that over the file.
#[derive(Debug, Args)]
struct RunHost {
    /// A file with settings; keys are named as the flags are, e.g. `nats-url = "nats://127.0.0.1:4222"`
    #[arg(long, env = "TRELLIS_HOST_CONFIG", value_name = "host.toml")]
    config: Option<PathBuf>,
    /// Its name, for people and for its state in the data directory [default: host]
    #[arg(long, env = "TRELLIS_HOST_NAME")]
    name: Option<EntityId>,
    /// A label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "TRELLIS_HOST_LABELS", value_delimiter = ',')]
    label: Vec<Pair>,
    /// Where it is; callers prefer targets of their own site
    #[arg(long, env = "TRELLIS_HOST_SITE")]
    site: Option<String>,
    /// A file with the host's seed [default: the host key of that name in the key store, made if it is not there]
    #[arg(long, env = "TRELLIS_HOST_SEED_FILE", value_name = "FILE")]
    host_seed: Option<PathBuf>,
    /// A file with the token that the authority signed [default: signed here, if the authority's key is in the store]
    #[arg(long, env = "TRELLIS_HOST_TOKEN_FILE", value_name = "FILE")]
    host_token: Option<PathBuf>,
    /// An issuer whose actors may run, with what they may import if their claims do not say:
    /// `A…` (all) or `A…=wasi:keyvalue/*,demo:greet/*`; the account keys of the key store are trusted too
    #[arg(long, value_name = "ISSUER[=PATTERN,…]", env = "TRELLIS_TRUST_ISSUERS", value_delimiter = ';')]
    trust_issuer: Vec<String>,
    /// A component that may run unsigned: a file, or the hex SHA-256 of one
    #[arg(long, value_name = "FILE|DIGEST")]
    allow_unsigned: Vec<String>,
    /// Start actors whose imports nothing is linked to yet
    #[arg(long)]
    allow_unlinked: bool,
    /// Start what it ran when it last ended
    #[arg(long)]
    resume: bool,
    /// How long calls in flight are waited for at the end, in milliseconds [default: 10000]
    #[arg(long, value_name = "MS")]
    drain_ms: Option<u64>,
    #[command(flatten)]
    native: NativeArgs,
}

async fn serve(context: &Context, arguments: RunHost) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let settings = settings::merge(context, arguments)?;
    let name = settings.name.clone();
    let _lock = context.data.lock_host(&name)?;
    let drain = settings.drain;
    let lattice = settings.lattice.clone();
    let host = signals.unless_ended(start(context, settings)).await?;
    say(format_args!("host {name} ({}) is in lattice {lattice}", host.id()));
    signals.run(vec![host], drain).await
}

async fn start(context: &Context, settings: Settings) -> anyhow::Result<Host> {
    let lattice = settings.lattice.clone();
    let (key, token) = credentials(context, &settings)?;
    let authority = verify_peer(&token, now_unix_seconds()).context("use the host's token")?.issuer.clone();
    let mut trust = context.keys.trust(authority)?;
    trust.issuers.extend(settings.issuers.clone());
    if trust.issuers.is_empty() {
        say("no issuer is trusted: no actor can run here (--trust-issuer, or `trellis keys gen account <name>`)");
    }
    let mut nats = options(&settings.nats)?;
    nats.name = format!("trellis host {}", settings.name);
    let (runtime, transport) = tokio::join!(serve::runtime(&context.data), connect(nats, settings.resume));
    let (runtime, transport) = (runtime?, transport?);
    let store = store(&transport, &lattice, settings.resume).await?;
    let parts = Parts {
        transport: Arc::new(transport),
        store,
        runtime,
        builtins: serve::builtins(),
        key,
        token,
        trust: Arc::new(trust),
    };
    let name = settings.name.clone();
    Host::start(config(context, settings)?, parts)
        .await
        .with_context(|| format!("start host {name} in lattice {lattice}"))
}

/// A host that takes up what it ran need not wait for the lattice to do so.
async fn connect(nats: NatsOptions, resume: Resume) -> anyhow::Result<NatsTransport> {
    let Resume::LastAssignment = resume else { return Ok(NatsTransport::connect(nats).await?) };
    let transport = NatsTransport::connect_sooner_or_later(nats).await?;
    if !transport.is_connected() {
        let servers = transport.servers();
        say(format_args!(
            "no nats-server answers at {servers}: this host does what it was told last, and joins when it is there"
        ));
    }
    Ok(transport)
}

/// Nor need it wait for the store, which may be behind a nats-server of its own site that is cut off from it.
async fn store(transport: &NatsTransport, lattice: &LatticeName, resume: Resume) -> anyhow::Result<SharedStore> {
    let late = || -> SharedStore { Arc::new(LateStore::new(transport.clone(), lattice.clone())) };
    if !transport.is_connected() {
        return Ok(late());
    }
    let opening = JetStreamStore::open(transport, lattice);
    let opened = match resume {
        Resume::LastAssignment => timeout(STORE_PATIENCE, opening).await.unwrap_or_else(|_elapsed| {
            Err(Error::new(ErrorKind::Timeout, format!("no answer within {STORE_PATIENCE:?}")))
        }),
        Resume::Never => opening.await,
    };
    match opened {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) if resume == Resume::LastAssignment => {
            say(format_args!(
                "the store of lattice {lattice} is not there ({error}): this host does what it was told last, and \
                 follows the store when it is there"
            ));
            Ok(late())
        }
        Err(error) => Err(error)
            .with_context(|| format!("open the store of lattice {lattice} (JetStream has to be on: nats-server -js)")),
    }
}

fn config(context: &Context, settings: Settings) -> anyhow::Result<Config> {
    let mut config = Config::new(settings.lattice, context.data.host(&settings.name));
    config.name = settings.name;
    config.labels = settings.labels;
    config.site = settings.site;
    config.unsigned = settings.unsigned;
    config.unlinked = settings.unlinked;
    config.resume = settings.resume;
    config.drain = settings.drain;
    config.registries = context.registry_access();
    config.registries.insecure.extend(settings.insecure_registries);
    config.native = settings.native.settings()?;
    Ok(config)
}

/// The host's key, and a token for it.
fn credentials(context: &Context, settings: &Settings) -> anyhow::Result<(Key, String)> {
    let key = match &settings.seed {
        Some(file) => {
            Key::from_seed(&data_dir::read_private(file)?).with_context(|| format!("read {}", file.display()))?
        }
        None => context.keys.get_or_make(KeyKind::Host, &settings.name)?,
    };
    if key.kind() != KeyKind::Host {
        bail!("{} is the key of a {}, not of a host", key.public(), key.kind().as_str());
    }
    if let Some(file) = &settings.token {
        return Ok((key, data_dir::read_private(file)?));
    }
    let is_new = || Ok(settings.seed.is_none() && context.keys.issuers()?.is_empty());
    let authority = match context.keys.authority_or_new(is_new)? {
        Authority::Found(authority) => authority,
        Authority::Made(authority) => first_authority(authority),
        Authority::Absent => bail!(no_token(context, &settings.name)),
    };
    let token = serve::own_token(&authority, &settings.lattice, &key, settings.labels.clone())?;
    Ok((key, token))
}

/// The first host of a lattice makes its authority; that a second one on another machine does so too is found out when
/// the two refuse each other's tokens, so it is said.
fn first_authority(authority: Key) -> Key {
    say(format_args!(
        "made the authority of a new lattice: {}. Hosts on other machines need a token of it: `trellis keys issue host`",
        authority.public()
    ));
    authority
}

fn no_token(context: &Context, name: &str) -> anyhow::Error {
    anyhow!(
        "host {name} has no token: the authority's key is not in {}; sign one where it is with `trellis keys issue \
         host`, and give it with --host-token",
        context.data.keys().display()
    )
}

/// `A…` or `A…=pattern,pattern`.
fn parse_issuer(text: &str) -> anyhow::Result<(IssuerId, Vec<String>)> {
    let (issuer, patterns) = text.split_once('=').unwrap_or((text, "*"));
    let issuer = IssuerId::parse(issuer.trim()).with_context(|| format!("trust issuer {text:?}"))?;
    Ok((issuer, patterns.split(',').map(|pattern| pattern.trim().to_owned()).filter(|p| !p.is_empty()).collect()))
}

/// A file, or the hex SHA-256 of one.
pub(crate) fn parse_unsigned(text: &str) -> Unsigned {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { Unsigned::Digest(text.to_ascii_lowercase()) } else { Unsigned::File(text.into()) }
}

const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
