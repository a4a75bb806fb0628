//! Work that may be as long as a tree is large: how much of it there is at a time.
//!
//! An answer that is written while it is read has a thread to itself until its client took all of it, so there are only so
//! many. Of these fewer walk at a time: one that waits for its client walks nowhere, and lets another do so.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::registry::Registry;
use crate::{Error, Result};

/// How many walks over trees there are at a time. More wait.
pub const WALKS_MAX: usize = 4;
/// How many answers are written at a time, those that wait for their clients among them. More wait.
const ANSWERS_MAX: usize = 128;

/// The places for walks, and for answers that come of them.
#[derive(Debug, Clone)]
pub struct Walks {
    places: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Default for Walks {
    fn default() -> Walks {
        let places = |n| Arc::new(Semaphore::new(n));
        Walks { places: places(WALKS_MAX), answers: places(ANSWERS_MAX) }
    }
}

impl Walks {
    /// A place among those that walk, as soon as there is one.
    ///
    /// # Errors
    /// None that happens: the places last as long as the registry does.
    pub async fn place(&self) -> Result<WalkPlace> {
        one_of(&self.places).await.map(WalkPlace)
    }

    /// A walk whose answer is written on the way, as soon as there is a place for it.
    ///
    /// # Errors
    /// As [`Walks::place`].
    pub async fn begin(&self) -> Result<Walk> {
        let answer = one_of(&self.answers).await?;
        let place = Some(one_of(&self.places).await?);
        Ok(Walk { places: Arc::clone(&self.places), place, runtime: Handle::current(), _answer: answer })
    }
}

async fn one_of(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    Arc::clone(places).acquire_owned().await.map_err(Error::internal)
}

/// A place among those that walk, until it is dropped.
#[derive(Debug)]
#[must_use = "the place is free again once this is dropped"]
pub struct WalkPlace(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit);

impl Registry {
    /// The places for what walks trees, whoever asks for it.
    pub fn walks(&self) -> &Walks {
        &self.walks
    }
}

/// A walk that is under way.
#[derive(Debug)]
pub struct Walk {
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    runtime: Handle,
    _answer: OwnedSemaphorePermit,
}

impl Walk {
    /// Lets another walk while `wait` waits. Blocks.
    pub fn pause<O>(&mut self, wait: impl FnOnce() -> O) -> O {
        self.place = None;
        let waited = wait();
        // Nobody closes the places; without one there would be one walk more.
        self.place = self.runtime.block_on(Arc::clone(&self.places).acquire_owned()).ok();
        waited
    }
}
