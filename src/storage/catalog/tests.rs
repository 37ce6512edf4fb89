//! What the catalog refuses and what it answers.

use super::*;
use crate::model::{Digest, Member};
use crate::storage::blobs::BlobKey;
use crate::storage::records::{Rejection as _, State as _};

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn blob(n: u8, start: u64) -> NewBlob {
    let key = BlobKey { start, random: u64::from(n) };
    NewBlob { digest: digest(n), key, size: u64::from(n), chunks: None, media_type: "text/plain".into() }
}

fn member(n: u8) -> Member {
    Member {
        role: format!("asset/{n}"),
        name: "x".into(),
        digest: digest(n),
        size: u64::from(n),
        media_type: "text/plain".into(),
    }
}

/// A package whose document is blob 100 and whose members are these.
fn publication(name: &str, version: &str, release_version: u64, members: &[u8]) -> Publication {
    Publication {
        coordinate: Coordinate::new(name.parse().unwrap(), version.parse().unwrap()),
        digest: digest(200),
        release_version,
        document: digest(100),
        members: members.iter().map(|n| member(*n)).collect(),
        blobs: members.iter().chain([&100]).map(|n| blob(*n, 0)).collect(),
    }
}

fn apply(state: &mut CatalogState, publication: &Publication) -> Result<(), CatalogRejection> {
    let operation = CatalogOperation::Published(publication.clone());
    state.validate(&operation, Epoch::default())?;
    let seq = state.seq + 1;
    state.apply(seq, &operation);
    Ok(())
}

#[test]
fn a_version_never_changes() {
    let mut state = CatalogState::default();
    let first = publication("hello", "1", 0, &[1]);
    apply(&mut state, &first).unwrap();
    let same = apply(&mut state, &Publication { release_version: 5, ..first.clone() });
    assert!(matches!(same, Err(CatalogRejection::AlreadyPublished { release_version: 0, .. })));
    let other = apply(&mut state, &Publication { digest: digest(201), ..first.clone() });
    assert!(matches!(other, Err(CatalogRejection::VersionImmutable { .. })));
    let taken = apply(&mut state, &publication("hello", "2", 0, &[1]));
    assert!(matches!(taken, Err(CatalogRejection::ReleaseVersionTaken { .. })));
    apply(&mut state, &publication("hello", "2", 1, &[1])).unwrap();
    apply(&mut state, &publication("other", "2", 1, &[1])).unwrap();
}

#[test]
fn every_digest_needs_a_blob_of_its_length() {
    let mut state = CatalogState::default();
    let mut without = publication("hello", "1", 0, &[1, 2]);
    without.blobs.remove(1);
    let missing = apply(&mut state, &without);
    assert_eq!(missing, Err(CatalogRejection::UnknownBlob { digest: digest(2) }));
    let mut no_document = publication("hello", "1", 0, &[1]);
    no_document.blobs.pop();
    assert!(matches!(apply(&mut state, &no_document), Err(CatalogRejection::UnknownBlob { .. })));
    let mut longer = publication("hello", "1", 0, &[1]);
    longer.members[0].size = 9;
    assert!(matches!(apply(&mut state, &longer), Err(CatalogRejection::SizeDiffers { size: 1, .. })));
    let mut early = publication("hello", "1", 0, &[1]);
    early.blobs[0].key.start = 1;
    assert!(matches!(apply(&mut state, &early), Err(CatalogRejection::KeyFromTheFuture { .. })));
    assert_eq!(state, CatalogState::default());
    apply(&mut state, &publication("hello", "1", 0, &[1, 2])).unwrap();
    let mut reusing = publication("hello", "2", 1, &[2]);
    reusing.blobs.clear();
    apply(&mut state, &reusing).unwrap();
}

#[test]
fn a_digest_is_known_only_under_what_references_it() {
    let mut state = CatalogState::default();
    apply(&mut state, &publication("hello", "1", 0, &[1])).unwrap();
    apply(&mut state, &publication("other", "1", 0, &[2])).unwrap();
    let hello = Coordinate::new("hello".parse().unwrap(), "1".parse().unwrap());
    let (found, blob) = state.member(&hello, &digest(1)).unwrap();
    assert_eq!((found.role, blob.size), ("asset/1", 1));
    assert!(state.member(&hello, &digest(2)).is_none(), "it belongs to the other package");
    assert!(state.member(&hello, &digest(100)).is_none(), "the document is no file of the package");
}

#[test]
fn counts_tell_names_from_versions_and_count_shared_bytes_once() {
    let mut state = CatalogState::default();
    apply(&mut state, &publication("hello", "1", 0, &[1, 2])).unwrap();
    apply(&mut state, &publication("hello", "2", 1, &[2, 3])).unwrap();
    apply(&mut state, &publication("other", "1", 0, &[3])).unwrap();
    assert_eq!((state.name_count(), state.version_count(), state.total_bytes()), (2, 3, 106));
    let all: Vec<_> = state.packages().map(|entry| entry.coordinate.to_string()).collect();
    assert_eq!(all, ["hello 1", "hello 2", "other 1"]);
    assert_eq!(state.versions_of(&"hello".parse().unwrap()).count(), 2);
}

