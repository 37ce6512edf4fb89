//! Rules: which requests go wrong, and how.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::ask::{Ask, Op};

/// One way in which a request goes wrong. Several may befall one request; of each kind the first one counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// The connection is dropped and nothing is done.
    DropBefore(Cut),
    /// It is done, and the connection is dropped instead of an answer.
    DropReply(Cut),
    /// It is done, answered, and later done once more as it was sent, its condition included.
    Again(Later),
    /// A status is answered (409, 412, 429, 500, 503 …) and nothing is done.
    Refuse(u16),
    /// It is done, and a status is answered as if it had not been.
    Deny(u16),
    /// It waits before it is done. A client that has left by then cannot take it back.
    Late(Later),
    /// It is done at once, and the answer waits.
    SlowHead(Later),
    /// The body comes in pieces of so many bytes, with a pause before each.
    Drip(usize, Duration),
    /// The body of a GET breaks off after so many bytes; its declared length was the true one.
    Truncate(usize),
    /// The body of a GET is shorter (or longer, by zeros) than the object, and its head declares just that.
    Resize(isize),
    /// The body of a GET has one bit of this byte turned over; the length is right.
    Flip(usize),
    /// GET and HEAD answer what was there before the last change of the key: an older version, or nothing.
    StaleGet,
    /// A listing shows the bucket as it was so many changes ago.
    StaleList(usize),
    /// The condition (`If-None-Match`, `If-Match`) is not looked at.
    IgnoreCondition,
    /// The condition is checked, then time passes, then it is written.
    CheckThenAct(Duration),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// An orderly end (FIN). The client takes that for "not sent" and sends again, conditional or not.
    Close,
    /// A reset (RST). The client sends again only what is idempotent; a create ends in an error.
    Reset,
}

/// When something held back happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// After this time.
    After(Duration),
    /// When so many further requests have been carried out (at least 1).
    Requests(u64),
    /// When `S3Double::release` is called.
    Released,
}

impl Fault {
    /// A word for logs and counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::DropBefore(_) => "DropBefore",
            Self::DropReply(_) => "DropReply",
            Self::Again(_) => "Again",
            Self::Refuse(_) => "Refuse",
            Self::Deny(_) => "Deny",
            Self::Late(_) => "Late",
            Self::SlowHead(_) => "SlowHead",
            Self::Drip(..) => "Drip",
            Self::Truncate(_) => "Truncate",
            Self::Resize(_) => "Resize",
            Self::Flip(_) => "Flip",
            Self::StaleGet => "StaleGet",
            Self::StaleList(_) => "StaleList",
            Self::IgnoreCondition => "IgnoreCondition",
            Self::CheckThenAct(_) => "CheckThenAct",
        }
    }
}

type KeyTest = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Which requests a fault befalls. Begins with all requests; every word narrows it.
#[derive(Clone)]
pub struct Rule {
    ops: Option<Vec<Op>>,
    keys: Vec<KeyTest>,
    client: Option<String>,
    skip: u64,
    take: u64,
    percent: u64,
    fault: Fault,
}

impl Rule {
    pub fn new(fault: Fault) -> Self {
        let (ops, keys, client) = (None, Vec::new(), None);
        Self { ops, keys, client, skip: 0, take: u64::MAX, percent: 100, fault }
    }

    /// These operations only.
    pub fn on(mut self, ops: &[Op]) -> Self {
        self.ops = Some(ops.to_vec());
        self
    }

    /// Keys (prefixes of listings) that begin so. One key of a bulk deletion is enough.
    pub fn prefix(self, prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        self.key(move |key| key.starts_with(&prefix))
    }

    /// Keys that pass a test. One key of a bulk deletion is enough.
    pub fn key(mut self, test: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.keys.push(Arc::new(test));
        self
    }

    /// Requests that this access key id signed.
    pub fn from(mut self, client: &str) -> Self {
        self.client = Some(client.to_owned());
        self
    }

    /// Only the n-th request that matches, counted from 1 since the rule was added.
    pub fn nth(self, n: u64) -> Self {
        self.after(n - 1).first(1)
    }

