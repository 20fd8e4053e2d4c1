//! `link.put`, `link.get`, `link.del`: one host answers for the lattice, and all hosts follow the store.

use bytes::Bytes;
use serde_json::json;
use trellis_lattice::message::command::{DeleteLink, Reply};
use trellis_lattice::message::event::EventName;
use trellis_lattice::message::link::Link;

use super::{Shared, check, encode, parse};
use crate::announce;

/// Writes a link whose ends can read what its configs say.
pub(super) async fn put(shared: &Shared, payload: &[u8]) -> Result<Bytes, String> {
    let link: Link = parse("link.put", payload)?;
    let announcer = &shared.context.announcer;
    let written = match check::ends(shared, &link).await {
        Ok(()) => shared.context.records.put_link(&link).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => {
            announcer.emit(EventName::LinkdefSet, announce::link_set(&link, None));
            Ok(encode(&Reply::<()>::accepted("")))
        }
        Err(error) => {
            announcer.emit(EventName::LinkdefSetFailed, announce::link_set(&link, Some(&error)));
            Err(error)
        }
    }
}

/// All links.
pub(super) async fn get(shared: &Shared) -> Result<Bytes, String> {
    let links = shared.context.records.list_links().await.map_err(|error| error.to_string())?;
    Ok(encode(&Reply::answer(links)))
}

/// Deletes a link. That it is not there is a success, and told as well.
pub(super) async fn delete(shared: &Shared, payload: &[u8]) -> Result<Bytes, String> {
    let which: DeleteLink = parse("link.del", payload)?;
    let deleted = shared.context.records.delete_links(&which).await.map_err(|error| error.to_string())?;
    let base = json!({
        "source_id": which.source_id.as_str(),
        "name": which.name.as_str(),
        "wit_namespace": which.wit_namespace,
        "wit_package": which.wit_package,
    });
    let announcer = &shared.context.announcer;
    if deleted.is_empty() {
        announcer.emit(EventName::LinkdefDeleted, base.clone());
    }
    for link in deleted {
        let mut data = base.clone();
        data["target"] = json!(link.target.as_str());
        data["interfaces"] = json!(link.interfaces);
        announcer.emit(EventName::LinkdefDeleted, data);
    }
    Ok(encode(&Reply::<()>::accepted("")))
}
