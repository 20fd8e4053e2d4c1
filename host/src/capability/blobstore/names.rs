//! The names of a container's objects: one page is here, the rest is asked for as the guest reads on.

use std::collections::VecDeque;

use trellis_interfaces::blobstore::{self as wire, function};
use wasmtime::component::Resource;

use super::Outcome;
use super::container::Container;
use super::generated::container::HostStreamObjectNames;
use crate::runtime::State;

/// Names on a page, and names that a guest gets at once at most; it is told that there are more.
const PAGE: u32 = 1_000;

/// A `stream-object-names`.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct Listing {
    container: Container,
    page: VecDeque<String>,
    next: Next,
}

/// Where the next page begins.
#[derive(Debug, Clone)]
enum Next {
    First,
    After(String),
    None,
}

impl Listing {
    /// All names of `container`; none was asked for yet.
    pub(super) fn of(container: Container) -> Self {
        Self { container, page: VecDeque::new(), next: Next::First }
    }
}

impl State {
    /// Asks for the next page, if there is one.
    pub(super) async fn next_page(&mut self, listing: &mut Listing) -> Outcome<()> {
        let cursor = match listing.next.clone() {
            Next::First => None,
            Next::After(cursor) => Some(cursor),
            Next::None => return Ok(Ok(())),
        };
        let Container { link, name } = listing.container.clone();
        let params = wire::ListObjects { container: name, cursor, limit: PAGE };
        let page = match self.blobstore::<wire::Names>(link, function::LIST_OBJECTS, &params).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        listing.page.extend(page.names);
        listing.next = page.cursor.map_or(Next::None, Next::After);
        Ok(Ok(()))
    }

    /// The next names, `count` at most, and whether they were the last.
    async fn next_names(&mut self, listing: &mut Listing, count: u64) -> Outcome<(Vec<String>, bool)> {
        let count = usize::try_from(count.min(PAGE.into())).unwrap_or(usize::MAX);
        // A page may have no names that the guest can be told.
        while listing.page.len() < count && !matches!(listing.next, Next::None) {
            if let Err(error) = self.next_page(listing).await? {
                return Ok(Err(error));
            }
        }
        let names: Vec<_> = listing.page.drain(..count.min(listing.page.len())).collect();
        Ok(Ok((names, listing.page.is_empty() && matches!(listing.next, Next::None))))
    }

    async fn read_names(&mut self, listing: &Resource<Listing>, count: u64) -> Outcome<(Vec<String>, bool)> {
        let mut read = std::mem::replace(self.table.get_mut(listing)?, Listing::ended());
        let names = self.next_names(&mut read, count).await;
        *self.table.get_mut(listing)? = read;
        names
    }
}

impl Listing {
    /// What stands in the table while the guest waits for a page.
    fn ended() -> Self {
        let container = Container { link: Default::default(), name: String::new() };
        Self { container, page: VecDeque::new(), next: Next::None }
    }
}

impl HostStreamObjectNames for State {
    async fn read_stream_object_names(
        &mut self,
        listing: Resource<Listing>,
        count: u64,
    ) -> Outcome<(Vec<String>, bool)> {
        self.read_names(&listing, count).await
    }

    async fn skip_stream_object_names(&mut self, listing: Resource<Listing>, count: u64) -> Outcome<(u64, bool)> {
        let mut skipped = 0;
        loop {
            match self.read_names(&listing, count - skipped).await? {
                Err(error) => return Ok(Err(error)),
                Ok((names, is_end)) => {
                    skipped += names.len() as u64;
                    if is_end || skipped == count {
                        return Ok(Ok((skipped, is_end)));
                    }
                }
            }
        }
    }

    async fn drop(&mut self, listing: Resource<Listing>) -> wasmtime::Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}
