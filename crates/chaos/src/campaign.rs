//! The sum of many runs, as a table.

use std::fmt;
use std::time::Duration;

use crate::{Fault, Faults, Report};

/// What came of many runs.
#[derive(Debug, Clone, Default)]
pub struct Campaign {
    runs: u64,
    breaches: u64,
    records: u64,
    lost: u64,
    doubled: u64,
    starts: u64,
    endured: u64,
    requests: u64,
    calls: u64,
    time: Duration,
    faults: Faults,
    /// Runs with at least one fault of a kind.
    touched: Faults,
}

impl Campaign {
    /// Takes a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.breaches += u64::from(report.breach.is_some());
        self.records += report.records;
        self.lost += report.lost;
        self.doubled += report.doubled;
        self.starts += report.starts;
        self.endured += report.endured;
        self.requests += report.requests;
        self.calls += report.calls;
        self.time += report.time;
        self.faults.add(&report.faults);
        for fault in Fault::ALL {
            if report.faults.of(fault) > 0 {
                self.touched.count(fault);
            }
        }
    }

    /// Runs in which something did not hold.
    pub fn breaches(&self) -> u64 {
        self.breaches
    }

    /// What was injected.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| fault | injected | runs |")?;
        writeln!(f, "|---|---:|---:|")?;
        for fault in Fault::ALL {
            let (injected, runs) = (self.faults.of(fault), self.touched.of(fault));
            writeln!(f, "| {fault} | {injected} | {runs} |")?;
        }
        writeln!(f, "| all | {} | {} |", self.faults.total(), self.runs)?;
        writeln!(f)?;
        writeln!(f, "| what came of it | |")?;
        writeln!(f, "|---|---:|")?;
        let hours = self.time.as_secs_f64() / 3600.0;
        for (name, number) in [
            ("runs", self.runs),
            ("runs survived", self.runs - self.breaches),
            ("records in", self.records),
            ("records lost", self.lost),
            ("records twice", self.doubled),
            ("starts of the command", self.starts),
            ("starts that delivered in spite of faults", self.endured),
            ("calls of the function", self.calls),
            ("requests to the store", self.requests),
            ("hours of their time", hours as u64),
        ] {
            writeln!(f, "| {name} | {number} |")?;
        }
        Ok(())
    }
}
