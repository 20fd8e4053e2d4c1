//! Planted faults: each is a wadm that does one thing wrong, by a wrapper where the right one would do it. The simulation
//! has to notice every one of them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;
use trellis_lattice::message::lease::{LEASE_KEY, Lease};
use trellis_lattice::store::Key;
use trellis_wadm::intent::{AppIntent, AppName, Intent};
use trellis_wadm::lease::Rivals;
use trellis_wadm::observe::{AttemptState, Inventory, Observed, Owner, Seen, View};
use trellis_wadm::plan::{Action, ActionKey, Deed};
use trellis_wadm::reconcile::Planner;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Commands carry no fencing token.
    SkipTheFence,
    /// Commands do not say until when they count.
    LetThemCountForEver,
    /// The token does not grow when another wadm takes over.
    KeepTheToken,
    /// Records are written over whatever is there.
    WriteBlindly,
    /// The lease is taken without waiting for the one who has it.
    WaitForNobody,
    /// What runs is not marked with the generation.
    ForgetTheGeneration,
    /// What runs is not marked as ours.
    ForgetTheOwner,
    /// One instance more than was planned.
    OneTooMany,
    /// What is made without annotations is not written down.
    KeepNoLedger,
    /// An application that the intent does not name is not to run.
    TreatEmptyAsDesired,
    /// Conclusions are drawn although the view is not settled.
    ActOnAnUnsettledView,
    /// What others run is taken for ours.
    IgnoreOwnership,
    /// What failed is sent again at once, for ever.
    NoBackOff,
    /// A silent host is taken for one that is there.
    IgnoreSilence,
    /// A silent host is taken for one that never was, however many are silent.
    BelieveAnySilence,
    /// Nothing is ever stopped.
    NeverStop,
    /// Links and configs are never deleted.
    NeverErase,
    /// Links are not put.
    ForgetLinks,
    /// Configs are not put.
    ForgetConfigs,
    /// What is started somewhere is started on another host as well.
    StartTwice,
    /// Labels do not matter.
    IgnoreLabels,
    /// A host that was not asked yet runs nothing.
    TakeUnaskedForEmpty,
    /// Only one plan is made for each intent.
    PlanOnce,
    /// An undeployed application is one that nobody knows.
    ForgetTombstones,
    /// New versions are not rolled out to what runs already.
    NeverUpdate,
    /// What may be gone by now is relied upon.
    RelyOnWhatLeaves,
    /// What may be coming is not known.
    ForgetWhatComes,
    /// A provider that could be replaced while it runs is not.
    NeverUpgrade,
    /// It is stopped first.
    StopToUpgrade,
    /// What hosts run and were told to run is not written down.
    WriteNothingDown,
}

impl Mutation {
    /// A command as it is sent.
    pub(crate) fn command(self, payload: Bytes) -> Bytes {
        let Ok(Value::Object(mut command)) = serde_json::from_slice(&payload) else { return payload };
        match self {
            Self::SkipTheFence => drop(command.remove("fence")),
            Self::LetThemCountForEver => drop(command.remove("not_after_ms")),
            Self::ForgetTheOwner => drop(command.remove("annotations")),
            Self::ForgetTheGeneration => {
                if let Some(Value::Object(notes)) = command.get_mut("annotations") {
                    notes.remove("trellis.dev/generation");
                }
            }
            Self::OneTooMany => {
                if let Some(count) = command.get("count").and_then(Value::as_u64).filter(|count| *count > 0) {
                    command.insert("count".to_owned(), (count + 1).into());
                }
            }
            _ => return payload,
        }
        Value::Object(command).to_string().into()
    }

    /// A record as it is written.
    pub(crate) fn record(self, key: &Key, value: Bytes) -> Bytes {
        if self == Self::WriteNothingDown && key.as_str().starts_with("wadm.seen.") {
            return without_what_it_runs(&value);
        }
        let lease = Lease::decode(&value).filter(|_| self == Self::KeepTheToken && key.as_str() == LEASE_KEY);
        lease.map_or(value, |lease| Lease { token: 1, ..lease }.encode().into())
    }

    /// Whether others are waited for.
    pub(crate) fn rivals(self) -> Rivals {
        if self == Self::WaitForNobody { Rivals::Impossible } else { Rivals::Possible }
    }

    /// A planner that does it wrong.
    pub(crate) fn planner(self, right: Planner) -> Planner {
        let planned = Mutex::new(Vec::new());
        Arc::new(move |intent, observed, now| {
            let (wanted, observed) = (self.intent(intent, observed), self.observed(observed));
            let mut plan = right(&wanted, &observed, now);
            self.change(&mut plan.actions, &observed);
            if self == Self::PlanOnce && !plan.actions.is_empty() {
                let mut planned = planned.lock().expect("not poisoned");
                if planned.contains(intent) {
                    plan.actions.clear();
                } else {
                    planned.push(intent.clone());
                }
            }
            plan
        })
    }

