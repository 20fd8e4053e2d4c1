//! Many payments while the bank is killed and started again. Who pays does not know whether an answer was lost or never
//! made, and pays again under the same key.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::CUSTOMERS;
use super::client::Client;
use crate::demo::lattice::Lattice;

/// How many payments each customer makes: fewer than the limit of `fraud` for a minute.
const PAYMENTS: u64 = 60;
/// How many were answered when the bank is killed.
const KILLED_AFTER: usize = 80;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// What came of it.
pub(super) struct Load {
    /// The payments that were answered as posted.
    pub(super) ids: Vec<String>,
}

/// Lets all customers pay, and kills the bank in the middle of it.
pub(super) fn run(lattice: &mut Lattice, address: SocketAddr) -> Result<Load> {
    let clients = CUSTOMERS.iter().map(|customer| Client::login(address, *customer)).collect::<Result<Vec<_>>>()?;
    let ids = Mutex::new(Vec::new());
    let known = || ids.lock().expect("nobody panics with it").len();
    std::thread::scope(|scope| {
        let (clients, ids) = (&clients, &ids);
        let payers: Vec<_> = (0..clients.len()).map(|payer| scope.spawn(move || pay(clients, payer, ids))).collect();
        let started = Instant::now();
        while known() < KILLED_AFTER && payers.iter().any(|payer| !payer.is_finished()) {
            ensure!(started.elapsed() < PATIENCE, "only {} payments were answered", known());
            std::thread::park_timeout(LOOK);
        }
        lattice.kill()?;
        println!("      killed with SIGKILL when {} payments were answered", known());
        lattice.start_again()?;
        println!("      started again with what it had kept");
        for payer in payers {
            match payer.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("one who pays panicked"),
            }
        }
        Ok(())
    })?;
    Ok(Load { ids: ids.into_inner().expect("nobody panics with it") })
}

/// Lets one customer pay the others in turn.
fn pay(clients: &[Client], payer: usize, ids: &Mutex<Vec<String>>) -> Result<()> {
    let from = CUSTOMERS[payer].0;
    let others: Vec<_> = CUSTOMERS.iter().filter(|(name, _)| *name != from).collect();
    for (number, (to, _)) in (0..PAYMENTS).zip(others.iter().cycle()) {
        let order = json!({ "from": from, "to": to, "amount": 100 + number, "reference": format!("load {number}") });
        let response = clients[payer].pay_until_answered(&format!("load-{number}"), &order)?;
        ensure!(response.status == 201, "{from} pays {to}: {response:?}");
        let paid: Value = serde_json::from_str(&response.body).context("the answer to a payment is no JSON")?;
        let id = paid["id"].as_str().context("the payment has no id")?;
        ids.lock().expect("nobody panics with it").push(id.to_owned());
    }
    Ok(())
}
