//! How links go from a process to the one that replaces it: beside the old one where both can have them, and in order
//! where only one can.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use trellis_provider_sdk::{ActiveLink, Backing};

use super::connection::{Connection, Refusal};
use super::gate::Hold;
use super::running::{link_down, link_up};

/// How long calls that are under way may hold up a hand-over, and with it calls that wait.
const FINISH_LIMIT: Duration = Duration::from_secs(5);
/// How long the system may take to give free what a process has given back.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);
/// How often it is tried.
const TRY: Duration = Duration::from_millis(20);

/// Gives `links` to a new process, which is not called yet; those come back that it cannot have while another process
/// has them.
///
/// # Errors
/// Why it does not take one of the others.
pub(super) async fn beside(links: &[ActiveLink], new: &Connection) -> Result<Vec<ActiveLink>, String> {
    let mut held = Vec::new();
    for link in links {
        match link_up(new, link).await {
            Ok(_) => {}
            Err(refusal) if refusal.is_held => held.push(link.clone()),
            Err(refusal) => return Err(refused(link, &refusal)),
        }
    }
    Ok(held)
}

/// Takes `links` from the `old` process once no call is under way over them, and gives them to the `new` one. Calls
/// wait as long as there is the hold.
///
/// # Errors
/// Why the new one does not have all of them; the old one may have lost any.
pub(super) async fn in_order(
    (hold, links): (&Hold, &[ActiveLink]),
    old: Option<&Connection>,
    new: &Connection,
    limit: Duration,
) -> Result<(), String> {
    if links.is_empty() {
        return Ok(());
    }
    let limit = limit.min(FINISH_LIMIT);
    if timeout(limit, hold.idle()).await.is_err() {
        return Err(format!("calls over links to be handed over were still under way after {} s", limit.as_secs()));
    }
    if let Some(old) = old {
        for link in links {
            link_down(old, link.clone()).await;
        }
    }
    for link in links {
        take(new, link).await.map_err(|refusal| refused(link, &refusal))?;
    }
    Ok(())
}

/// Gives a link to a process, again and again while what it needs is not free yet.
///
/// # Errors
/// Why it did not take it.
pub(super) async fn take(connection: &Connection, link: &ActiveLink) -> Result<Backing, Refusal> {
    let give_up = Instant::now() + RELEASE_LIMIT;
    loop {
        match link_up(connection, link).await {
            Err(refusal) if refusal.is_held && Instant::now() < give_up => sleep(TRY).await,
            outcome => return outcome,
        }
    }
}

fn refused(ActiveLink { link, .. }: &ActiveLink, Refusal { reason, .. }: &Refusal) -> String {
    format!("the new process does not take the link {} of {} to {}: {reason}", link.name, link.source_id, link.target)
}
