//! `trellis wadm`: the deployment manager of a lattice on NATS.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use trellis_lattice::id::IssuerId;
use trellis_lattice::store::jetstream::JetStreamStore;
use trellis_lattice::transport::nats::NatsTransport;
use trellis_wadm::lease::Rivals;

use crate::context::{Context, options};
use crate::deployer::{Deployer, Lattice};
use crate::output::say;
use crate::serve::Signals;

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct WadmArgs {
    /// The authority of the lattice [default: the one in the key store]
    #[arg(long, value_name = "A…", env = "TRELLIS_AUTHORITY")]
    authority: Option<String>,
    /// The key of another wadm of this lattice, whose records count here; may be repeated
    #[arg(long, value_name = "U…", env = "TRELLIS_BELIEVE_WADM", value_delimiter = ',')]
    believe: Vec<String>,
}

pub(crate) async fn run(context: &Context, arguments: WadmArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let deployer = signals.unless_ended(start(context, arguments)).await?;
    say(format_args!("wadm is in lattice {}", context.lattice()?));
    signals.ended().await;
    say("stopping: what runs goes on");
    deployer.stop().await;
    Ok(())
}

async fn start(context: &Context, arguments: WadmArgs) -> anyhow::Result<Deployer> {
    if context.nats.nats_url.is_empty() {
        bail!(
            "`trellis up` has its own wadm; name the nats-server of the lattice that this one is for with --nats-url"
        );
    }
    let name = context.lattice()?;
    let authority = match arguments.authority {
        Some(text) => IssuerId::parse(&text).context("--authority")?,
        None => {
            let key = context.keys.authority()?.with_context(|| {
                format!(
                    "there is no authority's key in {}; name the authority with --authority",
                    context.data.path().display()
                )
            })?;
            IssuerId::parse(&key.public())?
        }
    };
    let mut nats = options(&context.nats)?;
    nats.name = "trellis wadm".to_owned();
    let transport = NatsTransport::connect(nats).await?;
    let store = JetStreamStore::open(&transport, &name)
        .await
        .with_context(|| format!("open the store of lattice {name} (JetStream has to be on: nats-server -js)"))?;
    let lattice = Lattice {
        trust: Arc::new(context.keys.trust(authority)?),
        name,
        transport: Arc::new(transport),
        store: Arc::new(store),
        rivals: Rivals::Possible,
        believes: arguments.believe.into_iter().collect::<BTreeSet<_>>(),
    };
    Deployer::start(context, lattice).await
}
