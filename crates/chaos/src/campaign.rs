//! The totals of many runs.

use std::fmt;

use crate::{Fault, Faults, Report};

/// The totals of many runs, displayed as Markdown tables.
#[derive(Debug, Clone, Default)]
pub struct Campaign {
    runs: u64,
    violations: u64,
    total: Report,
    /// The number of runs with at least one fault of each kind.
    touched: Faults,
}

impl Campaign {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.violations += u64::from(report.violation.is_some());
        self.total.records += report.records;
        self.total.lost += report.lost;
        self.total.duplicated += report.duplicated;
        self.total.starts += report.starts;
        self.total.completed_despite_faults += report.completed_despite_faults;
        self.total.requests += report.requests;
        self.total.calls += report.calls;
        self.total.time += report.time;
        self.total.faults.add(&report.faults);
        for &fault in Fault::ALL {
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
        &self.total.faults
    }
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { faults, time, .. } = &self.total;
        writeln!(f, "| fault | injected | runs |")?;
        writeln!(f, "|---|---:|---:|")?;
        for &fault in Fault::ALL {
            let (injected, runs) = (faults.of(fault), self.touched.of(fault));
            writeln!(f, "| {fault} | {injected} | {runs} |")?;
        }
        writeln!(f, "| all | {} | {} |", faults.total(), self.runs)?;
        writeln!(f)?;
        writeln!(f, "| result | |")?;
        writeln!(f, "|---|---:|")?;
        let hours = time.as_secs_f64() / 3600.0;
        for (name, number) in [
            ("runs", self.runs),
            ("runs survived", self.runs - self.violations),
            ("records in", self.total.records),
            ("records lost", self.total.lost),
            ("records duplicated", self.total.duplicated),
            ("starts of the command", self.total.starts),
            (
                "starts that completed despite faults",
                self.total.completed_despite_faults,
            ),
            ("calls of the function", self.total.calls),
            ("requests to the store", self.total.requests),
            ("simulated hours", hours as u64),
        ] {
            writeln!(f, "| {name} | {number} |")?;
        }
        Ok(())
    }
}
