//! Copying and taking over, hurt or ended at every step on either side.

use super::*;

/// Copies with faults in both stores and begins anew until it is done; at no moment both act.
struct Trial {
    from: Store,
    to: Store,
}

impl Trial {
    async fn new() -> Self {
        let (memory, from) = memory(1).await;
        sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
        let (target, to) = super::memory(2).await;
        write_books(&from).await;
        copy(&from, &to, &options(false), &Unwatched).await.unwrap();
        // What is to be caught up with.
        sample("aa", "2", 2).publish_as(&from, NextFree).await.unwrap();
        unpublish(&from, &sample("aa", "1", 1).content.coordinate).await.unwrap();
        Self { from: Arc::new(memory.fork()), to: Arc::new(target.fork()) }
    }

    fn fork(memories: &(Arc<InMemory>, Arc<InMemory>)) -> Self {
        Self { from: Arc::new(memories.0.fork()), to: Arc::new(memories.1.fork()) }
    }

    /// Who acts, as both stand in their stores.
    async fn acts(&self) -> (bool, bool) {
        let (from, to) =
            (open(self.from.clone(), 91).await.unwrap(), open(self.to.clone(), 92).await.unwrap());
        // Before it is a copy, it is an empty registry that has nothing to do with the original.
        let is_copy = to.catalog.state().origin().is_some();
        (from.standstill().is_none(), is_copy && to.standstill().is_none())
    }

    /// One run with faults in the one store or the other.
    async fn run(&self, faults: [&[(usize, Fault)]; 2]) -> (Result<CopyReport, CopyError>, [usize; 2]) {
        let stores = [&self.from, &self.to].map(|inner| FaultStore::new(Arc::clone(inner)));
        let from = Arc::new(open(Arc::new(stores[0].clone()), 3).await.unwrap());
        let to = Arc::new(open(Arc::new(stores[1].clone()), 4).await.unwrap());
        for (store, faults) in stores.iter().zip(faults) {
            store.hurt(faults.iter().copied());
        }
        let done = copy(&from, &to, &options(true), &Unwatched).await;
        (done, stores.map(|store| store.steps().len()))
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_of_copying_and_taking_over_can_fail_or_be_the_last() {
    // A first copy of everything, and one that catches up.
    let (first, _) = memory(1).await;
    {
        let from = open(Arc::clone(&first) as _, 1).await.unwrap();
        sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
        write_books(&from).await;
    }
    let begin = (first, memory(2).await.0);
    let (mut tried, mut total) = (0, [0, 0]);
    for later in [false, true] {
        let memories = if later { caught_up_to(&begin).await } else { begin.clone() };
        let (done, steps) = Trial::fork(&memories).run([&[], &[]]).await;
        done.unwrap();
        for side in 0..2 {
            total[side] += steps[side];
            for step in 0..steps[side] {
                for fault in [Fault::DiesBefore, Fault::DiesAfter].into_iter().chain(Fault::SURVIVED) {
                    let trial = Trial::fork(&memories);
                    let hurt = [(step, fault)];
                    let faults: [&[_]; 2] = if side == 0 { [&hurt, &[]] } else { [&[], &hurt] };
                    let (done, _) = trial.run(faults).await;
                    let acts = trial.acts().await;
                    let when = format!("{fault:?} at {step} of side {side}: {acts:?}, {done:?}");
                    assert!(acts != (true, true), "{when}");
                    assert!(done.is_err() || acts == (false, true), "{when}");
                    trial.run([&[], &[]]).await.0.unwrap();
                    assert_eq!(trial.acts().await, (false, true), "{when}");
                    let (from, to) =
                        (open(trial.from.clone(), 5).await.unwrap(), open(trial.to, 6).await.unwrap());
                    assert_same(&from, &to).await;
                    tried += 1;
                }
            }
        }
    }
    println!("copy and cut-over: {total:?} steps at original and copy, {tried} trials");
}

/// Both after a copy, the original having gone on.
async fn caught_up_to(begin: &(Arc<InMemory>, Arc<InMemory>)) -> (Arc<InMemory>, Arc<InMemory>) {
    let (source, target) = (Arc::new(begin.0.fork()), Arc::new(begin.1.fork()));
    let from = Arc::new(open(Arc::clone(&source) as _, 7).await.unwrap());
    let to = Arc::new(open(Arc::clone(&target) as _, 8).await.unwrap());
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    sample("aa", "2", 2).publish_as(&from, NextFree).await.unwrap();
    unpublish(&from, &sample("aa", "1", 1).content.coordinate).await.unwrap();
    (source, target)
}

#[tokio::test(start_paused = true)]
async fn random_faults_on_both_sides_never_let_both_act() {
    for seed in 0..40 {
        let trial = Trial::new().await;
        for round in 0..8 {
            let stores = [&trial.from, &trial.to].map(|inner| FaultStore::new(Arc::clone(inner)));
            let from = Arc::new(open(Arc::new(stores[0].clone()), seed).await.unwrap());
            let to = Arc::new(open(Arc::new(stores[1].clone()), seed + 100).await.unwrap());
            for (n, store) in stores.iter().enumerate() {
                store.hurt_at_random(seed * 1_000 + round * 10 + n as u64, 30);
            }
            let done = copy(&from, &to, &options(true), &Unwatched).await;
            let acts = trial.acts().await;
            assert!(acts != (true, true), "seed {seed}, round {round}: {done:?}");
        }
        trial.run([&[], &[]]).await.0.unwrap();
        assert_eq!(trial.acts().await, (false, true), "seed {seed}");
        let (from, to) = (open(trial.from, 5).await.unwrap(), open(trial.to, 6).await.unwrap());
        assert_same(&from, &to).await;
    }
}
