//! Payments without end: each customer pays the others, sends what was answered a second time, and once in a while
//! something else under a key that is used up. What was answered is noted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;

use super::client::{Answer, Client};
use super::stage::{CUSTOMERS, Stage};
use crate::support::wait;

/// Each so many-th payment is sent again, and each so many-th of those as another one.
const AGAIN: usize = 5;
/// Each so many-th payment is more than anybody has.
const TOO_MUCH: usize = 9;
/// Requests without an answer that show that something is away.
const FAILURES: usize = 3;

/// A payment as it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Paid {
    pub(crate) id: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) amount: i64,
    /// Or it was refused, for want of money.
    pub(crate) is_posted: bool,
}

#[derive(Default)]
struct Notes {
    answered: Mutex<Vec<Paid>>,
    failures: AtomicUsize,
    is_over: AtomicBool,
}

/// Customers who pay, each on a thread.
pub(crate) struct Load {
    notes: Arc<Notes>,
    payers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Lets everybody begin.
    pub(crate) fn start(stage: &Stage) -> Self {
        let notes = Arc::<Notes>::default();
        let pay = |payer| {
            let (client, notes) = (stage.login(CUSTOMERS[payer]), Arc::clone(&notes));
            std::thread::spawn(move || pay(&client, payer, &notes))
        };
        let payers = (0..CUSTOMERS.len()).map(pay).collect();
        Self { notes, payers }
    }

    /// Waits until so many more payments were answered.
    pub(crate) fn until_more(&self, more: usize) {
        let enough = self.notes.count() + more;
        wait::until(&format!("{more} more payments"), || match self.notes.count() {
            count if count >= enough => Ok(()),
            // What one of them panicked with is said there.
            _ if self.payers.iter().any(JoinHandle::is_finished) => panic!("one who pays has stopped"),
            count => Err(format!("{count} of {enough}")),
        });
    }

    /// Does something that takes answers away, and waits until requests have failed.
    pub(crate) fn until_failed(&self, kill: impl FnOnce()) {
        let enough = self.notes.failures.load(Ordering::Relaxed) + FAILURES;
        kill();
        wait::until("requests that fail", || match self.notes.failures.load(Ordering::Relaxed) {
            failures if failures >= enough => Ok(()),
            failures => Err(format!("{failures} of {enough}")),
        });
    }

    /// How far it is.
    pub(crate) fn shown(&self) -> String {
        format!("{} payments answered, {} not", self.notes.count(), self.notes.failures.load(Ordering::Relaxed))
    }

    /// Lets everybody finish the payment that they are at; all that was answered.
    pub(crate) fn stop(self) -> Vec<Paid> {
        self.notes.is_over.store(true, Ordering::Relaxed);
        println!("{}", self.shown());
        for payer in self.payers {
            payer.join().expect("no payer panics");
        }
        self.notes.answered.lock().expect("no payer panics").clone()
    }
}

impl Notes {
    fn count(&self) -> usize {
        self.answered.lock().expect("no payer panics").len()
    }
}

fn pay(client: &Client, payer: usize, notes: &Notes) {
    let from = CUSTOMERS[payer];
    for number in 1.. {
        if notes.is_over.load(Ordering::Relaxed) {
            break;
        }
        let to = CUSTOMERS[(payer + 1 + number % (CUSTOMERS.len() - 1)) % CUSTOMERS.len()];
        let amount = if number % TOO_MUCH == 0 { 999_999 } else { 1 + i64::try_from(number % 250).expect("small") };
        let (key, order) = (format!("{from}-{number}"), json!({ "from": from, "to": to, "amount": amount }));
        let failed = &mut || _ = notes.failures.fetch_add(1, Ordering::Relaxed);
        let answer = client.pay_and_count(&key, &order, failed);
        if number % AGAIN == 0 {
            assert_eq!(client.pay_and_count(&key, &order, failed), answer, "the same again");
        }
        if number % (AGAIN * AGAIN) == 0 {
            let other = json!({ "from": from, "to": to, "amount": amount + 1 });
            assert_eq!(client.pay_and_count(&key, &other, failed).status, 409, "the key is used up");
        }
        let paid = paid(&answer, from, to, amount);
        notes.answered.lock().expect("no payer panics").push(paid);
    }
}

fn paid(answer: &Answer, from: &'static str, to: &'static str, amount: i64) -> Paid {
    let body = answer.json();
    let is_posted = match answer.status {
        201 => true,
        422 if body["error"] == "insufficient-funds" => false,
        _ => panic!("{from} pays {to}: {answer:?}"),
    };
    let id = body["id"].as_str().expect("an answered payment has an id").to_owned();
    Paid { id, from, to, amount, is_posted }
}
