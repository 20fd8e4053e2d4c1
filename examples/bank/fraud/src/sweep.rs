//! Removes the keys of windows that are over. With Redis the link's `ttl` does that as well; a file has none.

use crate::wasi::keyvalue::store::{self, Error};

/// Removes what is of windows before the one before `window`.
pub(crate) fn before(window: u64) -> Result<(), Error> {
    let bucket = store::open("default")?;
    let mut cursor = None;
    loop {
        let page = bucket.list_keys(cursor)?;
        let old = page.keys.iter().filter(|key| window_of(key).is_some_and(|of_key| of_key + 1 < window));
        for key in old {
            bucket.delete(key)?;
        }
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// The window in a key, which is `kind/window/name`.
fn window_of(key: &str) -> Option<u64> {
    key.split('/').nth(1)?.parse().ok()
}
