//! Where every request goes through: log, script, buckets, answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use tokio::sync::watch;

use super::ask::{Ask, Op};
use super::log::{Answer, Log};
use super::reply::Reply;
use super::script::{Cut, Fault, Later, Plan, Script, pick};
use super::wire::{self, Switch};
use super::world::{View, World, http_date};

/// What becomes of all requests of one access key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutOff {
    /// The connection is dropped; nothing is done.
    Drop(Cut),
    /// There is no answer for as long as it lasts; then the connection is dropped. Nothing is done.
    Hang,
    /// 403; nothing is done.
    Forbid,
}

/// All that the server is made of.
pub struct Desk {
    pub world: World,
    pub script: Script,
    pub log: Log,
    cut_off: watch::Sender<BTreeMap<String, CutOff>>,
    /// Counts the calls of `release`.
    released: watch::Sender<u64>,
    /// Counts the requests that were carried out.
    done: watch::Sender<u64>,
    held: AtomicUsize,
    repeats: Mutex<Vec<Repeat>>,
}

/// A write that is carried out once more.
struct Repeat {
    due: Due,
    ask: Ask,
    plan: Plan,
}

enum Due {
    Done(u64),
    Released,
}

/// How a request ends.
enum End {
    Reply(Reply),
    Drop(Cut),
}

impl Desk {
    pub fn new(world: World, script: Script) -> Self {
        Self {
            world,
            script,
            log: Log::default(),
            cut_off: watch::Sender::default(),
            released: watch::Sender::default(),
            done: watch::Sender::default(),
            held: AtomicUsize::new(0),
            repeats: Mutex::default(),
        }
    }

    pub fn cut_off(&self, client: &str, how: CutOff) {
        self.cut_off.send_modify(|clients| {
            clients.insert(client.to_owned(), how);
        });
    }

    pub fn let_in(&self, client: &str) {
        self.cut_off.send_modify(|clients| {
            clients.remove(client);
        });
    }

    /// Lets everything go on that waits for it; carries out the repeats that wait for it, before it returns.
    pub fn release(&self) {
        self.repeat(|due| matches!(due, Due::Released));
        self.released.send_modify(|count| *count += 1);
    }

