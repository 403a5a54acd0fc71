//! What can go wrong, and how often it did.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A command ends before, in the middle of or after a request to the store.
    ClientCrash,
    /// A command is asked to stop.
    Cancel,
    /// Two commands work on the same run at once.
    SecondClient,
    /// A call of the function ends before, in the middle of or after a request to the store.
    FunctionCrash,
    /// A record kills its function, each time.
    PoisonRecord,
    /// The function is done, and its answer does not arrive.
    AnswerLost,
    /// The answer arrives when nobody may wait for it any more.
    AnswerLate,
    /// The platform makes a call twice.
    CallTwice,
    /// The answer is another one than the function gave.
    AnswerCorrupt,
    /// The platform does not take a call.
    Throttled,
    /// The store answers with an error and does nothing.
    StoreError,
    /// The store answers with an error after minutes, and has done what was asked, or not.
    StoreTimeout,
    /// The store answers at once with an error, although it did what was asked.
    DoneYetError,
    /// An object that is read ends with an error in the middle.
    TornRead,
    /// A request takes seconds.
    Slow,
    /// A list lacks what was put lately, or names what was deleted lately.
    ListLag,
    /// A part, dead letters or a receipt lie in the store cut short, or with a tail of zeros, as a crash of the machine
    /// leaves them.
    TornObject,
    /// A part, dead letters or a receipt are gone, as a crash of the machine may have it.
    LostObject,
    /// The machine of a command sleeps for an hour.
    ClientSleeps,
    /// A function is frozen in the middle of its work, and thawed when nobody waits for it any more.
    FunctionSleeps,
    /// The store takes nothing more.
    DiskFull,
    /// The store and the platform refuse everything.
    PermissionLost,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::ClientCrash,
        Self::Cancel,
        Self::SecondClient,
        Self::FunctionCrash,
        Self::PoisonRecord,
        Self::AnswerLost,
        Self::AnswerLate,
        Self::CallTwice,
        Self::AnswerCorrupt,
        Self::Throttled,
        Self::StoreError,
        Self::StoreTimeout,
        Self::DoneYetError,
        Self::TornRead,
        Self::Slow,
        Self::ListLag,
        Self::TornObject,
        Self::LostObject,
        Self::ClientSleeps,
        Self::FunctionSleeps,
        Self::DiskFull,
        Self::PermissionLost,
    ];

    /// The kind in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ClientCrash => "command crashes",
            Self::Cancel => "command is cancelled",
            Self::SecondClient => "a second command on the same run",
            Self::FunctionCrash => "function crashes",
            Self::PoisonRecord => "a record kills its function",
            Self::AnswerLost => "answer lost",
            Self::AnswerLate => "answer late",
            Self::CallTwice => "call made twice",
            Self::AnswerCorrupt => "answer corrupt",
            Self::Throttled => "call throttled",
            Self::StoreError => "store error (5xx)",
            Self::StoreTimeout => "store timeout, done or not",
            Self::DoneYetError => "store error though it was done",
            Self::TornRead => "torn read",
            Self::Slow => "slow request",
            Self::ListLag => "stale list",
            Self::TornObject => "object torn at rest",
            Self::LostObject => "object lost at rest",
            Self::ClientSleeps => "clock of a command jumps",
            Self::FunctionSleeps => "clock of a function jumps",
            Self::DiskFull => "disk full",
            Self::PermissionLost => "permission lost",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// How often each kind was injected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// How often a kind was.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// What was injected since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let grown = Fault::ALL.map(|fault| (fault, self.of(fault) - before.of(fault)));
        Self(grown.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}
