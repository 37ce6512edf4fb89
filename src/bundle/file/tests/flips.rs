//! Damaged bundles: whatever the damage, nothing panics, and a package digest never stands for other content.

use proptest::prelude::*;

use super::*;

/// Opens a damaged bundle and, where that goes well, reads what a publisher would take of it.
fn survive(bytes: &[u8], good: &PackageContent) {
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
