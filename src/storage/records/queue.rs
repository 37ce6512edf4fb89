//! Group commit: while one record is under way, what comes meanwhile waits and goes into the next together.
//!
//! No worker drives this. Whoever waits gets the turn, finds that somebody else has carried his operations along,
//! or carries along those of the others. Each caller's operations are validated after those before them and are
//! refused by themselves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::log::{Committed, Log, encode};
use super::place::{Placed, place};
use super::record::Record;
use super::{CommitError, FORMAT, LogError, RECORD_LIMIT, State};
use crate::model::{Digest, Epoch};
use crate::retry::Delays;

/// How often a record may lose against others before it is given up.
const LOSSES: u32 = 64;

/// The most callers that share one record.
const SHARERS: usize = 64;

type Answer<S> = Result<Committed, CommitError<<S as State>::Rejection>>;

/// Who waits for the next record.
pub(super) struct Queue<S: State>(Mutex<VecDeque<Waiting<S>>>);

struct Waiting<S: State> {
    epoch: Epoch,
    operations: Vec<S::Operation>,
    /// What they take as JSON, in bytes.
    size: usize,
    answer: oneshot::Sender<Answer<S>>,
}

impl<S: State> Default for Queue<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: State> Queue<S> {
    fn push(&self, waiting: Waiting<S>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(waiting);
    }

    /// Puts those who have to wait for what is under way back to where they stood.
    fn put_back(&self, later: Vec<Waiting<S>>) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for waiting in later.into_iter().rev() {
            queue.push_front(waiting);
        }
    }

    /// The first in the line and those behind it that fit into its record. Who went away is left out.
    fn take(&self) -> Vec<Waiting<S>> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|waiting| !waiting.answer.is_closed());
        let mut taken: Vec<Waiting<S>> = Vec::new();
        // The envelope of a record takes some hundred bytes.
        let mut room = RECORD_LIMIT - 1_024;
        while let Some(next) = queue.front() {
            let alike = taken.first().is_none_or(|first| first.epoch == next.epoch);
            let fits = taken.is_empty() || (next.size <= room && taken.len() < SHARERS);
            if !alike || !fits {
                break;
            }
            room = room.saturating_sub(next.size);
            taken.extend(queue.pop_front());
        }
        taken
    }
}

/// See [`Log::commit`].
pub(super) async fn commit<S: State>(log: &Log<S>, epoch: Epoch, operations: Vec<S::Operation>) -> Answer<S> {
    let size = serde_json::to_vec(&operations).map_err(CommitError::Encode)?.len();
    let (answer, mut mine) = oneshot::channel();
    log.queue.push(Waiting { epoch, operations, size, answer });
    loop {
        let turn = tokio::select! {
            biased;
            answered = &mut mine => return answered.unwrap_or(Err(CommitError::Interrupted)),
            turn = log.turn.lock() => turn,
        };
        match mine.try_recv() {
            Ok(answer) => return answer,
            Err(TryRecvError::Closed) => return Err(CommitError::Interrupted),
            Err(TryRecvError::Empty) => {}
        }
        write(log, log.queue.take()).await;
        drop(turn);
    }
}

/// Writes one record for several callers and answers each.
async fn write<S: State>(log: &Log<S>, mut waiting: Vec<Waiting<S>>) {
    let mut delays =
        Delays::new(Duration::from_millis(5), Duration::from_millis(200), log.site.entropy.clone());
    // At first it is assumed that nobody else wrote: the create itself tells. A refusal needs the newest state.
    let mut newest = log.in_doubt();
    for _ in 0..=LOSSES {
        if newest && let Err(error) = log.replay().await {
            let error = Arc::new(error);
            return answer_all(waiting, || Err(CommitError::Replay(Arc::clone(&error))));
        }
        let prepared = prepare(log, waiting, newest);
        waiting = prepared.waiting;
        if !newest && prepared.refused {
            newest = true;
            continue;
        }
        let Some(record) = prepared.record else { return };
        let begun = log.site.calls.clock.boot();
        match attempt(log, &record, prepared.bytes, begun).await {
            Attempt::Written => {
                let committed = Committed { seq: record.seq, begun };
                return answer_all(waiting, || Ok(committed));
            }
            Attempt::Lost => {}
            Attempt::Failed(error) => return answer_all(waiting, error),
        }
        newest = true;
        give_back(&mut waiting, record.operations, &prepared.counts);
        log.site.calls.clock.sleep(delays.next_delay()).await;
    }
    answer_all(waiting, || Err(CommitError::Contended { losses: LOSSES }));
}

