//! Taking over: only from somebody of whom nothing was heard, up to the very record that takes over.

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::storage::faults::{Fault, FaultStore};

struct Pair {
    clock: Clock,
    holder: Arc<Storage>,
    tenure: Tenure,
    other: Candidate,
    way: FaultStore,
}

fn candidate(storage: &Arc<Storage>, clock: &Clock, seed: u64) -> Candidate {
    let (storage, clock, entropy) = (Arc::clone(storage), clock.clone(), Entropy::seeded(seed));
    Candidate { storage, times: LeaseTimes::default(), clock, entropy }
}

/// One instance that leads, and another on a way to the store that can be made to fail.
async fn pair() -> Pair {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let way = FaultStore::new(Arc::clone(&store));
    let clock = Clock::simulated(1.0, Duration::ZERO);
    let holder = Arc::new(Storage::open(store, clock.clone(), Entropy::seeded(1)).await.unwrap());
    let tenure = candidate(&holder, &clock, 2).campaign(&CancellationToken::new()).await.unwrap().unwrap();
    let other = Storage::open(Arc::new(way.clone()), clock.clone(), Entropy::seeded(3)).await.unwrap();
    let other = candidate(&Arc::new(other), &clock, 4);
    Pair { clock, holder, tenure, other, way }
}

#[tokio::test(start_paused = true)]
async fn whoever_hears_of_the_holder_while_taking_over_lets_it_be() {
    let Pair { clock, holder, tenure, other, way } = pair().await;
    let stop = CancellationToken::new();
    // For longer than the ttl the other finds nothing new, as if each answer were from before the renewals.
    way.hurt((1..8).map(|step| (step, Fault::Stale)));
    let waits = async {
        clock.sleep(Duration::from_secs(60)).await;
        stop.cancel();
    };
    let kept = async {
        tokio::select! {
            biased;
            () = tenure.keep() => panic!("the lease was lost"),
            () = stop.cancelled() => {}
        }
    };
    let (taken, (), ()) = futures::join!(other.campaign(&stop), kept, waits);
    assert!(taken.unwrap().is_none(), "two may act");
    assert!(way.steps()[8..].iter().any(|step| step.starts_with("put")), "it never tried");
    assert!(tenure.check(Duration::from_secs(1)).is_ok());
    assert_eq!(holder.control.state().epoch, Epoch(1));
}

#[tokio::test(start_paused = true)]
async fn a_request_of_somebody_else_does_not_keep_the_lease_from_being_taken_over() {
    let Pair { clock, holder, other, .. } = pair().await;
    let stop = CancellationToken::new();
    // The holder is silent from now on, and somebody asks for something all the time.
    let asks = async {
        for number in 0.. {
            let request = crate::storage::control::Request::Reconcile;
            if holder.control.request(&number.to_string(), request).await.is_err() {
                break;
            }
            clock.sleep(Duration::from_millis(700)).await;
        }
        std::future::pending::<()>().await;
    };
    let begun = clock.boot();
    let taken = tokio::select! {
        biased;
        taken = other.campaign(&stop) => taken.unwrap().unwrap(),
        () = asks => unreachable!(),
    };
    assert_eq!(taken.epoch(), Epoch(2));
    let waited = clock.boot().saturating_sub(begun);
    assert!((12..18).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_back_is_taken_at_the_next_look() {
    let Pair { clock, tenure, other, .. } = pair().await;
    let begun = clock.boot();
    let stop = CancellationToken::new();
    let (released, taken) = futures::join!(tenure.release(), other.campaign(&stop));
    released.unwrap();
    assert_eq!(taken.unwrap().unwrap().epoch(), Epoch(2));
    assert!(clock.boot().saturating_sub(begun) < Duration::from_secs(3));
    assert!(tenure.check(Duration::ZERO).is_err());
}
