//! The totals of many runs.

use std::fmt;
use std::time::Duration;

use crate::{Fault, Faults, Report};

/// The totals of many runs, displayed as Markdown tables.
#[derive(Debug, Clone, Default)]
pub struct Campaign {
    runs: u64,
    violations: u64,
    records: u64,
    lost: u64,
    duplicated: u64,
    starts: u64,
    completed_despite_faults: u64,
    requests: u64,
    calls: u64,
    time: Duration,
    faults: Faults,
    /// Runs with at least one fault of a kind.
    touched: Faults,
}

impl Campaign {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.violations += u64::from(report.violation.is_some());
        self.records += report.records;
        self.lost += report.lost;
        self.duplicated += report.duplicated;
        self.starts += report.starts;
        self.completed_despite_faults += report.completed_despite_faults;
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

    /// The number of runs that violated a guarantee.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// The injected faults.
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
        writeln!(f, "| result | |")?;
        writeln!(f, "|---|---:|")?;
        let hours = self.time.as_secs_f64() / 3600.0;
        for (name, number) in [
            ("runs", self.runs),
            ("runs survived", self.runs - self.violations),
            ("records in", self.records),
            ("records lost", self.lost),
            ("records duplicated", self.duplicated),
            ("starts of the command", self.starts),
            (
                "starts that completed despite faults",
                self.completed_despite_faults,
            ),
            ("calls of the function", self.calls),
            ("requests to the store", self.requests),
            ("simulated hours", hours as u64),
        ] {
            writeln!(f, "| {name} | {number} |")?;
        }
        Ok(())
    }
}