fn answer_all<S: State>(waiting: Vec<Waiting<S>>, answer: impl Fn() -> Answer<S>) {
    for waiting in waiting {
        // Whoever asked may have gone away.
        let _ = waiting.answer.send(answer());
    }
}

/// A record that may be sent, and for whom; none where nobody's operations may follow the newest state.
struct Prepared<S: State> {
    waiting: Vec<Waiting<S>>,
    /// How many operations are whose.
    counts: Vec<usize>,
    record: Option<Record<S::Operation>>,
    bytes: Bytes,
    /// Whether somebody's operations may not follow the state that is known.
    refused: bool,
}

/// Validates everybody's operations against the state that is known and addresses them to the next number. Where
/// that state is the newest, those who are refused are told so; otherwise everything stays as it is. Who is refused
/// only because of others in this record waits for the next one: it is not known yet whether theirs will stand.
fn prepare<S: State>(log: &Log<S>, waiting: Vec<Waiting<S>>, newest: bool) -> Prepared<S> {
    let counts = Vec::new();
    let mut prepared =
        Prepared { waiting: Vec::new(), counts, record: None, bytes: Bytes::new(), refused: false };
    let (state, seq, previous) = {
        let view = log.view();
        (Arc::clone(&view.state), view.seq + 1, view.digest)
    };
    let Some(epoch) = waiting.first().map(|first| first.epoch) else { return prepared };
    let mut scratch = Scratch { newest: state, seq, own: None, alone: waiting.len() == 1 };
    let mut later = Vec::new();
    for waiting in waiting {
        let taken = log.writable_now().and_then(|()| scratch.take(&waiting.operations, epoch));
        // What others in this record do may never come to stand, so it is no reason to give.
        match taken.map_err(|error| scratch.reason(error, &waiting.operations, epoch)) {
            Ok(()) => {}
            Err(None) => {
                later.push(waiting);
                continue;
            }
            Err(Some(error)) if newest => {
                let _ = waiting.answer.send(Err(error));
                continue;
            }
            Err(Some(_)) => prepared.refused = true,
        }
        prepared.waiting.push(waiting);
    }
    if prepared.refused {
        prepared.waiting.append(&mut later);
    }
    log.queue.put_back(later);
    if prepared.waiting.is_empty() || prepared.refused {
        return prepared;
    }
    let mut operations = Vec::new();
    for waiting in &mut prepared.waiting {
        prepared.counts.push(waiting.operations.len());
        operations.append(&mut waiting.operations);
    }
    let (author, nonce) = (log.site.author.clone(), log.site.entropy.nonce());
    let previous = Some(previous);
    let record = Record { format: FORMAT, seq, previous, registry: None, author, nonce, epoch, operations };
    match encode(&record) {
        Ok(bytes) if bytes.len() > RECORD_LIMIT => {
            let size = bytes.len();
            answer_all(std::mem::take(&mut prepared.waiting), || Err(CommitError::TooLarge { size }));
        }
        Ok(bytes) => {
            prepared.bytes = bytes;
            prepared.record = Some(record);
        }
        Err(error) => {
            let error = error.to_string();
            let again = || Err(CommitError::Encode(serde::ser::Error::custom(&error)));
            answer_all(std::mem::take(&mut prepared.waiting), again);
        }
    }
    prepared
}

