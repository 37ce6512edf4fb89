//! Turns at work that may take long: bounded in all, and for each app, so that one app that is slow to fetch does not keep
//! the others from starting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::AppId;

/// Who works and who waits.
pub struct Turns {
    all: Arc<Semaphore>,
    of_one: usize,
    apps: Mutex<BTreeMap<AppId, Weak<Semaphore>>>,
}

/// A turn. It lasts as long as it is held, be it by a thread whose task was given up meanwhile.
#[derive(Debug)]
pub struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at a time, and so many of one app.
    pub fn new(all: usize, of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_one, apps: Mutex::default() }
    }

    /// Waits for a turn. Whoever waits for others of its own app is in nobody's way.
    ///
    /// # Errors
    /// Never.
    pub async fn take(&self, app: &AppId) -> Result<Arc<Turn>, String> {
        let own = self.of(app).acquire_owned().await.map_err(|e| e.to_string())?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(|e| e.to_string())?;
        Ok(Arc::new(Turn { _own: own, _all: all }))
    }

    /// The turns of one app. Those that nobody uses are forgotten.
    fn of(&self, app: &AppId) -> Arc<Semaphore> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.retain(|_, turns| turns.strong_count() > 0);
        if let Some(turns) = apps.get(app).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(self.of_one));
        apps.insert(app.clone(), Arc::downgrade(&turns));
        turns
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn id(name: &str) -> AppId {
        AppId::new(name).unwrap()
    }

    #[tokio::test]
    async fn an_app_has_its_own_bound_and_all_have_one_together() {
        let turns = Turns::new(3, 2);
        let at_once = |name: &str| turns.take(&id(name)).now_or_never().map(Result::unwrap);
        let (first, second) = (at_once("/a").unwrap(), at_once("/a").unwrap());
        assert!(at_once("/a").is_none(), "the app has all its turns");
        let other = at_once("/b").unwrap();
        assert!(at_once("/b").is_none() && at_once("/c").is_none(), "all turns are taken");
        drop(first);
        assert!(at_once("/c").is_some());
        let held_by_a_thread = Arc::clone(&second);
        drop(second);
        let _first = at_once("/a").unwrap();
        assert!(at_once("/a").is_none(), "the thread has not ended");
        drop((held_by_a_thread, other));
        assert!(at_once("/a").is_some());
    }

    #[tokio::test]
    async fn who_does_nothing_is_forgotten() {
        let turns = Turns::new(3, 2);
        for number in 0..10 {
            drop(turns.take(&id(&format!("/a{number}"))).await.unwrap());
        }
        assert_eq!(turns.apps.lock().unwrap().len(), 1);
    }
}
