//! A simulated host: speaks control v1 and presence as real ones do, and runs what it is told by writing it down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{FuturesUnordered, SelectAll};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::{BootId, HostId, LatticeName};
use trellis_lattice::identity::claims::PeerClaims;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::{peer, token};
use trellis_lattice::message::event::{CloudEvent, EventName};
use trellis_lattice::message::lease::{LEASE_KEY, Lease};
use trellis_lattice::message::presence::{Presence, Running, State};
use trellis_lattice::store::{Change, SharedStore, Watch};
use trellis_lattice::subject::{self, Control, Subject};
use trellis_lattice::transport::{Message, SharedTransport, Subscription};
use trellis_lattice::wire::SignedPresence;

use crate::answer::{Answer, Work};
use crate::ground::{Ground, Health, HostTruth};

/// What all hosts of a lattice share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) lattice: LatticeName,
    pub(crate) authority: Arc<Key>,
    pub(crate) ground: Ground,
    pub(crate) store: SharedStore,
}

/// The machine: what stays when the host on it ends.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) site: Site,
    pub(crate) id: HostId,
    pub(crate) name: String,
    /// How far its clock is ahead of that of the first machine: the clocks of hosts do not agree.
    ahead_ms: u64,
    key: Key,
    token: String,
}

impl Machine {
    /// The machine `number` of a simulation; its key follows from that.
    pub(crate) fn new(site: &Site, number: u32, labels: &[(&str, &str)]) -> Self {
        let key = seeded_key(KeyKind::Host, number);
        let id = HostId::parse(&key.public()).expect("a host's key");
        let claims = PeerClaims {
            issuer: site.authority.public().parse().expect("an account's key"),
            peer: id.clone().into(),
            exchange: peer::exchange_public(&key),
            lattice: site.lattice.clone(),
            labels: [].into(),
            entity: None,
            call: Vec::new(),
            expires_at: NEVER,
        };
        let token = token::issue_peer(&claims, &site.authority, ISSUED).expect("issued");
        let name = format!("h{number}");
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let truth = HostTruth {
            name: name.clone(),
            labels,
            health: Health::Down,
            is_cut: false,
            since: Duration::ZERO,
            runs: [].into(),
            underway: Vec::new(),
            fence: 0,
        };
        site.ground.truth().hosts.insert(id.clone(), truth);
        let ahead_ms = u64::from(number - 1) * AHEAD_MS;
        Self { site: site.clone(), id, name, ahead_ms, key, token }
    }

    /// What its clock shows, in milliseconds since 1970.
    pub(crate) fn clock_ms(&self) -> u64 {
        let elapsed = self.site.ground.truth().elapsed().as_millis();
        ISSUED * 1_000 + self.ahead_ms + u64::try_from(elapsed).expect("a simulation is short")
    }

    /// Starts the host, for the `boot`th time.
    pub(crate) async fn boot(&self, transport: SharedTransport, boot: u64, seed: u64) -> SimulatedHost {
        let control = Control::new(&self.site.lattice);
        let mut requests = SelectAll::new();
        let plain = control.all_on_host(&self.id).into_iter().map(|subject| (subject, None));
        let shared = control.shared().into_iter().map(|(subject, group)| (subject, Some(group)));
        for (subject, group) in plain.chain(shared) {
            requests.push(transport.subscribe(subject, group).await.expect("the bus is open"));
        }
        let leases = self.site.store.watch(LEASE_KEY).await.expect("the store is open");
        let (pace, paced) = watch::channel(Pace::Runs);
        self.site.ground.truth().set(&self.id, |host| {
            host.health = Health::Up;
            host.underway.clear();
        });
        let task = Task {
            machine: self.clone(),
            transport,
            control,
            boot,
            sequence: 0,
            events: 0,
            dice: StdRng::seed_from_u64(seed),
            works: FuturesUnordered::new(),
            pace: paced,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(task.run(requests, leases)));
        SimulatedHost { machine: self.clone(), pace, _task: task }
    }
}

/// Issued long ago, for long: the simulation's clock is not the calendar's.
const ISSUED: u64 = 1_600_000_000;
const NEVER: u64 = 4_000_000_000;

/// How far the clock of a machine is ahead of that of the one before.
const AHEAD_MS: u64 = 2_000;

/// How often a host says that it is there.
const BEAT: Duration = Duration::from_secs(1);

/// A key that follows from a number.
pub(crate) fn seeded_key(kind: KeyKind, number: u32) -> Key {
    let nkey = match kind {
        KeyKind::Account => nkeys::KeyPairType::Account,
        _ => nkeys::KeyPairType::Server,
    };
    let raw = *blake3::hash(&number.to_le_bytes()).as_bytes();
    let seed = nkeys::KeyPair::new_from_raw(nkey, raw).expect("32 bytes").seed().expect("made with its seed");
    Key::from_seed(&seed).expect("a seed")
}

