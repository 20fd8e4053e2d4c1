//! Answers requests of the API, and publishes statuses when they change.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};
use trellis_lattice::error::Result;
use trellis_lattice::id::LatticeName;
use trellis_lattice::subject::Models;
use trellis_lattice::transport::{Message, SharedTransport, Subscription};

use super::answer::{Answers, Pace};
use super::lane::Lane;
use super::message::Status;
use super::standing::standing;
use crate::catalog::Catalog;
use crate::intent::{AppName, Intent};
use crate::observe::Observed;
use crate::plan::Plan;
use crate::status::Board;

/// Plans as if an intent were the one that is wanted, with what is seen now, which is given as well; `None` when nothing
/// was seen yet.
pub type Preview = Arc<dyn Fn(&Intent) -> Option<(Plan, Arc<Observed>)> + Send + Sync>;

/// What the API works with.
#[derive(Clone)]
pub struct Services {
    /// The lattice's transport.
    pub transport: SharedTransport,
    /// The lattice.
    pub lattice: LatticeName,
    /// What there is and what is wanted.
    pub catalog: Catalog,
    /// How it stands.
    pub board: Board,
    /// What would happen.
    pub preview: Preview,
}

/// The running API. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    _answering: AbortOnDropHandle<()>,
    _publishing: AbortOnDropHandle<()>,
}

impl Server {
    /// Starts it. To be called in a Tokio runtime; when this returns, requests are answered.
    ///
    /// # Errors
    /// When the transport takes no subscription.
    pub async fn start(services: Services) -> Result<Self> {
        let models = Models::new(&services.lattice);
        let (subject, group) = models.all();
        let requests = services.transport.subscribe(subject, Some(group)).await?;
        services.transport.flush().await?;
        let answers = Answers::new(models.clone(), &services);
        let answering = tokio::spawn(answer_all(requests, answers, services.transport.clone()));
        let publishing = tokio::spawn(publish_all(services, models));
        let (_answering, _publishing) = (AbortOnDropHandle::new(answering), AbortOnDropHandle::new(publishing));
        Ok(Self { _answering, _publishing })
    }
}

/// What takes its time, as a write to a slow disk does, holds up nothing that is known already.
async fn answer_all(mut requests: Subscription, answers: Answers, transport: SharedTransport) {
    let (mut quick, mut slow) = (Lane::default(), Lane::default());
    loop {
        let request = tokio::select! {
            request = requests.next() => match request {
                Some(request) => request,
                None => return,
            },
            () = quick.work() => continue,
            () = slow.work() => continue,
        };
        let lane = match answers.pace(&request) {
            Pace::Quick => &mut quick,
            Pace::Slow => &mut slow,
        };
        if lane.is_full() {
            warn!(subject = %request.subject, "too many requests wait for an answer; this one gets none");
            continue;
        }
        lane.add(Box::pin(answer(request, &answers, &transport)));
    }
}

async fn answer(request: Message, answers: &Answers, transport: &SharedTransport) {
    let Some(reply) = request.reply.clone() else { return };
    debug!(subject = %request.subject, "request to wadm");
    let payload = answers.answer(&request).await;
    if let Err(error) = transport.publish(Message::new(reply, payload)).await {
        warn!(subject = %request.subject, error = %error, "answer not sent");
    }
}

/// Publishes each status that is another one than before, as long as this wadm is the one that acts.
async fn publish_all(services: Services, models: Models) {
    let Services { transport, catalog, mut board, .. } = services;
    let mut changed = catalog.changed();
    let mut told: BTreeMap<AppName, Status> = BTreeMap::new();
    loop {
        let now = board.now();
        for app in catalog.apps().values().filter(|_| now.acting.is_some()) {
            let status = standing(app, &now);
            if told.get(&app.name) == Some(&status) {
                continue;
            }
            let Ok(subject) = models.status(app.name.as_str()) else { continue };
            match transport.publish(Message::new(subject, json(&status))).await {
                Ok(()) => drop(told.insert(app.name.clone(), status)),
                Err(error) => warn!(app = %app.name, error = %error, "status not published"),
            }
        }
        tokio::select! {
            () = board.changed() => {}
            result = changed.changed() => if result.is_err() { return },
        }
    }
}

/// The JSON of a message.
pub(super) fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message of the API has a JSON form")
}
