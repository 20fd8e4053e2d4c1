//! Sealing secrets to hosts that came later: whoever can open one seals it to those whom its signer meant.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use trellis_lattice::id::{PeerId, SecretName};
use trellis_lattice::identity::claims::{PeerClaims, Verified};
use trellis_lattice::identity::token::verify_peer;
use trellis_lattice::message::presence::Presence;
use trellis_lattice::rpc::Peer;
use trellis_lattice::secrets::{Recipient, SecretRecord};

use super::Vault;
use crate::records::Held;
use crate::roster::{Context, now_unix_seconds};

/// How often somebody is looked for who lacks a secret.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how many looks somebody has lacked a secret. The first of its holders acts at the first look, the second at the
/// second, so that they do not all write at once.
type Lacking = HashMap<(SecretName, PeerId), usize>;

/// Shares what this host can open. Never returns.
pub(crate) async fn share(context: Arc<Context>, peer: Arc<Peer>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lacking = Lacking::new();
    loop {
        ticks.tick().await;
        let present = peer.present();
        let secrets = context.vault.view().secrets();
        let mut now = Lacking::new();
        for (name, held) in secrets.iter() {
            if let Some(record) = shared(&context, (name, held), &present, (&lacking, &mut now))
                && let Err(error) = context.records.share_secret(name, &record, held.revision).await
            {
                tracing::debug!(secret = %name, error = %error, "secret was not shared, another host may have done so");
            }
        }
        lacking = now;
    }
}

/// The record sealed to those who are there and lack it as well, if it is this host's turn to write that.
fn shared(
    context: &Context,
    (name, held): (&SecretName, &Held),
    present: &[Arc<Presence>],
    (before, now): (&Lacking, &mut Lacking),
) -> Option<SecretRecord> {
    let vault: &Vault = &context.vault;
    if !held.record.is_sealed_to(vault.opener().public()) {
        return None;
    }
    let is_ahead = |presence: &&Arc<Presence>| {
        presence.peer.as_str() < vault.opener().public() && held.record.is_sealed_to(presence.peer.as_str())
    };
    let rank = present.iter().filter(is_ahead).count();
    let mut record = None;
    for presence in present.iter().filter(|presence| !held.record.is_sealed_to(presence.peer.as_str())) {
        let Some(claims) = granted(context, presence, &held.record) else { continue };
        let key = (name.clone(), presence.peer.clone());
        let looks = before.get(&key).map_or(0, |looks| looks + 1);
        now.insert(key, looks);
        if looks < rank {
            continue;
        }
        let base = record.as_ref().unwrap_or(&*held.record);
        match base.shared_with(&Recipient::from(&*claims), vault.opener()) {
            Ok(next) => {
                tracing::info!(secret = %name, host_id = %presence.peer, "secret is sealed to a host");
                record = Some(next);
            }
            Err(error) => tracing::warn!(secret = %name, error = %error, "secret cannot be shared"),
        }
    }
    record
}

/// What the authority says of the peer, if the secret's signer meant it.
fn granted(context: &Context, presence: &Presence, record: &SecretRecord) -> Option<Verified<PeerClaims>> {
    let claims = verify_peer(&presence.token, now_unix_seconds()).ok()?;
    context.trust.accept_peer(&claims, &context.config.lattice).ok()?;
    (claims.peer == presence.peer && record.permits(&claims)).then_some(claims)
}