/// The state that operations are validated against, with those before them; copied as seldom as can be.
struct Scratch<S: State> {
    newest: Arc<S>,
    seq: u64,
    own: Option<S>,
    /// Whether nothing comes after the first caller's operations.
    alone: bool,
}

impl<S: State> Scratch<S> {
    /// Why refused operations may not follow the state that is known; none where only those before them forbid it.
    fn reason(
        &self,
        error: CommitError<S::Rejection>,
        operations: &[S::Operation],
        epoch: Epoch,
    ) -> Option<CommitError<S::Rejection>> {
        if self.own.is_none() {
            return Some(error);
        }
        let newest = Arc::clone(&self.newest);
        let mut fresh = Self { newest, seq: self.seq, own: None, alone: true };
        fresh.take(operations, epoch).err()
    }

    /// Validates one caller's operations, each after those before it; all or none are taken.
    fn take(&mut self, operations: &[S::Operation], epoch: Epoch) -> Result<(), CommitError<S::Rejection>> {
        let before = self.own.as_ref().unwrap_or(&self.newest);
        if let [only] = operations {
            before.validate(only, epoch).map_err(CommitError::Rejected)?;
            if !self.alone {
                self.own.get_or_insert_with(|| S::clone(&self.newest)).apply(self.seq, only);
            }
            return Ok(());
        }
        let mut after = before.clone();
        for operation in operations {
            after.validate(operation, epoch).map_err(CommitError::Rejected)?;
            after.apply(self.seq, operation);
        }
        self.own = Some(after);
        Ok(())
    }
}

/// How sending a record ended.
enum Attempt<S: State> {
    Written,
    /// Somebody else has the number.
    Lost,
    Failed(Box<dyn Fn() -> Answer<S> + Send>),
}

async fn attempt<S: State>(
    log: &Log<S>,
    record: &Record<S::Operation>,
    bytes: Bytes,
    begun: Duration,
) -> Attempt<S> {
    let seq = record.seq;
    let failed = |error: LogError| {
        let error = Arc::new(error);
        Attempt::Failed(Box::new(move || Err(CommitError::Replay(Arc::clone(&error)))))
    };
    let placed = place(&log.site, &log.names.record(seq), &bytes).await;
    if log.in_doubt() {
        // Whatever the answer is: the number may have been given, trimmed and given again while we were away.
        log.forget_place();
        return Attempt::Failed(Box::new(move || Err(CommitError::Stalled { seq })));
    }
    match placed {
        Ok(Placed::Own) => match log.genuine(seq).await {
            Ok(true) => {
                log.advance(record, Digest::of(&bytes), begun);
                log.note_own(seq);
                Attempt::Written
            }
            Ok(false) => Attempt::Failed(Box::new(move || Err(CommitError::Stalled { seq }))),
            Err(source) => {
                let source = Arc::new(source);
                Attempt::Failed(Box::new(move || {
                    Err(CommitError::OutcomeUnknown { seq, source: Arc::clone(&source) })
                }))
            }
        },
        Ok(Placed::Foreign(bytes)) => match log.append(seq, &bytes) {
            Ok(_) => Attempt::Lost,
            Err(error) => failed(error),
        },
        Err(source) => {
            let source = Arc::new(source);
            Attempt::Failed(Box::new(move || {
                Err(CommitError::OutcomeUnknown { seq, source: Arc::clone(&source) })
            }))
        }
    }
}

/// Cuts operations back into those of each caller.
fn give_back<S: State>(waiting: &mut [Waiting<S>], mut operations: Vec<S::Operation>, counts: &[usize]) {
    for (waiting, count) in waiting.iter_mut().zip(counts) {
        let rest = operations.split_off((*count).min(operations.len()));
        waiting.operations = std::mem::replace(&mut operations, rest);
    }
}
