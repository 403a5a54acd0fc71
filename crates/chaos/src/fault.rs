//! The kinds of faults, and counters for them.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A command crashes before, during or after a request to the store.
    ClientCrash,
    /// A command is cancelled.
    Cancel,
    /// Two commands process the same run at the same time.
    SecondClient,
    /// A call of the function crashes before, during or after a request to the store.
    FunctionCrash,
    /// A record crashes its function every time.
    PoisonRecord,
    /// The answer of a finished function does not arrive.
    AnswerLost,
    /// The answer arrives late, possibly after the call has timed out.
    AnswerLate,
    /// The platform makes a call twice.
    CallTwice,
    /// The answer differs from the function's.
    AnswerCorrupt,
    /// The platform throttles a call.
    Throttled,
    /// The store returns an error and ignores the request.
    StoreError,
    /// The store returns an error after a long time. It may have executed the request.
    StoreTimeout,
    /// The store returns an error although it executed the request.
    ErrorAfterSuccess,
    /// Reading an object fails in the middle.
    TornRead,
    /// A request takes seconds.
    Slow,
    /// A list lacks recent objects, or contains recently deleted ones.
    ListLag,
    /// A part, dead letters or a receipt are truncated or end in zeros, as after a crash of the machine.
    TornObject,
    /// A part, dead letters or a receipt are missing, as after a crash of the machine.
    LostObject,
    /// The machine of a command sleeps for an hour.
    ClientSleeps,
    /// A function is frozen and continues much later, possibly after its call has timed out.
    FunctionSleeps,
    /// The store accepts no more writes.
    DiskFull,
    /// The store and the platform reject all requests.
    PermissionLost,
}

impl Fault {
    /// All kinds.
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
        Self::ErrorAfterSuccess,
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

    /// A short description.
    pub fn description(self) -> &'static str {
        match self {
            Self::ClientCrash => "command crashes",
            Self::Cancel => "command is cancelled",
            Self::SecondClient => "a second command on the same run",
            Self::FunctionCrash => "function crashes",
            Self::PoisonRecord => "a record crashes its function",
            Self::AnswerLost => "answer lost",
            Self::AnswerLate => "answer late",
            Self::CallTwice => "call made twice",
            Self::AnswerCorrupt => "answer corrupt",
            Self::Throttled => "call throttled",
            Self::StoreError => "store error (5xx)",
            Self::StoreTimeout => "store timeout, request executed or not",
            Self::ErrorAfterSuccess => "store error after success",
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
        f.write_str(self.description())
    }
}

/// Counts of injected faults by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// The count of one kind.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// The total count.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// The faults that were injected after `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let grown = Fault::ALL.map(|fault| (fault, self.of(fault) - before.of(fault)));
        Self(grown.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}
