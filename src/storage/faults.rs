//! A store for tests that fails, lies or dies at chosen calls.
//!
//! Every call of the trait (each key of a delete), and every step of an upload in parts, is one step. Steps are counted, so that
//! a test can first count those of an operation and then hurt each in turn.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::clock::Entropy;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done, and the answer is an error.
    LostReply,
    /// It is not done, and the answer is an error.
    Refused,
    /// A write is answered with "already exists" and not done (a conflict that nobody won).
    Conflict,
    /// A read is answered with "not found", a list with nothing (a stale replica).
    Stale,
    /// It is not done, and there is no answer.
    Hangs,
    /// The process dies before the step: it and all later ones are not done.
    DiesBefore,
    /// The process dies after the step: it is done, no later one is, and nobody hears of it.
    DiesAfter,
}

impl Fault {
    /// Faults that the operation lives through.
    pub(crate) const SURVIVED: [Self; 4] = [Self::LostReply, Self::Refused, Self::Conflict, Self::Stale];
}

/// The wrapper. Clones share one script.
#[derive(Clone)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    steps: Vec<String>,
    faults: BTreeMap<usize, Fault>,
    random: Option<(Entropy, u64)>,
    dead: bool,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Starts counting at 0 again and hurts these steps.
    pub(crate) fn hurt(&self, faults: impl IntoIterator<Item = (usize, Fault)>) {
        *self.script.lock().unwrap() = Script { faults: faults.into_iter().collect(), ..Script::default() };
    }

    /// Hurts every `one_in`-th step on average, as a seed decides.
    pub(crate) fn hurt_at_random(&self, seed: u64, one_in: u64) {
        let random = Some((Entropy::seeded(seed), one_in));
        *self.script.lock().unwrap() = Script { random, ..Script::default() };
    }

    /// What was asked for since the last [`FaultStore::hurt`].
    pub(crate) fn steps(&self) -> Vec<String> {
        self.script.lock().unwrap().steps.clone()
    }

    /// Counts a step and says what happens at it.
    fn step(&self, what: &str, key: &Path) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let number = script.steps.len();
        script.steps.push(format!("{what} {key}"));
        if script.dead {
            return Some(Fault::DiesBefore);
        }
        let random = script.random.as_ref().and_then(|(entropy, one_in)| {
            let dice = entropy.next();
            (dice % one_in == 0).then(|| Fault::SURVIVED[usize::try_from(dice >> 32).unwrap() % 4])
        });
        let fault = script.faults.get(&number).copied().or(random);
        script.dead |= matches!(fault, Some(Fault::DiesBefore | Fault::DiesAfter));
        fault
    }

    /// Whether the process died.
    pub(crate) fn is_dead(&self) -> bool {
        self.script.lock().unwrap().dead
    }
}

fn failed() -> Error {
    Error::Generic { store: "faults", source: "as the script says".into() }
}

/// The answer to a step that writes.
async fn write<T>(fault: Option<Fault>, key: &Path, call: impl Future<Output = Result<T>>) -> Result<T> {
    // Lets other tasks in between any two steps, as a real store does.
    tokio::task::yield_now().await;
    match fault {
        None => call.await,
        Some(Fault::LostReply | Fault::DiesAfter) => call.await.and(Err(failed())),
        Some(Fault::Conflict) => {
            Err(Error::AlreadyExists { path: key.to_string(), source: "conflict".into() })
        }
        Some(Fault::Hangs) => std::future::pending().await,
        Some(Fault::Refused | Fault::Stale | Fault::DiesBefore) => Err(failed()),
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.step("put", key);
        write(fault, key, self.inner.put_opts(key, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.step("begin", key);
        let begun = self.inner.put_multipart_opts(key, options);
        let inner = if matches!(fault, Some(Fault::DiesAfter)) {
            // What a dead process began stays begun.
            std::mem::forget(begun.await?);
            return Err(failed());
        } else {
            write(fault, key, begun).await?
        };
        Ok(Box::new(FaultUpload { inner: Some(inner), store: self.clone(), key: key.clone() }))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.step("get", key);
        tokio::task::yield_now().await;
        match fault {
            None => self.inner.get_opts(key, options).await,
            Some(Fault::Stale | Fault::Conflict) => {
                Err(Error::NotFound { path: key.to_string(), source: "stale".into() })
            }
            Some(Fault::Hangs) => std::future::pending().await,
            Some(_) => Err(failed()),
        }
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        keys.then(move |key| {
            let store = store.clone();
            async move {
                let key = key?;
                let fault = store.step("delete", &key);
                write(fault, &key, store.inner.delete(&key)).await.map(|()| key)
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step("list", prefix.unwrap_or(&Path::ROOT)) {
            None => self.inner.list(prefix),
            // A page that says nothing of what is there, as a stale replica does.
            Some(Fault::Stale) => futures::stream::empty().boxed(),
            Some(Fault::Hangs) => futures::stream::pending().boxed(),
            Some(_) => futures::stream::iter([Err(failed())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

struct FaultUpload {
    inner: Option<Box<dyn MultipartUpload>>,
    store: FaultStore,
    key: Path,
}

impl FaultUpload {
    fn inner(&mut self) -> &mut Box<dyn MultipartUpload> {
        self.inner.as_mut().unwrap()
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.store.step("part", &self.key);
        let (part, key) = (self.inner().put_part(data), self.key.clone());
        Box::pin(async move { write(fault, &key, part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (fault, key) = (self.store.step("complete", &self.key), self.key.clone());
        write(fault, &key, self.inner().complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let (fault, key) = (self.store.step("abort", &self.key), self.key.clone());
        write(fault, &key, self.inner().abort()).await
    }
}

impl Drop for FaultUpload {
    fn drop(&mut self) {
        // A dead process cleans up nothing.
        if self.store.is_dead() {
            std::mem::forget(self.inner.take());
        }
    }
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultUpload({})", self.key)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}
