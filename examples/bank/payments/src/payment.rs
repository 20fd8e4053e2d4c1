//! A payment as it is stored, and its states.

use sha2::{Digest as _, Sha256};

use crate::demo::bank::types::{Fault, Role};
use crate::exports::demo::bank::payments::{Order, Outcome, Refusal};

/// The most that one payment moves; the ledger has the same bound.
const MAX_AMOUNT: u64 = 1_000_000_000_000;
const MAX_KEY_BYTES: usize = 64;
const MAX_REFERENCE_BYTES: usize = 140;

/// A row of the table `payment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Made from payer and key: the same order has the same id.
    pub(crate) id: String,
    pub(crate) payer: String,
    pub(crate) role: &'static str,
    pub(crate) debit: String,
    pub(crate) credit: String,
    pub(crate) amount: u64,
    pub(crate) reference: String,
}

/// How far a payment is. Only ever forwards, each step by an update that names the state before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum State {
    /// Written down. Leads to `Cleared`, or is refused; no money has moved.
    Pending,
    /// The payer may do this. The ledger decides from here on, and its word is final.
    Cleared,
    /// Done with, and people are told.
    Final(Outcome),
}

const STATES: [(State, &str); 8] = [
    (State::Pending, "pending"),
    (State::Cleared, "cleared"),
    (State::Final(Outcome::Posted), "posted"),
    (State::Final(Outcome::Refused(Refusal::InsufficientFunds)), "insufficient-funds"),
    (State::Final(Outcome::Refused(Refusal::UnknownAccount)), "unknown-account"),
    (State::Final(Outcome::Refused(Refusal::NotYours)), "not-yours"),
    (State::Final(Outcome::Refused(Refusal::LimitExceeded)), "limit-exceeded"),
    (State::Final(Outcome::Refused(Refusal::TooMany)), "too-many"),
];

impl State {
    pub(crate) fn name(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map(|(_, name)| *name).expect("each state has a name")
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        STATES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Posted, Self::Posted) => true,
            (Self::Refused(a), Self::Refused(b)) => a == b,
            _ => false,
        }
    }
}

/// The names of roles in the table.
const ROLES: [(Role, &str); 3] = [(Role::Customer, "customer"), (Role::Teller, "teller"), (Role::Auditor, "auditor")];

/// The name of a role as the table has it.
pub(crate) fn role_named(name: &str) -> Option<&'static str> {
    ROLES.iter().find(|(_, known)| *known == name).map(|(_, known)| *known)
}

impl Row {
    /// The row of an order.
    ///
    /// # Errors
    /// `Invalid` if it is none that could ever be carried out.
    pub(crate) fn of(order: &Order) -> Result<Self, Fault> {
        let problem = match order {
            _ if order.key.is_empty() || order.key.len() > MAX_KEY_BYTES => "the key has 1 to 64 bytes",
            _ if order.reference.len() > MAX_REFERENCE_BYTES => "the reference has up to 140 bytes",
            _ if order.reference.chars().any(char::is_control) => "the reference has no control characters",
            _ if order.amount == 0 || order.amount > MAX_AMOUNT => "the amount is 1 to 10^12",
            _ if order.debit == order.credit => "the accounts are two",
            _ => return Ok(Self::unchecked(order)),
        };
        Err(Fault::Invalid(problem.to_owned()))
    }

    fn unchecked(order: &Order) -> Self {
        let Order { key, payer, debit, credit, amount, reference } = order;
        let role = ROLES.iter().find(|(role, _)| *role == payer.role).map(|(_, name)| *name);
        Self {
            id: id(&payer.user, key),
            payer: payer.user.clone(),
            role: role.expect("each role has a name"),
            debit: debit.clone(),
            credit: credit.clone(),
            amount: *amount,
            reference: reference.clone(),
        }
    }
}

/// 128 bits in hex. Names have no zero byte, so that no other pair of payer and key reads the same.
fn id(payer: &str, key: &str) -> String {
    let hash = Sha256::new().chain_update(payer).chain_update([0]).chain_update(key).finalize();
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