    fn intent(self, intent: &Intent, observed: &Observed) -> Intent {
        let mut intent = intent.clone();
        match self {
            Self::TreatEmptyAsDesired => {
                let generation = intent.apps.values().map(AppIntent::generation).max().unwrap_or(0) + 1_000;
                for app in owners(observed) {
                    intent.apps.entry(app).or_insert(AppIntent::Undeployed { generation });
                }
            }
            Self::ForgetTombstones => intent.apps.retain(|_, wanted| matches!(wanted, AppIntent::Deployed(_))),
            _ => {}
        }
        intent
    }

    fn observed(self, observed: &Observed) -> Observed {
        let mut observed = observed.clone();
        match self {
            Self::ActOnAnUnsettledView => observed.view = View::Settled,
            Self::BelieveAnySilence => {
                observed.view = View::Settled;
                observed.hosts.retain(|_, host| host.is_here());
            }
            Self::RelyOnWhatLeaves => observed.leaving.clear(),
            Self::ForgetWhatComes => observed.coming.clear(),
            Self::IgnoreSilence => observed.hosts.values_mut().for_each(|host| host.seen = Seen::Present),
            Self::IgnoreOwnership => claim_everything(&mut observed),
            Self::NoBackOff => {
                observed.attempts.retain(|_, attempt| matches!(attempt.state, AttemptState::Sent { .. }))
            }
            Self::IgnoreLabels => {
                let zones = |zone: &str| [("zone".to_owned(), zone.to_owned())].into();
                let hosts = observed.hosts.values_mut().enumerate();
                hosts.for_each(|(at, host)| host.labels = zones(if at % 2 == 0 { "west" } else { "east" }));
            }
            Self::TakeUnaskedForEmpty => {
                for host in observed.hosts.values_mut() {
                    host.inventory.get_or_insert_default();
                }
                observed.view = View::Settled;
            }
            _ => {}
        }
        observed
    }

    fn change(self, actions: &mut Vec<Action>, observed: &Observed) {
        let is_stop = |action: &Action| matches!(action.deed, Deed::StopActor { .. } | Deed::StopProvider { .. });
        match self {
            Self::KeepNoLedger => actions.retain(|action| !matches!(action.deed, Deed::RecordOwned { .. })),
            Self::NeverStop => actions.retain(|action| !is_stop(action)),
            Self::NeverErase => {
                actions.retain(|action| !matches!(action.deed, Deed::DeleteLink { .. } | Deed::DeleteConfig { .. }))
            }
            Self::ForgetLinks => actions.retain(|action| !matches!(action.deed, Deed::PutLink { .. })),
            Self::ForgetConfigs => actions.retain(|action| !matches!(action.deed, Deed::PutConfig { .. })),
            Self::NeverUpdate => actions.retain(|action| !matches!(action.deed, Deed::UpdateActor(_))),
            Self::NeverUpgrade => actions.retain(|action| !matches!(action.deed, Deed::UpdateProvider(_))),
            Self::StopToUpgrade => actions.iter_mut().for_each(stop_to_upgrade),
            Self::StartTwice => start_twice(actions, observed),
            _ => {}
        }
    }
}

/// The applications that something says it belongs to.
fn owners(observed: &Observed) -> Vec<AppName> {
    let inventories = observed.hosts.values().filter_map(|host| host.inventory.as_ref());
    let apps =
        inventories.flat_map(|runs| runs.actors.values().filter_map(|actor| Some(actor.owner.as_ref()?.app.clone())));
    apps.collect()
}

fn claim_everything(observed: &mut Observed) {
    let app = AppName::parse("tool").expect("valid");
    let owner = Arc::new(Owner { app, scaler: "x".to_owned(), spread: "x".to_owned(), generation: 1 });
    let inventories = observed.hosts.values_mut().filter_map(|host| host.inventory.as_mut());
    for Inventory { actors, .. } in inventories {
        for actor in actors.values_mut() {
            actor.owner.get_or_insert_with(|| Arc::clone(&owner));
        }
    }
}

fn without_what_it_runs(inventory: &[u8]) -> Bytes {
    let mut inventory: Value = serde_json::from_slice(inventory).expect("an inventory");
    for runs in ["components", "providers"] {
        inventory[runs] = Value::Array(Vec::new());
    }
    inventory.to_string().into()
}

fn stop_to_upgrade(action: &mut Action) {
    if let Deed::UpdateProvider(provider) = &action.deed {
        action.deed = Deed::StopProvider { host: provider.host.clone(), id: provider.id.clone() };
    }
}

fn start_twice(actions: &mut Vec<Action>, observed: &Observed) {
    let mut more = Vec::new();
    for action in actions.iter() {
        let Deed::ScaleActor(actor) = &action.deed else { continue };
        let Some(other) = observed.hosts.keys().find(|host| **host != actor.host) else { continue };
        let mut actor = actor.clone();
        actor.host = other.clone();
        let key = ActionKey::new(format!("again/{other}/{}", actor.id));
        more.push(Action { key, deed: Deed::ScaleActor(actor), ..action.clone() });
    }
    actions.extend(more);
}
