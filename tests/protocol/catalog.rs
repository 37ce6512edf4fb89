//! What the catalog's validation allows, reduced to one digest: which of its copies may be named, and by whom
//! the operations of the leader may be written. Both models of the catalog stand on this.
//!
//! One digest is enough: no rule looks at two. Two packages may reference it.

/// A copy of the bytes: the index of its key.
pub type Key = usize;

/// The protocol, and the ways to get it wrong.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each rule of the protocol can be broken alone")]
pub struct Rules {
    /// Whether an operation of the leader is refused below the fence.
    pub fenced: bool,
    /// Whether a leader commits its fence before its first operation.
    pub fences_first: bool,
    /// Whether the epoch must be that of the fence, not just as high.
    pub fence_exactly: bool,
    /// Whether a publish may name a new key only if its session began at the watermark or later.
    pub watermark: bool,
    /// Whether a retired key is condemned before it is deleted.
    pub condemns: bool,
    /// Whether a key leaves the state only when the watermark has passed it.
    pub purges_behind: bool,
    /// Whether orphans are looked for in a state that holds the watermark.
    pub lists_after: bool,
    /// Whether only a retired key may be condemned.
    pub condemns_retired: bool,
    /// Whether the copy that is held for damaged cannot be brought as its own replacement.
    pub replaces_by_another: bool,
    /// Whether the controller puts what its books will name, and names it, without orphans being judged between.
    pub takes_turns: bool,
}

impl Rules {
    /// The protocol.
    pub fn right() -> Self {
        Self {
            fenced: true,
            fences_first: true,
            fence_exactly: true,
            watermark: true,
            condemns: true,
            purges_behind: true,
            lists_after: true,
            condemns_retired: true,
            replaces_by_another: true,
            takes_turns: true,
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// A package references the digest, with a new copy or with the one that is there.
    Publish(u8, Option<Key>),
    /// A package is gone.
    Unpublish(u8),
    /// A new copy takes the place of a damaged one.
    Replace(Key),
    /// A copy is damaged.
    Quarantine(Key),
    /// It is not, after all.
    Clear(Key),
    /// A new leader is there.
    Fence,
    /// Leader: sessions that began earlier are dead.
    Watermark(u8),
    /// Leader: a copy must not be named any more.
    Condemn(Key),
    /// Leader: a condemned copy is deleted, and forgotten.
    Purge(Key),
}

impl Operation {
    fn leaders_only(self) -> bool {
        matches!(self, Self::Watermark(_) | Self::Condemn(_) | Self::Purge(_))
    }
}

/// The state that the records add up to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Catalog {
    /// The number of the last record.
    pub seq: u8,
    /// The packages that reference the digest, as bits.
    pub packages: u8,
    /// The copy that they mean; it is retired while there is none of them.
    pub live: Option<Key>,
    /// Whether that copy is damaged.
    pub damaged: bool,
    /// Copies that must not be named, as bits.
    pub condemned: u8,
    /// The number before which a session is dead.
    pub watermark: u8,
    /// The newest fence.
    pub fence: u8,
    /// The epoch of the last operation of a leader.
    pub epoch: u8,
    /// Whether an operation of a leader followed one of a newer leader.
    pub went_back: bool,
}

fn holds(bits: u8, key: Key) -> bool {
    bits & 1 << key != 0
}

impl Catalog {
    /// Whether the operation may follow, in a record of that epoch; `starts` are the numbers in the keys.
    pub fn validate(&self, rules: Rules, starts: &[u8], operation: Operation, epoch: u8) -> bool {
        if operation.leaders_only() && !self.leads(rules, epoch) {
            return false;
        }
        match operation {
            Operation::Publish(package, key) => {
                !holds(self.packages, package.into()) && self.may_name(rules, starts, key)
            }
            Operation::Unpublish(package) => holds(self.packages, package.into()),
            Operation::Replace(key) => {
                self.live.is_some() && self.damaged && self.may_name(rules, starts, Some(key))
            }
            Operation::Quarantine(key) => self.live == Some(key) && !self.damaged,
            Operation::Clear(key) => self.live == Some(key) && self.damaged,
            Operation::Fence => !rules.fenced || epoch > self.fence,
            Operation::Watermark(seq) => seq > self.watermark && seq <= self.seq,
            Operation::Condemn(key) => self.expendable(rules, key),
            Operation::Purge(key) => {
                let behind = starts[key] < self.watermark || !rules.purges_behind;
                holds(self.condemned, key) && behind
            }
        }
    }

    /// Whether leaders' operations of that epoch are taken.
    pub fn leads(&self, rules: Rules, epoch: u8) -> bool {
        let right = if rules.fence_exactly { epoch == self.fence } else { epoch >= self.fence };
        !rules.fenced || right
    }

    fn may_name(&self, rules: Rules, starts: &[u8], key: Option<Key>) -> bool {
        let Some(key) = key else { return self.live.is_some() && !self.damaged };
        let itself = rules.replaces_by_another && self.live == Some(key) && self.damaged;
        let dead = holds(self.condemned, key) || itself;
        !dead && starts[key] <= self.seq && (!rules.watermark || starts[key] >= self.watermark)
    }

    /// Whether nothing needs that copy.
    pub fn expendable(&self, rules: Rules, key: Key) -> bool {
        self.live == Some(key) && (self.packages == 0 || !rules.condemns_retired)
    }

    /// Whether the state knows that copy.
    pub fn knows(&self, key: Key) -> bool {
        self.live == Some(key) || holds(self.condemned, key)
    }

    /// Takes in an operation.
    pub fn apply(&mut self, operation: Operation, epoch: u8) {
        self.seq += 1;
        if operation.leaders_only() {
            self.went_back |= epoch < self.epoch;
            self.epoch = self.epoch.max(epoch);
        }
        match operation {
            Operation::Publish(package, key) => {
                self.packages |= 1 << package;
                self.name(key);
            }
            Operation::Unpublish(package) => self.packages &= !(1 << package),
            Operation::Replace(key) => self.name(Some(key)),
            Operation::Quarantine(_) => self.damaged = true,
            Operation::Clear(_) => self.damaged = false,
            Operation::Fence => self.fence = self.fence.max(epoch),
            Operation::Watermark(seq) => self.watermark = seq,
            Operation::Condemn(key) => {
                if self.live == Some(key) {
                    (self.live, self.damaged) = (None, false);
                }
                self.condemned |= 1 << key;
            }
            Operation::Purge(key) => self.condemned &= !(1 << key),
        }
    }

    /// Where there is a good copy the new one is an orphan; a damaged one is condemned.
    fn name(&mut self, key: Option<Key>) {
        match (self.live, key) {
            (None, Some(key)) => self.live = Some(key),
            (Some(old), Some(key)) if self.damaged => {
                self.condemned |= 1 << old;
                (self.live, self.damaged) = (Some(key), false);
            }
            _ => {}
        }
    }
}
