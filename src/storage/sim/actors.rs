//! Those who want something of the registry, and what they check of what they are told.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;

use super::instance::Instance;
use super::settings::Dice;
use super::witness::Witness;
use super::world::Phase;
use crate::model::{Coordinate, Digest, Member, PackageContent};
use crate::storage::blobs::BlobError;
use crate::storage::catalog::{CatalogOperation, CatalogRejection, CatalogState};
use crate::storage::control::{ControlOperation, Request};
use crate::storage::publish::{MemberReader, PublishError, ReleaseVersion, publish};
use crate::storage::reading::ReadError;
use crate::storage::records::CommitError;
use crate::storage::tests::{coordinate, noise};
use crate::telemetry::chain;

const NAMES: u64 = 4;
const VERSIONS: u64 = 5;

/// Ends the instance in an orderly way some day.
pub(super) async fn stops(own: Arc<Instance>) {
    let span = own.dice.span(5_000, 400_000);
    let end = own.world.now() + span;
    loop {
        let phase = own.world.phase();
        if phase == Phase::Over || (phase == Phase::Chaos && own.world.now() > end) {
            break;
        }
        own.clock.sleep(Duration::from_secs(1)).await;
    }
    own.line("stops");
    own.stop.cancel();
}

/// Keeps up with the catalog; in the end says whether both states are those of everybody else.
pub(super) async fn follows(own: Arc<Instance>) {
    while !own.stopped() {
        let floor = own.world.inner().witness.catalog.tail();
        match own.storage.catalog.follow().await {
            Ok(seq) if seq < floor => own.broke(&format!("reading ended at record {seq}, {floor} was there")),
            Ok(_) => {}
            Err(error) => own.log_error(&error),
        }
        if own.world.phase() == Phase::Quiet {
            let _ = own.storage.control.follow().await;
            own.world.agree(own.who, &own.storage);
        }
        own.rest(Duration::from_millis(1_300)).await;
    }
}

/// Writes snapshots and hints.
pub(super) async fn tends(own: Arc<Instance>) {
    while !own.stopped() {
        for tended in [own.storage.catalog.tend().await, own.storage.control.tend().await] {
            if let Err(error) = tended {
                own.log_error(&error);
            }
        }
        own.rest(Duration::from_millis(700)).await;
    }
}

/// A package to be published, and whether nobody else has the same.
struct Wanted {
    content: PackageContent,
    bytes: Vec<Vec<u8>>,
    unique: bool,
}

fn anything(dice: &Dice) -> Wanted {
    let (name, version) = (dice.below(NAMES), dice.below(VERSIONS));
    let unique = dice.one_in(2);
    let variant = if unique { dice.next() } else { dice.below(2) };
    let mut members = Vec::new();
    let mut all = Vec::new();
    for n in 0..dice.below(4) {
        // Few files, so that packages share them and lose their last reference often.
        let bytes = if n == 0 && unique { noise(60, variant) } else { noise(40, dice.below(6)) };
        let role = format!("asset/{n}");
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        members.push(Member { role, name: format!("f{n}"), digest, size, media_type: "text/plain".into() });
        all.push(bytes);
    }
    let metadata = json!({"name": format!("name-{name}"), "version": version, "variant": variant});
    let coordinate = coordinate(&format!("name-{name}"), &version.to_string());
    let content = PackageContent { coordinate, release_version: None, metadata, members };
    Wanted { content, bytes: all, unique }
}

/// Publishes packages, some again, some with other content, some slowly.
pub(super) async fn publishes(own: Arc<Instance>) {
    while own.busy() {
        own.leisure().await;
        let wanted = anything(&own.dice);
        let (coordinate, digest) = (wanted.content.coordinate.clone(), wanted.content.digest());
        let release = match own.dice.below(3) {
            0 => ReleaseVersion::NextFree,
            _ => ReleaseVersion::Exactly(own.dice.below(2 * VERSIONS)),
        };
        let slow = if own.dice.one_in(6) { own.dice.span(1_000, 60_000) } else { Duration::ZERO };
        let open = |member: &Member| {
            let at = wanted.content.members.iter().position(|m| m == member).unwrap();
            let reader: MemberReader = Box::new(std::io::Cursor::new(wanted.bytes[at].clone()));
            let own = &own;
            Box::pin(async move {
                let left = own.world.settings.chaos.saturating_sub(own.world.now());
                own.clock.sleep(slow.min(left)).await;
                Ok(reader)
            }) as BoxFuture<'_, _>
        };
        let start = own.world.now();
        let outcome = publish(&own.storage, &wanted.content, open, release).await;
        let span = (start, own.world.now());
        let word = match &outcome {
            Ok(published) if published.already => "had been there".to_owned(),
            Ok(_) => "was published".to_owned(),
            Err(error) => chain(error),
        };
        own.line(&format!("{coordinate} {word}"));
        let verdict = match outcome {
            Ok(published) if published.already => own.held(&coordinate, Some(published.digest), span),
            Ok(published) => {
                own.world.count("published");
                own.world.inner().witness.published(&coordinate, published.digest, span)
            }
            Err(PublishError::VersionImmutable { published, .. }) => {
                own.held(&coordinate, Some(published), span)
            }
            Err(error) => {
                let unknown = own.publish_unknown(&error);
                let refused = !unknown && wanted.unique;
                if refused { own.world.inner().witness.refused(digest) } else { Ok(()) }
            }
        };
        own.world.check(own.who, verdict);
    }
}

