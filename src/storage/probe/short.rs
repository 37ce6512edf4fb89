//! What everything rests on: one winner, and everybody sees at once what was written.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{Error, PutMode};

use super::{Finding, Probe, ProbeRow, failed, passed};
use crate::storage::backend::status;
use crate::storage::calls::{CallError, causes};

/// How many writers race for one key.
const RACERS: usize = 32;

/// How many races there are.
const ROUNDS: usize = 5;

/// How many races may end without a clear answer.
const UNCLEAR: usize = 5;

/// How long one create of a race may take; the server has 32 of them at a time.
const CREATE_LIMIT: Duration = Duration::from_secs(10);

/// What a conditional create was answered with.
enum Reply {
    Won,
    Lost,
    NotKnown,
    Unclear(CallError),
}

/// How a race ended.
enum Race {
    OneWinner,
    Unclear(String),
    Broken(String),
}

impl Probe {
    pub(super) async fn short(&self) -> Vec<ProbeRow> {
        vec![
            self.row("race of creates", self.races()).await,
            self.row("create over existing", self.create_twice()).await,
            self.row("read after write", self.read_after_write()).await,
            self.row("absence is not remembered", self.absence()).await,
            self.row("list after write", self.list_after_write()).await,
        ]
    }

    async fn create(&self, name: &str, bytes: Bytes) -> Reply {
        match self.calls.put(CREATE_LIMIT, &self.key(name), bytes, PutMode::Create).await {
            Ok(()) => Reply::Won,
            Err(CallError::Failed { source: Error::AlreadyExists { .. }, .. }) => Reply::Lost,
            Err(error) => {
                let words: Vec<_> = causes(&error).map(ToString::to_string).collect();
                let unknown = matches!(
                    error,
                    CallError::Failed {
                        source: Error::NotImplemented { .. } | Error::NotSupported { .. },
                        ..
                    }
                );
                let not_known = unknown || status(&words.join(" ")) == Some(501);
                if not_known { Reply::NotKnown } else { Reply::Unclear(error) }
            }
        }
    }

    async fn races(&self) -> Result<Finding, CallError> {
        let (mut clear, mut unclear) = (0, 0);
        while clear < ROUNDS {
            match self.race(clear + unclear).await? {
                Race::OneWinner => clear += 1,
                Race::Broken(why) => return Ok(failed(why)),
                Race::Unclear(why) if unclear == UNCLEAR => {
                    return Ok(failed(format!("no clear answer in {UNCLEAR} races ({why})")));
                }
                Race::Unclear(_) => unclear += 1,
            }
        }
        let repeated = if unclear == 0 { String::new() } else { format!(", {unclear} repeated") };
        Ok(passed(format!("{ROUNDS} races of {RACERS}, one winner each{repeated}")))
    }

    async fn race(&self, number: usize) -> Result<Race, CallError> {
        let name = format!("race/{number}");
        let bytes = |racer: usize| Bytes::from(format!("{} {number} {racer}", self.nonce));
        let replies = join_all((0..RACERS).map(|racer| self.create(&name, bytes(racer)))).await;
        if replies.iter().any(|reply| matches!(reply, Reply::NotKnown)) {
            return Ok(Race::Broken("the server does not know conditional writes (501)".into()));
        }
        let won = |(_, reply): &(usize, &Reply)| matches!(reply, Reply::Won);
        let winners: Vec<_> = replies.iter().enumerate().filter(won).map(|(racer, _)| racer).collect();
        let unclear = replies.iter().find_map(|reply| match reply {
            Reply::Unclear(error) => Some(error.to_string()),
            _ => None,
        });
        match (winners.as_slice(), unclear) {
            (all, _) if all.len() == RACERS => {
                Ok(Race::Broken("every create of one key succeeded: the server ignores the condition".into()))
            }
            (many, _) if many.len() > 1 => {
                let count = many.len();
                Ok(Race::Broken(format!(
                    "{count} of {RACERS} creates of one key succeeded: the condition is not checked atomically"
                )))
            }
            (_, Some(why)) => Ok(Race::Unclear(why)),
            ([winner], None) => {
                let key = self.key(&name);
                let read = self.read(&key);
                let kept = read.await?;
                Ok(if kept.as_ref() == Some(&bytes(*winner)) {
                    Race::OneWinner
                } else {
                    Race::Broken("what is read back is not what the winner wrote".into())
                })
            }
            // Conflicts that nobody won.
            _ => Ok(Race::Unclear("every create lost".into())),
        }
    }

    async fn create_twice(&self) -> Result<Finding, CallError> {
        let key = self.key("twice");
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
        self.again(|| self.calls.overwrite(&key, first.clone())).await?;
        for _ in 0..3 {
            match self.create("twice", second.clone()).await {
                Reply::Won => return Ok(failed("an existing object was overwritten")),
                Reply::NotKnown => return Ok(failed("the server does not know conditional writes (501)")),
                Reply::Unclear(_) => continue,
                Reply::Lost => {}
            }
            let read = self.read(&key).await?;
            return Ok(if read.as_ref() == Some(&first) {
                passed("refused, and nothing changed")
            } else {
                failed("refused, and the object changed all the same")
            });
        }
        Ok(failed("no clear answer"))
    }

    async fn read_after_write(&self) -> Result<Finding, CallError> {
        let key = self.key("read");
        for turn in 0..10 {
            let bytes = Bytes::from(format!("{turn}"));
            self.again(|| self.calls.overwrite(&key, bytes.clone())).await?;
            let read = self.read(&key).await?;
            if read.as_ref() != Some(&bytes) {
                return Ok(failed("a read did not show what had been written before it"));
            }
        }
        Ok(passed("the newest bytes, 10 times"))
    }

    async fn absence(&self) -> Result<Finding, CallError> {
        for turn in 0..5 {
            let key = self.key(&format!("absent/{turn}"));
            if self.read(&key).await?.is_some() {
                return Ok(failed("an object that nobody wrote is there"));
            }
            self.write(key.clone()).await?;
            if self.read(&key).await?.is_none() {
                return Ok(failed("a new object is not there: absence is remembered on the way (a cache?)"));
            }
            self.delete(key.clone()).await?;
            if self.read(&key).await?.is_some() {
                return Ok(failed("a deleted object is still there"));
            }
        }
        Ok(passed("there at once when written, gone at once when deleted"))
    }

    async fn listed(&self, folder: &Path) -> Result<BTreeSet<Path>, CallError> {
        let page = self.again(|| self.calls.page(folder, None, 100)).await?;
        Ok(page.into_iter().map(|listed| listed.key).collect())
    }

    async fn list_after_write(&self) -> Result<Finding, CallError> {
        let folder = self.key("list");
        let mut expected = BTreeSet::new();
        for turn in 0..10 {
            let key = self.key(&format!("list/{turn}"));
            self.write(key.clone()).await?;
            expected.insert(key);
        }
        if self.listed(&folder).await? != expected {
            return Ok(failed("a list does not show what was written before it"));
        }
        if let Some(gone) = expected.pop_first() {
            self.delete(gone).await?;
        }
        if self.listed(&folder).await? != expected {
            return Ok(failed("a list shows what was deleted before it"));
        }
        Ok(passed("the newest objects, and no deleted one"))
    }
}