#[test]
fn of_two_copies_of_the_same_bytes_the_first_recorded_is_used() {
    let mut state = CatalogState::default();
    apply(&mut state, &publication("hello", "1", 0, &[1])).unwrap();
    let mut second = publication("other", "1", 0, &[1]);
    second.blobs.iter_mut().for_each(|blob| blob.key.random += 1_000);
    apply(&mut state, &second).unwrap();
    assert_eq!(state.blob(&digest(1)).unwrap().key.random, 1);
}

#[test]
fn the_shape_of_a_record_is_public() {
    let mut operation = publication("hello", "1", 0, &[1]);
    operation.blobs[0].chunks = Some(digest(7));
    let operation = CatalogOperation::Published(operation);
    let json = serde_json::to_value(&operation).unwrap();
    let published = &json["published"];
    assert_eq!(published["coordinate"], serde_json::json!({"name": "hello", "version": "1"}));
    assert_eq!(published["releaseVersion"], 0);
    assert_eq!(published["blobs"][0]["key"], "00000000000000000000-0000000000000001");
    assert_eq!(published["blobs"][1].get("chunks"), None);
    assert_eq!(serde_json::from_value::<CatalogOperation>(json.clone()).unwrap(), operation);
    let mut unknown = json;
    unknown["published"]["news"] = true.into();
    assert!(
        serde_json::from_value::<CatalogOperation>(unknown).is_err(),
        "an unknown field is never ignored"
    );
}

#[test]
fn a_copy_belongs_to_its_copier_until_it_takes_over() {
    let mut state = CatalogState::default();
    let mut say = |operation: CatalogOperation, epoch: u64| {
        let said = state.validate(&operation, Epoch(epoch)).map_err(|rejection| rejection.label());
        if said.is_ok() {
            let seq = state.seq + 1;
            state.apply(seq, &operation);
            let saved = CatalogState::load(&state.save().unwrap()).unwrap();
            assert_eq!(saved, state, "{operation:?}");
        }
        said
    };
    let publish = |version| CatalogOperation::Published(publication("hello", version, 0, &[1]));
    let copied = || CatalogOperation::CopiedFrom { registry: "other".into() };
    let moved = || CatalogOperation::Moved { to: "there".into(), registry: "third".into() };
    let gone = |version: &str| CatalogOperation::Unpublished {
        coordinate: Coordinate::new("hello".parse().unwrap(), version.parse().unwrap()),
    };
    assert_eq!(say(CatalogOperation::TookOver, 0), Err("Fenced"));
    assert_eq!(say(copied(), 0), Ok(()));
    assert_eq!(say(copied(), 0), Err("RegistryNotEmpty"));
    assert_eq!(say(publish("1"), 0), Err("RegistryIsCopy"));
    assert_eq!(say(CatalogOperation::Fence { epoch: Epoch(3) }, 3), Ok(()));
    assert_eq!(say(publish("1"), 2), Err("RegistryIsCopy"));
    assert_eq!(say(publish("1"), 3), Ok(()));
    assert_eq!(say(gone("1"), 0), Err("RegistryIsCopy"));
    assert_eq!(say(moved(), 0), Err("RegistryIsCopy"));
    assert_eq!(say(CatalogOperation::TookOver, 2), Err("Fenced"));
    assert_eq!(say(CatalogOperation::TookOver, 3), Ok(()));
    assert_eq!(say(CatalogOperation::TookOver, 3), Err("NotACopy"));
    assert_eq!(say(gone("1"), 0), Ok(()));
    assert_eq!(say(moved(), 0), Ok(()));
    for late in [publish("2"), moved(), copied()] {
        assert_eq!(say(late, 3), Err("RegistryMoved"));
    }
    assert_eq!((state.moved(), state.successor()), (Some("there"), Some("third")));
    assert_eq!((state.origin().map(|origin| &*origin.registry), state.copy_of()), (Some("other"), None));
}

#[test]
fn a_registry_with_packages_or_their_remains_becomes_no_copy() {
    let mut state = CatalogState::default();
    apply(&mut state, &publication("hello", "1", 0, &[1])).unwrap();
    let copied = CatalogOperation::CopiedFrom { registry: "other".into() };
    assert_eq!(state.validate(&copied, Epoch(0)), Err(CatalogRejection::NotEmpty));
    let coordinate = publication("hello", "1", 0, &[1]).coordinate;
    state.apply(2, &CatalogOperation::Unpublished { coordinate });
    assert_eq!(state.validate(&copied, Epoch(0)), Err(CatalogRejection::NotEmpty));
}

#[test]
fn saved_bytes_that_are_not_those_of_a_state_are_refused() {
    let mut state = CatalogState::default();
    let mut publication = publication("hello", "1", 0, &[1, 2]);
    publication.blobs[0].chunks = Some(digest(7));
    apply(&mut state, &publication).unwrap();
    let copy = Copy { digest: digest(9), key: BlobKey { start: 0, random: 9 } };
    Arc::make_mut(&mut state.condemned).insert(copy, 1);
    let saved = state.save().unwrap();
    assert_eq!(CatalogState::load(&saved).unwrap(), state);
    for length in 0..saved.len() {
        assert!(CatalogState::load(&saved[..length]).is_err(), "{length} of {} bytes", saved.len());
    }
    assert!(CatalogState::load(&[&saved[..], &[0]].concat()).unwrap_err().contains("1 bytes follow"));
    let other_form = [&[saved[0] + 1], &saved[1..]].concat();
    assert!(CatalogState::load(&other_form).unwrap_err().contains("form"));
}