impl Instance {
    fn held(
        &self,
        coordinate: &Coordinate,
        digest: Option<Digest>,
        span: (Duration, Duration),
    ) -> Result<(), String> {
        self.world.inner().witness.held(coordinate, digest, span)
    }

    fn publish_unknown(&self, error: &PublishError) -> bool {
        match error {
            PublishError::Commit { source, .. } => {
                if let CommitError::Rejected(CatalogRejection::SessionExpired { .. }) = **source {
                    self.world.count("expired");
                }
                self.unknown(source)
            }
            PublishError::Follow(error) => {
                self.log_error(error);
                false
            }
            PublishError::Store { source, .. } => {
                if matches!(**source, BlobError::WrongDigest { .. } | BlobError::Damaged { .. }) {
                    self.broke(&chain(error));
                }
                false
            }
            _ => false,
        }
    }

    /// Anything that is published, or may be.
    fn any(&self, state: &CatalogState) -> Coordinate {
        let count = state.version_count() as u64;
        let nth = usize::try_from(self.dice.below(count)).unwrap_or(0);
        match state.packages().nth(nth) {
            Some(entry) if !self.dice.one_in(10) => entry.coordinate.clone(),
            _ => coordinate(
                &format!("name-{}", self.dice.below(NAMES)),
                &self.dice.below(VERSIONS).to_string(),
            ),
        }
    }
}

/// Takes packages away.
pub(super) async fn unpublishes(own: Arc<Instance>) {
    while own.busy() {
        own.leisure().await;
        own.leisure().await;
        // By a slow clock that may have been minutes.
        if !own.busy() {
            return;
        }
        let coordinate = own.any(&own.storage.catalog.state());
        let start = own.world.now();
        let outcome = own.storage.catalog.unpublish(coordinate.clone()).await;
        let span = (start, own.world.now());
        let verdict = match outcome {
            Ok(committed) => {
                own.line(&format!("{coordinate} was taken away by record {}", committed.seq));
                let inner = own.world.inner();
                let said = Witness::acknowledged(&inner.witness.catalog, committed.seq, &own.author, span);
                said.and_then(|said| {
                    let gone = CatalogOperation::Unpublished { coordinate: coordinate.clone() };
                    let there = said.contains(&gone);
                    if there { Ok(()) } else { Err(format!("no record takes {coordinate} away")) }
                })
            }
            Err(CommitError::Rejected(CatalogRejection::NotPublished { .. })) => {
                own.held(&coordinate, None, span)
            }
            Err(error) => {
                own.line(&format!("{coordinate} was not taken away: {}", chain(&error)));
                own.unknown(&error);
                Ok(())
            }
        };
        own.world.check(own.who, verdict);
    }
}

/// Reads packages after a look at the tail: what was acknowledged before must be seen, and its bytes be right.
pub(super) async fn reads(own: Arc<Instance>) {
    while own.busy() {
        own.leisure().await;
        let floor = own.world.inner().witness.catalog.tail();
        match own.storage.catalog.follow().await {
            Ok(seq) if seq < floor => {
                own.broke(&format!("reading ended at record {seq}, {floor} was there"));
            }
            Ok(_) => {}
            Err(error) => {
                own.log_error(&error);
                continue;
            }
        }
        let (state, seq) = (own.storage.catalog.state(), own.storage.catalog.seq());
        let coordinate = own.any(&state);
        let digest = state.entry(&coordinate).map(|entry| entry.digest);
        let seen = own.world.inner().witness.seen(&coordinate, digest, seq);
        own.world.check(own.who, seen);
        own.reads_bytes(&state, &coordinate).await;
    }
}

impl Instance {
    async fn reads_bytes(&self, state: &CatalogState, coordinate: &Coordinate) {
        let Some(entry) = state.entry(coordinate) else { return };
        for digest in entry.members.iter().map(|member| member.digest).chain([entry.document]) {
            let Some(blob) = state.blob(&digest) else {
                return self.broke(&format!("{coordinate} references {digest}, which is not known"));
            };
            match self.storage.read_all(&digest, 1 << 20).await {
                Ok(bytes) if Digest::of(&bytes) == digest => self.world.count("reads"),
                Ok(_) => self.broke(&format!("other bytes were handed out for {digest}")),
                Err(error @ ReadError::Damaged { .. }) => {
                    // It may have been unpublished and collected while we read.
                    self.world.count("vanished");
                    let named = self.world.inner().witness.catalog.state.blob(&digest) == Some(blob);
                    if named {
                        self.broke(&chain(&error));
                    }
                }
                Err(_) => {}
            }
        }
    }
}

/// Asks whoever leads for something.
pub(super) async fn asks(own: Arc<Instance>) {
    let mut number = 0;
    while own.busy() {
        own.rest(own.dice.span(2_000, 20_000)).await;
        number += 1;
        let id = format!("{}-{number}", own.author);
        let start = own.world.now();
        let outcome = own.storage.control.request(&id, Request::Reconcile).await;
        let span = (start, own.world.now());
        let verdict = match outcome {
            Ok(committed) => {
                let inner = own.world.inner();
                let said = Witness::acknowledged(&inner.witness.control, committed.seq, &own.author, span);
                said.and_then(|said| {
                    let asked = ControlOperation::Requested { id: id.clone(), request: Request::Reconcile };
                    if said.contains(&asked) { Ok(()) } else { Err(format!("no record asks for {id}")) }
                })
            }
            Err(error) => {
                own.line(&format!("request {id}: {}", chain(&error)));
                own.unknown(&error);
                Ok(())
            }
        };
        own.world.check(own.who, verdict);
    }
}
