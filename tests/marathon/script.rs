//! What is combined: faults, what becomes of tasks, and what we do.

use std::fmt;

use serde_json::{Value, json};

/// The app of all combinations.
pub const ID: &str = "/fault/app";

/// What we do to the app. All but the first find it running, with 2 instances.
pub const ACTIONS: [&str; 4] = ["create", "update", "scale", "delete"];

/// One combination.
#[derive(Debug, Clone)]
pub struct Script {
    pub fault: Faults,
    pub outcome: Outcome,
    pub action: &'static str,
    pub seed: u64,
}

/// Switches that are turned on together, and what they come to.
#[derive(Debug, Clone)]
pub struct Faults {
    pub name: &'static str,
    pub fault: Fault,
    pub switches: Vec<Value>,
    /// Seconds after which all is well again.
    pub ends_after: Option<u64>,
    /// What somebody else does 20 seconds after our write was accepted.
    pub meddling: Option<Meddling>,
    /// Whether we listen to events.
    pub listens: bool,
    /// Whether the change is forced over another deployment of ours.
    pub forced: bool,
    /// For how many requests a token is good, where one is needed.
    pub needs_token: bool,
}

/// What faults come to in the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Nothing.
    Passes,
    /// The deployment does not end.
    Holds,
    /// Nobody lets us see the app.
    Blinds,
    /// Nobody lets us write.
    Refuses,
    /// Somebody puts something else there.
    Overwrites,
    /// Somebody puts back what was there before.
    Restores,
    /// Somebody does something else, if there is still time.
    Meddles,
}

/// What somebody else does while our change is under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Meddling {
    /// Undoes the deployment.
    Undo,
    /// Ends the deployment where it is.
    Cancel,
    /// Removes the app, by force.
    Remove,
    /// Restarts the app, by force.
    Restart,
    /// Creates or changes the app, by force.
    Overwrite,
}

/// What becomes of the tasks that our change launches.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub name: &'static str,
    /// As the local Marathon is told.
    pub told: Value,
    /// Whether tasks come to run and to be healthy and ready within the deadline.
    pub works: bool,
    /// Whether the app has a readiness check.
    pub asks: bool,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} with {} tasks under {:?}, seed {}",
            self.action, self.outcome.name, self.fault.name, self.seed
        )
    }
}

impl Script {
    /// Whether nobody may be left to ask whether tasks are ready: another leader that finds all tasks of a scaling
    /// there, or due, waits for none of them (`TaskStartActor.scala`).
    pub fn may_forget_readiness(&self) -> bool {
        let another_leader = self.fault.switches.iter().any(|switch| switch["kind"] == "leaderChange");
        self.outcome.asks && another_leader && self.action != "update"
    }
}

/// What may become of tasks.
pub fn outcomes() -> Vec<Outcome> {
    let outcome = |name, told, works| Outcome { name, told, works, asks: false };
    let fails = |startup, after, times| json!({"outcome": "fails", "startup": startup, "after": after, "times": times});
    vec![
        outcome("good", json!({"outcome": "runs"}), true),
        outcome("slow", json!({"outcome": "runs", "startup": 40, "stopping": 2}), true),
        outcome("failing", json!({"outcome": "fails", "after": 2}), false),
        outcome("sick", json!({"outcome": "neverHealthy"}), false),
        outcome("homeless", json!({"outcome": "noOffers", "reason": "InsufficientMemory"}), false),
        outcome("healing", fails(0, 2, 3), true),
        // With up to four at a time this takes at least five minutes, the deadline.
        outcome("late", fails(60, 1, 24), false),
        Outcome { asks: true, ..outcome("unready", json!({"outcome": "neverReady"}), false) },
    ]
}

/// All faults.
pub fn faults() -> Vec<Faults> {
    let mut all = requests();
    all.extend(states());
    all.extend(others());
    all
}

fn faults_of(name: &'static str, fault: Fault, switches: Vec<Value>) -> Faults {
    Faults {
        name,
        fault,
        switches,
        ends_after: None,
        meddling: None,
        listens: false,
        forced: false,
        needs_token: false,
    }
}

