//! The protocol of one log, and the ways to get it wrong.

/// When a writer asks itself whether it was away for so long that its place may have been trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It does not.
    Never,
    /// Before it sends.
    BeforeSending,
    /// When it has the answer, but it believes that somebody else was faster.
    OfSuccess,
    /// When it has the answer, whatever that says.
    OfAll,
}

/// What a reader does that was away for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// It reads on.
    ReadsOn,
    /// It looks for its anchor and reads on if that is there.
    AnchorFirst,
    /// It reads on, and believes that if its anchor is there afterwards.
    AnchorAfter,
    /// It begins anew, whatever is there.
    BeginsAnew,
}

/// What everybody abides by.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each rule of the protocol can be broken alone")]
pub struct Rules {
    /// When an answer to a create counts for nothing.
    pub doubt: Doubt,
    /// What is read in doubt.
    pub returns: Return,
    /// Whether the writer of a record looks for the one before it.
    pub predecessor: bool,
    /// Whether an anchor's time is that before the look or the send, not that of the answer.
    pub from_before: bool,
    /// Whether record 0, which is never trimmed, is no proof of anything.
    pub zero_proves_nothing: bool,
    /// Whether whoever begins anew lists the records after those it has read.
    pub lists: bool,
    /// Whether it does so until there are none, not just twice.
    pub lists_to_the_end: bool,
    /// Whether a snapshot is passed over when the chain after it breaks anywhere, not just at the next record.
    pub passes_over: bool,
    /// Whether a request that was sent dies before half the retention is over.
    pub requests_die: bool,
    /// Whether records are ever deleted.
    pub trims: bool,
    /// Whether a record stays for the retention after its successor was written.
    pub retains: bool,
    /// Whether the trimmer spares the newest record.
    pub spares_the_last: bool,
    /// Whether the trimmer goes in ascending order.
    pub ascending: bool,
    /// Whether after an unknown outcome the same bytes are sent again, not others that say the same.
    pub same_bytes: bool,
}

impl Rules {
    /// The protocol.
    pub fn right() -> Self {
        Self {
            doubt: Doubt::OfAll,
            returns: Return::BeginsAnew,
            predecessor: true,
            from_before: true,
            zero_proves_nothing: true,
            lists: true,
            lists_to_the_end: true,
            passes_over: true,
            requests_die: false,
            trims: true,
            retains: true,
            spares_the_last: true,
            ascending: true,
            same_bytes: true,
        }
    }
}