    /// Not the first so many that match.
    pub fn after(mut self, matches: u64) -> Self {
        self.skip = matches;
        self
    }

    /// At most so many of those that match.
    pub fn first(mut self, matches: u64) -> Self {
        self.take = matches;
        self
    }

    /// So many of a hundred. Seed, rule, operation, key and the count of that operation on that key decide, so
    /// that the order in which requests for different keys arrive changes nothing.
    pub fn percent(mut self, percent: u64) -> Self {
        self.percent = percent;
        self
    }

    fn matches(&self, ask: &Ask) -> bool {
        let key = |key: &String| self.keys.iter().all(|test| test(key));
        self.ops.as_ref().is_none_or(|ops| ops.contains(&ask.op))
            && self.client.as_ref().is_none_or(|client| ask.client.as_ref() == Some(client))
            && (self.keys.is_empty() || ask.keys.iter().any(key))
    }
}

/// Names a rule that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(u64);

/// The rules in force.
pub struct Script {
    seed: u64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    added: u64,
    rules: Vec<Entry>,
}

struct Entry {
    id: RuleId,
    rule: Rule,
    matched: u64,
    fired: u64,
    /// How often each operation on each key has matched; only kept for rules of chance.
    seen: HashMap<(Op, String), u64>,
}

impl Script {
    pub fn new(seed: u64) -> Self {
        Self { seed, inner: Mutex::default() }
    }

    /// Puts a rule in force.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut inner = self.inner.lock().unwrap();
        inner.added += 1;
        let id = RuleId(inner.added);
        inner.rules.push(Entry { id, rule, matched: 0, fired: 0, seen: HashMap::new() });
        id
    }

    pub fn remove(&self, id: RuleId) {
        self.inner.lock().unwrap().rules.retain(|entry| entry.id != id);
    }

    /// From now on everything goes well.
    pub fn clear(&self) {
        self.inner.lock().unwrap().rules.clear();
    }

    /// How many requests a rule has befallen; 0 once it is removed.
    pub fn fired(&self, id: RuleId) -> u64 {
        let inner = self.inner.lock().unwrap();
        inner.rules.iter().find(|entry| entry.id == id).map_or(0, |entry| entry.fired)
    }

    /// What befalls a request. Counts it for every rule that matches.
    pub fn plan(&self, ask: &Ask) -> Plan {
        let mut inner = self.inner.lock().unwrap();
        let matching = inner.rules.iter_mut().filter(|entry| entry.rule.matches(ask));
        let firing = matching.filter_map(|entry| entry.fires(self.seed, ask).then_some(entry.rule.fault));
        Plan(firing.collect())
    }
}

impl Entry {
    fn fires(&mut self, seed: u64, ask: &Ask) -> bool {
        self.matched += 1;
        let place = self.matched - 1;
        let in_turn = place >= self.rule.skip && place - self.rule.skip < self.rule.take;
        let fires = in_turn && (self.rule.percent >= 100 || self.chance(seed, ask));
        self.fired += u64::from(fires);
        fires
    }

    fn chance(&mut self, seed: u64, ask: &Ask) -> bool {
        let count = self.seen.entry((ask.op, ask.key().to_owned())).or_default();
        *count += 1;
        let words = format!("{seed}/{}/{:?}/{count}/{}", self.id.0, ask.op, ask.key());
        let digest = Sha256::digest(words);
        let (first, _) = digest.split_first_chunk::<8>().unwrap();
        u64::from_le_bytes(*first) % 100 < self.rule.percent
    }
}

/// The faults of one request.
#[derive(Debug, Clone, Default)]
pub struct Plan(Vec<Fault>);

impl Plan {
    /// The first fault that is of a kind.
    pub fn find<T>(&self, kind: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(kind)
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(Fault::label)
    }
}

/// What the first fault of a kind carries: `pick!(plan, Refuse)` is a status, or none.
macro_rules! pick {
    ($plan:expr, $kind:ident) => {
        $plan.find(|fault| match fault {
            Fault::$kind(value) => Some(*value),
            _ => None,
        })
    };
}
pub(super) use pick;