/// Whether a host's process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Runs,
    Stands,
}

/// A host that runs. Dropping it is `kill -9`, but for the truth, which [`SimulatedHost::kill`] sets as well.
pub(crate) struct SimulatedHost {
    pub(crate) machine: Machine,
    pace: watch::Sender<Pace>,
    _task: AbortOnDropHandle<()>,
}

impl SimulatedHost {
    /// Stops it in the middle, as SIGSTOP does.
    pub(crate) fn hang(&self) {
        self.set_health(Health::Hung);
        self.pace.send_replace(Pace::Stands);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.set_health(Health::Up);
        self.pace.send_replace(Pace::Runs);
    }

    /// Ends it as `kill -9` does; what it ran is what its disk says.
    pub(crate) fn kill(self) -> Machine {
        self.set_health(Health::Down);
        self.machine.clone()
    }

    fn set_health(&self, health: Health) {
        let mut truth = self.machine.site.ground.truth();
        truth.set(&self.machine.id, |host| host.health = health);
        truth.note(&format!("{} is {health:?}", self.machine.name));
    }
}

struct Task {
    machine: Machine,
    transport: SharedTransport,
    control: Control,
    boot: u64,
    sequence: u64,
    events: u64,
    dice: StdRng,
    works: FuturesUnordered<futures::future::BoxFuture<'static, Work>>,
    pace: watch::Receiver<Pace>,
}

impl Task {
    async fn run(mut self, mut requests: SelectAll<Subscription>, mut leases: Watch) {
        self.event(EventName::HostStarted, serde_json::json!({})).await;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.pace.wait_for(|pace| *pace == Pace::Runs).await.is_err() {
                return;
            }
            tokio::select! {
                biased;
                changed = self.pace.changed() => if changed.is_err() { return },
                Some(change) = leases.next() => self.follow(&change),
                request = requests.next() => match request {
                    Some(request) => self.receive(request).await,
                    None => return,
                },
                Some(work) = self.works.next() => self.finish(work).await,
                _ = beat.tick() => self.speak().await,
            }
        }
    }

    /// Remembers the token of the lease, unless this host is cut off from the store.
    fn follow(&mut self, change: &Change) {
        let Change::Put(record) = change else { return };
        let mut truth = self.machine.site.ground.truth();
        let host = truth.host(&self.machine.id);
        if let (false, Some(lease)) = (host.is_cut, Lease::decode(&record.value)) {
            host.fence = host.fence.max(lease.token);
        }
    }

    async fn receive(&mut self, request: Message) {
        let Message { subject, reply: Some(reply), payload, .. } = request else { return };
        let Some((noun, verb, tail)) = self.control.parse(&subject) else { return };
        let answer = Answer { machine: &self.machine, payload: &payload, tail }.to(noun, verb);
        self.send(reply, answer.reply).await;
        for (name, data) in answer.events {
            self.event(name, data).await;
        }
        if let Some(work) = answer.work {
            work.begin(&self.machine);
            let takes = Duration::from_millis(self.dice.random_range(1..120));
            self.works.push(Box::pin(async move {
                sleep(takes).await;
                work
            }));
        }
    }

    async fn finish(&mut self, work: Work) {
        let (name, data) = work.carry_out(&self.machine);
        self.speak().await;
        self.event(name, data).await;
    }

    async fn speak(&mut self) {
        self.sequence += 1;
        let running = {
            let mut truth = self.machine.site.ground.truth();
            let runs = &truth.host(&self.machine.id).runs;
            runs.keys().map(|id| Running { id: id.clone(), exports: Vec::new() }).collect()
        };
        let presence = Presence {
            peer: self.machine.id.clone().into(),
            token: self.machine.token.clone(),
            boot: BootId(*blake3::hash(&self.boot.to_le_bytes()).as_bytes().first_chunk().expect("32 bytes")),
            started_at_ms: self.boot,
            sequence: self.sequence,
            said_at_ms: self.machine.clock_ms(),
            site: None,
            state: State::Ready,
            running,
        };
        let lattice = &self.machine.site.lattice;
        let frame = SignedPresence::encode(&presence, lattice, |bytes| self.machine.key.sign(bytes));
        self.send(subject::presence(lattice), frame.into()).await;
    }

    async fn event(&mut self, name: EventName, data: Value) {
        self.events += 1;
        let (id, source) = (self.events.to_string(), self.machine.id.clone());
        let event = CloudEvent::new(name, source, id, "2026-11-21T00:00:00Z".to_owned(), data);
        let payload = serde_json::to_vec(&event).expect("an event has a JSON form");
        self.send(subject::event(&self.machine.site.lattice, name), payload.into()).await;
    }

    async fn send(&mut self, to: Subject, payload: Bytes) {
        self.transport.publish(Message::new(to, payload)).await.expect("the bus is open");
    }
}