/// Faults of single requests.
fn requests() -> Vec<Faults> {
    let passes = |name, switches| faults_of(name, Fault::Passes, switches);
    let refuse = |with: &str, more: Value| {
        let mut switch = json!({"kind": "refuse", "with": with});
        switch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        switch
    };
    vec![
        passes("nothing", vec![]),
        passes("a stranger's lock now and then", vec![refuse("locked", json!({"rate": 0.6, "times": 4}))]),
        passes("too many deployments at first", vec![refuse("tooMany", json!({"times": 2}))]),
        passes(
            "reads forbidden now and then",
            vec![refuse("forbidden", json!({"rate": 0.5, "methods": ["GET"]}))],
        ),
        passes("errors of writes", vec![refuse("json", json!({"status": 500, "times": 2}))]),
        passes(
            "errors of reads",
            vec![refuse("empty", json!({"status": 500, "rate": 0.5, "methods": ["GET"]}))],
        ),
        passes(
            "pages of a proxy",
            vec![refuse(
                "html",
                json!({"status": 502, "rate": 0.4, "times": 8, "methods": ["GET", "PUT", "POST", "DELETE"]}),
            )],
        ),
        passes(
            "404 of a proxy",
            vec![refuse("html", json!({"status": 404, "rate": 0.5, "times": 8, "methods": ["GET"]}))],
        ),
        passes("no leader for a few requests", vec![refuse("leaderless", json!({"times": 3}))]),
        passes("a cut after the write", vec![json!({"kind": "cutAfterWrite", "times": 1})]),
        passes(
            "a cut after the write and errors of reads",
            vec![
                json!({"kind": "cutAfterWrite", "times": 1}),
                refuse("json", json!({"status": 503, "rate": 0.5, "times": 6, "methods": ["GET"]})),
            ],
        ),
        passes(
            "another leader while we write",
            vec![json!({"kind": "leaderChange", "milliseconds": 20_000, "times": 1})],
        ),
        passes(
            "other leaders while we read",
            vec![
                json!({"kind": "leaderChange", "milliseconds": 8_000, "rate": 0.3, "times": 3, "methods": ["GET"]}),
            ],
        ),
        Faults {
            needs_token: true,
            ..passes("tokens that end", vec![json!({"kind": "expireTokens", "uses": 3})])
        },
        faults_of("writes forbidden", Fault::Refuses, vec![refuse("forbidden", json!({}))]),
        faults_of("a lock that stays", Fault::Refuses, vec![refuse("locked", json!({}))]),
    ]
}

/// Faults of what Marathon does and shows.
fn states() -> Vec<Faults> {
    let stuck = || vec![json!({"kind": "stuck", "apps": [ID]})];
    let hide = || vec![json!({"kind": "hide", "apps": ["/fault"]})];
    let events = |name, stream: &str| Faults {
        listens: true,
        ..faults_of(
            name,
            Fault::Passes,
            vec![json!({"kind": "events", "stream": stream, "rate": 0.7, "milliseconds": 3_000})],
        )
    };
    vec![
        faults_of("a stuck deployment", Fault::Holds, stuck()),
        Faults {
            ends_after: Some(60),
            ..faults_of("a deployment stuck for a minute", Fault::Passes, stuck())
        },
        faults_of("an app that is hidden", Fault::Blinds, hide()),
        Faults { ends_after: Some(60), ..faults_of("an app hidden for a minute", Fault::Passes, hide()) },
        Faults {
            forced: true,
            ..faults_of(
                "a gap after force",
                Fault::Passes,
                vec![json!({"kind": "gap", "milliseconds": 4_000})],
            )
        },
        events("events that are lost", "lossy"),
        events("events that lie", "lying"),
        events("events of others", "foreign"),
        events("events in disorder", "disorder"),
        events("streams that end", "cut"),
        events("slow events", "slow"),
    ]
}

/// What others do.
fn others() -> Vec<Faults> {
    let writer = |patch: Value| json!({"kind": "secondWriter", "apps": [ID], "patch": patch, "times": 1});
    let meddles =
        |name, meddling| Faults { meddling: Some(meddling), ..faults_of(name, Fault::Meddles, vec![]) };
    vec![
        faults_of(
            "another command by somebody else",
            Fault::Overwrites,
            vec![writer(json!({"cmd": "theirs"}))],
        ),
        faults_of("another size by somebody else", Fault::Overwrites, vec![writer(json!({"instances": 3}))]),
        faults_of(
            "somebody else's write and a cut",
            Fault::Overwrites,
            vec![json!({"kind": "cutAfterWrite", "times": 1}), writer(json!({"env": {"WHO": "them"}}))],
        ),
        faults_of(
            "the old one put back by somebody else",
            Fault::Restores,
            vec![writer(json!({"cmd": "old", "env": {}}))],
        ),
        meddles("an undone deployment", Meddling::Undo),
        meddles("a cancelled deployment", Meddling::Cancel),
        meddles("a removed app", Meddling::Remove),
        meddles("a restarted app", Meddling::Restart),
        meddles("an overwritten app", Meddling::Overwrite),
    ]
}