    /// How many requests and repeats wait now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst) + self.repeats.lock().unwrap().len()
    }

    fn state_of(&self, ask: &Ask) -> Option<CutOff> {
        self.cut_off.borrow().get(ask.client.as_ref()?).copied()
    }

    async fn wait(&self, later: Later) {
        // Both watches begin before anyone can see that something is held.
        let (done, released) = (self.done.subscribe(), self.released.subscribe());
        self.held.fetch_add(1, Ordering::SeqCst);
        match later {
            Later::After(time) => self.world.clock.sleep(time).await,
            Later::Requests(count) => goes_up(done, count.max(1)).await,
            Later::Released => goes_up(released, 1).await,
        }
        self.held.fetch_sub(1, Ordering::SeqCst);
    }

    /// The whole way of a request. It goes on when the client has left.
    async fn serve(self: Arc<Self>, ask: Ask) -> (End, Plan) {
        let number = self.log.arrived(&ask);
        let plan = if self.state_of(&ask).is_some() { Plan::default() } else { self.script.plan(&ask) };
        self.log.planned(number, &plan);
        let mut end = self.decide(&ask, &plan).await;
        // Whoever was cut off meanwhile does not get the answer to what was done before.
        if self.state_of(&ask).is_some_and(|state| state != CutOff::Forbid) {
            end = End::Drop(Cut::Close);
        }
        let answer = match &end {
            End::Reply(reply) => Answer::Status(reply.status),
            End::Drop(_) => Answer::Dropped,
        };
        self.log.answered(number, answer);
        (end, plan)
    }

    async fn decide(self: &Arc<Self>, ask: &Ask, plan: &Plan) -> End {
        match self.state_of(ask) {
            None => {}
            Some(CutOff::Drop(cut)) => return End::Drop(cut),
            Some(CutOff::Forbid) => return End::Reply(Reply::refusal(403, ask.key())),
            Some(CutOff::Hang) => {
                let client = ask.client.clone().unwrap_or_default();
                let mut state = self.cut_off.subscribe();
                let _ = state.wait_for(|clients| !clients.contains_key(&client)).await;
                return End::Drop(Cut::Close);
            }
        }
        if let Some(refusal) = self.world.refusal(ask) {
            return End::Reply(if ask.op == Op::Head { refusal.without_body() } else { refusal });
        }
        if let Some(cut) = pick!(plan, DropBefore) {
            return End::Drop(cut);
        }
        if let Some(status) = pick!(plan, Refuse) {
            return End::Reply(Reply::refusal(status, ask.key()));
        }
        if let Some(later) = pick!(plan, Late) {
            self.wait(later).await;
        }
        let reply = self.apply(ask, plan).await;
        self.count_and_repeat(ask, plan);
        if let Some(cut) = pick!(plan, DropReply) {
            return End::Drop(cut);
        }
        if let Some(later) = pick!(plan, SlowHead) {
            self.wait(later).await;
        }
        match pick!(plan, Deny) {
            Some(status) => End::Reply(Reply::refusal(status, ask.key())),
            None if ask.op == Op::Get => End::Reply(wire::distort(reply, plan)),
            None => End::Reply(reply),
        }
    }

    async fn apply(&self, ask: &Ask, plan: &Plan) -> Reply {
        let view = View {
            before_last_change: plan.has(Fault::StaleGet),
            changes_ago: pick!(plan, StaleList).unwrap_or_default(),
        };
        if plan.has(Fault::IgnoreCondition) {
            return self.world.act(ask, view);
        }
        let gap = pick!(plan, CheckThenAct);
        let Some(gap) = gap else { return self.world.check_and_act(ask, view) };
        if let Err(refusal) = self.world.check(ask) {
            return refusal;
        }
        self.world.clock.sleep(gap).await;
        self.world.act(ask, view)
    }

    /// Counts a request as carried out and does what was to happen after so many.
    fn count_and_repeat(self: &Arc<Self>, ask: &Ask, plan: &Plan) {
        let mut now = 0;
        self.done.send_modify(|count| {
            *count += 1;
            now = *count;
        });
        self.repeat(|due| matches!(due, Due::Done(at) if *at <= now));
        let due = match pick!(plan, Again) {
            None => return,
            Some(Later::Requests(count)) => Due::Done(now + count.max(1)),
            Some(Later::Released) => Due::Released,
            Some(later @ Later::After(_)) => return self.repeat_after(later, ask.clone(), plan.clone()),
        };
        self.repeats.lock().unwrap().push(Repeat { due, ask: ask.clone(), plan: plan.clone() });
    }

    #[expect(clippy::disallowed_methods, reason = "it happens when nobody waits for it any more")]
    fn repeat_after(self: &Arc<Self>, later: Later, ask: Ask, plan: Plan) {
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            desk.wait(later).await;
            desk.carry_out_again(&ask, &plan);
        });
    }

    fn repeat(&self, is_due: impl Fn(&Due) -> bool) {
        let mut repeats = self.repeats.lock().unwrap();
        let (due, rest): (Vec<_>, Vec<_>) = repeats.drain(..).partition(|repeat| is_due(&repeat.due));
        *repeats = rest;
        for Repeat { ask, plan, .. } in due {
            self.carry_out_again(&ask, &plan);
        }
    }

    fn carry_out_again(&self, ask: &Ask, plan: &Plan) {
        if plan.has(Fault::IgnoreCondition) {
            self.world.act(ask, View::default());
        } else {
            self.world.check_and_act(ask, View::default());
        }
    }
}

/// Waits until a counter has gone up by so much since the watch began.
async fn goes_up(mut counter: watch::Receiver<u64>, by: u64) {
    let goal = *counter.borrow_and_update() + by;
    // The sender lives as long as the desk; when it goes, nobody waits any more.
    let _ = counter.wait_for(|count| *count >= goal).await;
}

/// Answers a request, or cuts its connection.
#[expect(clippy::disallowed_methods, reason = "a client that leaves must not stop what it has asked for")]
pub async fn answer(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let ended = match Ask::read(request).await {
        Some(ask) => tokio::spawn(Arc::clone(&desk).serve(ask)).await.unwrap(),
        None => (End::Drop(Cut::Close), Plan::default()),
    };
    let date = http_date(desk.world.now());
    match ended {
        (End::Reply(reply), plan) => wire::response(reply, &plan, &desk.world.clock, date),
        (End::Drop(how), plan) => {
            switch.cut(how);
            wire::response(Reply::empty(500), &plan, &desk.world.clock, date)
        }
    }
}
