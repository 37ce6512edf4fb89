//! Damaged bundles: whatever the damage, nothing panics, and a package digest never stands for other content.

use proptest::prelude::*;

use super::*;

/// A member with its place in the bundle.
type Placed = (Digest, usize, Vec<u8>);

/// The bundle as it is spooled while it arrives: zeros where members were kept apart; and those members, with their
/// places.
fn arrive(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Placed>) {
    let (mut arrival, mut spooled, mut members) = (Arrival::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        let mut piece = bytes::Bytes::copy_from_slice(piece);
        while let Some(part) = arrival.next(&mut piece) {
            match part {
                Part::Structure(bytes) => spooled.extend_from_slice(&bytes),
                Part::Begins(digest, size) => {
                    let size = usize::try_from(size).unwrap();
                    members.push((digest, spooled.len(), size, Vec::new()));
                    // An absurd length is that of a file with a hole, elsewhere.
                    spooled.resize(spooled.len() + size.min(1 << 20), 0);
                }
                Part::Member(bytes) => members.last_mut().unwrap().3.extend_from_slice(&bytes),
                Part::Ends => {}
            }
        }
        assert!(piece.is_empty());
    }
    let whole = members.into_iter().filter(|(_, _, size, bytes)| bytes.len() == *size);
    (spooled, whole.map(|(digest, at, _, bytes)| (digest, at, bytes)).collect())
}

/// What is accepted with holes is what is accepted without, and means the same.
fn arrives_alike(bytes: &[u8]) -> usize {
    let whole = open(bytes);
    let mut kept = 0;
    for piece in [1, 37, 1 << 20] {
        let (spooled, members) = arrive(bytes, piece);
        let (Ok(whole), holed) = (&whole, open(&spooled)) else {
            assert!(open(&spooled).is_err(), "accepted only with holes");
            continue;
        };
        assert_eq!(holed.unwrap().content(), whole.content());
        for (digest, at, member) in &members {
            assert_eq!(bytes[*at..].get(..member.len()), Some(member.as_slice()));
            assert!(
                whole.content().members.iter().any(|m| (m.digest, m.size) == (*digest, member.len() as u64))
            );
        }
        kept = members.len();
    }
    kept
}

#[test]
fn members_that_are_stored_as_they_are_are_kept_apart_and_no_others() {
    let [stored, other] = samples();
    assert_eq!((arrives_alike(&stored), arrives_alike(&other)), (2, 0));
    let mut long = Parts::good().zip();
    long.blob().long();
    assert_eq!(arrives_alike(&long.build()), 2, "zip64");
    let mut late = Parts::good().zip();
    late.items[3].described(true, false);
    assert_eq!(arrives_alike(&late.build()), 1, "what stands before a data descriptor");
}

/// Opens a damaged bundle and, where that goes well, reads what a publisher would take of it.
fn survive(bytes: &[u8], good: &PackageContent) {
    arrives_alike(bytes);
    let Ok(bundle) = open(bytes) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let same = bundle.content().digest() == good.digest();
    if same {
        let content = PackageContent { release_version: good.release_version, ..bundle.content().clone() };
        assert_eq!(&content, good);
    }
    for member in &bundle.content().members {
        // What has another digest or length is refused where it is stored.
        if let Ok(bytes) = runtime.block_on(read(&bundle, member)) {
            assert_eq!(bytes.len() as u64, member.size);
        }
    }
}

/// A stored bundle, and one with deflate, descriptors and zip64.
fn samples() -> [Vec<u8>; 2] {
    let mut other = Parts::good().zip();
    other.long = true;
    other.item("metadata.json").deflated().described(true, false);
    other.items[3].deflated().described(false, true);
    other.blob().long();
    [Parts::good().zip().build(), other.build()]
}

#[test]
fn every_single_bit_can_flip() {
    for sample in samples() {
        let good = open(&sample).unwrap().content().clone();
        // Of the large member some bytes will do.
        let structure =
            (0..sample.len()).filter(|at| *at < 1_800 || at % 50 == 0 || *at + 900 > sample.len());
        for at in structure {
            let mut bytes = sample.clone();
            for bit in [1, 0x80] {
                bytes[at] ^= bit;
                survive(&bytes, &good);
                bytes[at] ^= bit;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damage_is_survived(
        which in 0..2_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        doubled in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..200_usize)),
    ) {
        let sample = samples()[which].clone();
        let good = open(&sample).unwrap().content().clone();
        let mut bytes = sample;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some((from, to, length)) = doubled {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(&bytes, &good);
    }
}
