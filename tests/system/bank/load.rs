//! Payments without end: each customer pays the others, sends what was answered a second time, and once in a while
//! something else under a key that is used up. What was answered is noted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;

use super::client::{Answer, Client, Miss};
use super::stage::{CUSTOMERS, Stage};
use crate::support::wait;

/// How often a payer asks again while a provider's process is away, which is for a second or two. An actor that ran and could not
/// reach it breaks off: what it did before may have had an effect, so its caller is not told that there was none.
const AGAIN_MEANWHILE: usize = 40;

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
    /// Requests without an answer that counts.
    failures: AtomicUsize,
    /// Those that were refused and told when to come again.
    refused: AtomicUsize,
    /// Those that broke off.
    broken: Mutex<Vec<Answer>>,
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

    /// Waits until so many more payments were answered, or refused with a word on when to come again.
    pub(crate) fn until_heard(&self, more: usize) {
        let heard = || self.notes.count() + self.notes.refused.load(Ordering::Relaxed);
        let enough = heard() + more;
        wait::until(&format!("{more} more payments that are answered or refused"), || match heard() {
            count if count >= enough => Ok(()),
            count => Err(format!("{count} of {enough}")),
        });
    }

    /// How far it is.
    pub(crate) fn shown(&self) -> String {
        let Notes { failures, refused, broken, .. } = &*self.notes;
        let (failures, refused) = (failures.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
        let broken = broken.lock().expect("no payer panics").len();
        format!("{} payments answered, {failures} not: {refused} refused, {broken} broken off", self.notes.count())
    }

    /// Lets everybody finish the payment that they are at; all that was answered. What a kill broke off was told so; all others
    /// were told when to come again.
    pub(crate) fn stop(self, kills: usize) -> Vec<Paid> {
        self.notes.is_over.store(true, Ordering::Relaxed);
        println!("{}", self.shown());
        for payer in self.payers {
            payer.join().expect("no payer panics");
        }
        let broken = self.notes.broken.lock().expect("no payer panics");
        let is_typed = |answer: &Answer| matches!(answer.status, 500 | 502 | 504);
        let is_bounded = broken.len() <= kills * CUSTOMERS.len() * AGAIN_MEANWHILE;
        assert!(
            is_bounded && broken.iter().all(is_typed),
            "{kills} kills broke off {} calls: {broken:#?}",
            broken.len()
        );
        println!("{kills} kills broke off {} calls", broken.len());
        self.notes.answered.lock().expect("no payer panics").clone()
    }
}

impl Notes {
    fn count(&self) -> usize {
        self.answered.lock().expect("no payer panics").len()
    }

    fn miss(&self, why: Miss) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        match why {
            Miss::Refused => _ = self.refused.fetch_add(1, Ordering::Relaxed),
            Miss::Broken(answer) => self.broken.lock().expect("no payer panics").push(answer),
            Miss::Away(_) => {}
        }
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
        let miss = &mut |why| notes.miss(why);
        let answer = client.pay_and_note(&key, &order, miss);
        if number % AGAIN == 0 {
            assert_eq!(client.pay_and_note(&key, &order, miss), answer, "the same again");
        }
        if number % (AGAIN * AGAIN) == 0 {
            let other = json!({ "from": from, "to": to, "amount": amount + 1 });
            assert_eq!(client.pay_and_note(&key, &other, miss).status, 409, "the key is used up");
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
