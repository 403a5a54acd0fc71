//! The kinds of faults, and counters for them.

use std::collections::BTreeMap;
use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident => $description:literal,)*) => {
        /// A kind of fault, displayed as a short description.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $description,)*
                })
            }
        }
    };
}

faults! {
    /// A command crashes before, during or after a request to the store.
    ClientCrash => "command crashes",
    /// A command is cancelled.
    Cancel => "command is cancelled",
    /// Two commands process the same run at the same time.
    SecondClient => "a second command on the same run",
    /// A call of the function crashes before, during or after a request to the store.
    FunctionCrash => "function crashes",
    /// A record crashes its function every time.
    PoisonRecord => "a record crashes its function",
    /// The answer of a finished function does not arrive.
    AnswerLost => "answer lost",
    /// The answer arrives late, possibly after the call has timed out.
    AnswerLate => "answer late",
    /// The platform makes a call twice.
    CallTwice => "call made twice",
    /// The answer differs from the function's.
    AnswerCorrupt => "answer corrupt",
    /// The platform throttles a call.
    Throttled => "call throttled",
    /// The store returns an error and ignores the request.
    StoreError => "store error (5xx)",
    /// The store returns an error after a long time. It may have executed the request.
    StoreTimeout => "store timeout, request executed or not",
    /// The store returns an error although it executed the request.
    ErrorAfterSuccess => "store error after success",
    /// Reading an object fails in the middle.
    TornRead => "torn read",
    /// A request takes seconds.
    Slow => "slow request",
    /// A list lacks recent objects, or contains recently deleted ones.
    ListLag => "stale list",
    /// A part, dead letters or a receipt are truncated or end in zeros, as after a crash of the machine.
    TornObject => "object torn at rest",
    /// A part, dead letters or a receipt are missing, as after a crash of the machine.
    LostObject => "object lost at rest",
    /// The machine of a command sleeps for an hour.
    ClientSleeps => "clock of a command jumps",
    /// A function is frozen and continues much later, possibly after its call has timed out.
    FunctionSleeps => "clock of a function jumps",
    /// The store accepts no more writes.
    DiskFull => "disk full",
    /// The store and the platform reject all requests.
    PermissionLost => "permission lost",
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
        let grown = self
            .0
            .iter()
            .map(|(fault, count)| (*fault, count - before.of(*fault)));
        Self(grown.filter(|(_, count)| *count > 0).collect())
    }
}
