//! This machine, and machines that are billed by the hour.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shoal_estimate::{Architecture, Basis, Bill, BillItem, Confidence};

/// Billed seconds before a rented machine is ready.
pub(crate) const BOOT_SECONDS: f64 = 60.0;

/// The number of cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// The architecture of this machine.
pub(crate) fn architecture() -> Architecture {
    std::env::consts::ARCH.parse().unwrap_or(Architecture::X86)
}

/// A machine billed by the hour, written as `name=usd_per_hour:vcpus`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Machine {
    /// The user's name for it.
    pub name: String,
    /// USD per hour.
    pub usd_per_hour: f64,
    /// Number of vCPUs, each of which runs one function at a time.
    pub vcpus: u64,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}:{}", self.name, self.usd_per_hour, self.vcpus)
    }
}

impl From<Machine> for String {
    fn from(machine: Machine) -> Self {
        machine.to_string()
    }
}

impl TryFrom<String> for Machine {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a machine with a price: give name, USD per hour and vCPUs, such as spot=0.085:4"
            )
        };
        let (name, price) = text.split_once('=').ok_or_else(wrong)?;
        let (usd, vcpus) = price.split_once(':').ok_or_else(wrong)?;
        let usd_per_hour: f64 = usd.parse().map_err(|_| wrong())?;
        let vcpus: u64 = vcpus.parse().map_err(|_| wrong())?;
        let is_price = usd_per_hour.is_finite() && usd_per_hour >= 0.0;
        if name.is_empty() || !is_price || !(1..=100_000).contains(&vcpus) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.into(),
            usd_per_hour,
            vcpus,
        })
    }
}

impl Machine {
    /// The cost of `seconds` seconds.
    pub fn bill(&self, seconds: f64, basis: Basis) -> Bill {
        let hours = seconds / 3600.0;
        Bill {
            provider: self.name.clone(),
            date: "as given".into(),
            region: None,
            items: vec![BillItem {
                name: "machine time".into(),
                quantity: hours,
                unit: "hour".into(),
                usd: hours * self.usd_per_hour,
                basis,
                usd_per_unit: self.usd_per_hour,
                confidence: Confidence::Unverified,
                source: "given by the user".into(),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_read_and_billed() {
        let machine: Machine = "spot=0.36:8".parse().unwrap();
        assert_eq!(machine.to_string(), "spot=0.36:8");
        assert_eq!(
            (machine.name.as_str(), machine.usd_per_hour, machine.vcpus),
            ("spot", 0.36, 8)
        );
        assert!((machine.bill(100.0, Basis::Measured).usd() - 0.01).abs() < 1e-12);
        for wrong in [
            "",
            "spot",
            "spot=1",
            "spot=x:1",
            "spot=1:0",
            "spot=-1:2",
            "=1:2",
            "spot=nan:2",
            "spot=1:1.5",
        ] {
            let error = wrong.parse::<Machine>().unwrap_err();
            assert!(error.contains("spot=0.085:4"), "{error}");
        }
    }
}
