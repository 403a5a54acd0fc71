//! Measured performance of the engine on a machine.

use std::path::Path;

use serde::{Deserialize, Serialize};
use shoal_kernels::{Precision, Target};

use crate::Architecture;
use crate::file::read_text;
use crate::simulate::ColdStart;

/// Maximum size of a calibration file in bytes, far more than any needs.
const MAX_BYTES: u64 = 1 << 20;

/// Measured performance of a model on a machine. Times are in seconds, for one function on one
/// core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of the file format.
    pub version: u32,
    /// Version of shoal that took the measurements.
    pub shoal: String,
    /// The model's reference.
    pub model: String,
    /// BLAKE3 of the model, in hexadecimal.
    pub fingerprint: String,
    /// The precision.
    pub precision: Precision,
    /// The instruction set.
    pub isa: Target,
    /// Architecture of the machine.
    pub architecture: Architecture,
    /// CPU of the machine, as the operating system reports it.
    pub machine: String,
    /// Time of the measurement, in seconds since the Unix epoch.
    pub unix_seconds: u64,
    /// Time in the model for records of several lengths, in ascending order of length.
    pub points: Vec<Point>,
    /// Ratio of the time of real records, including reading and tokenizing, to the time that
    /// [`points`](Self::points) predict.
    pub ratio: f64,
    /// Number of records that the ratio was measured on.
    pub records: u64,
    /// Half the range of repeated measurements, relative to their median: the uncertainty of the
    /// times.
    pub spread: f64,
    /// Overhead of an invocation, such as writing the part and the receipt.
    pub invocation_seconds: f64,
    /// Time from the start of a process until its first invocation can begin, including opening the
    /// packed model.
    pub init_seconds: f64,
    /// Peak memory of a process with one function, in bytes.
    pub memory_bytes: u64,
    /// Slowdown of concurrent functions on the machine, in ascending order of their number.
    pub side_by_side: Vec<Contention>,
    /// Overheads of a platform, if they were measured in a run on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformTimes>,
}

/// Overheads of a platform, measured in a run on it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformTimes {
    /// Number of calls that these times were measured on.
    pub calls: u64,
    /// Round-trip time of a call without the function, in seconds.
    pub call_seconds: f64,
    /// The cold start of an environment, if there was one.
    pub cold: Option<ColdStart>,
    /// Time of the same work on one vCPU of the platform, relative to a core of the calibrated
    /// machine.
    pub slowdown: f64,
}

/// The time for a record of one length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Length in tokens, including special tokens.
    pub tokens: u32,
    /// Seconds in the model.
    pub seconds: f64,
}

/// How much concurrent functions slow each other down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contention {
    /// Number of concurrent functions.
    pub functions: u32,
    /// Time per record, relative to that of a single function.
    pub slowdown: f64,
}

/// A calibration cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("failed to use calibration {file}: {reason}")]
#[non_exhaustive]
pub struct CalibrationError {
    /// The file.
    pub file: String,
    /// The problem.
    pub reason: String,
}

impl Calibration {
    /// The version of the file format that this code reads and writes.
    pub const VERSION: u32 = 1;

    /// Time for a record of `tokens` tokens on an otherwise idle machine, in seconds: reading,
    /// tokenizing and the model. Times between two measured lengths are interpolated linearly.
    /// Shorter records take as long as the shortest measured one; longer ones take time in
    /// proportion to their length.
    pub fn record_seconds(&self, tokens: u32) -> f64 {
        self.model_seconds(tokens) * self.ratio
    }

    fn model_seconds(&self, tokens: u32) -> f64 {
        let after = self.points.partition_point(|point| point.tokens < tokens);
        let (Some(last), Some(first)) = (self.points.last(), self.points.first()) else {
            return 0.0;
        };
        if after == 0 {
            return first.seconds;
        }
        let Some(above) = self.points.get(after) else {
            return last.seconds * f64::from(tokens) / f64::from(last.tokens);
        };
        let below = self.points[after - 1];
        let fraction = f64::from(tokens - below.tokens) / f64::from(above.tokens - below.tokens);
        below.seconds + fraction * (above.seconds - below.seconds)
    }

    /// Time per record with `functions` concurrent functions, relative to a single one. Between two
    /// measured numbers, the larger one applies. Beyond the largest, functions share the measured
    /// cores, so the time is proportional to their number.
    pub fn slowdown(&self, functions: u32) -> f64 {
        let after = self
            .side_by_side
            .partition_point(|measured| measured.functions < functions);
        match (self.side_by_side.get(after), self.side_by_side.last()) {
            (Some(measured), _) => measured.slowdown,
            (None, Some(most)) => most.slowdown * f64::from(functions) / f64::from(most.functions),
            (None, None) => 1.0,
        }
    }

    /// Reads a calibration from a file.
    ///
    /// # Errors
    /// The file cannot be read, has another version, or is invalid.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let text = read_text(path, MAX_BYTES);
        text.and_then(|text| Self::parse(&text))
            .map_err(|reason| CalibrationError {
                file: path.display().to_string(),
                reason,
            })
    }

    /// Parses a calibration from JSON.
    ///
    /// # Errors
    /// The text is not a calibration, has another version, or is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if head.version != Self::VERSION {
            return Err(format!(
                "it has version {}, but this version of shoal reads version {}; calibrate again",
                head.version,
                Self::VERSION
            ));
        }
        let calibration: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        calibration.check()?;
        Ok(calibration)
    }

    /// The calibration as the JSON of a file.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings always serialize") + "\n"
    }

    fn check(&self) -> Result<(), String> {
        let tokens = || self.points.iter().map(|point| point.tokens);
        if self.points.is_empty() {
            return Err("it has no points".into());
        }
        if !tokens().is_sorted_by(|one, next| one < next) {
            return Err("its points are not in ascending order".into());
        }
        if self.points[0].tokens == 0 {
            return Err("it has a point with 0 tokens".into());
        }
        let functions = self.side_by_side.iter().map(|measured| measured.functions);
        if !std::iter::once(0)
            .chain(functions)
            .is_sorted_by(|one, next| one < next)
        {
            let reason =
                "its `side_by_side` entries are not in ascending order, starting at 1 or more";
            return Err(reason.into());
        }
        let times = self.points.iter().map(|point| point.seconds);
        let slowdowns = self.side_by_side.iter().map(|measured| measured.slowdown);
        let others = [
            self.ratio,
            self.spread,
            self.invocation_seconds,
            self.init_seconds,
        ];
        let platform = self.platform.iter();
        let platform = platform.flat_map(|times| {
            let cold = times.cold.unwrap_or_default();
            [
                times.call_seconds,
                times.slowdown,
                cold.place_seconds,
                cold.init_seconds,
            ]
        });
        let mut all = times.chain(slowdowns).chain(others).chain(platform);
        if !all.all(|seconds| seconds.is_finite() && seconds >= 0.0) {
            return Err("it has a time that is negative or not finite".into());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn calibration() -> Calibration {
        Calibration {
            version: Calibration::VERSION,
            shoal: "0.1.0".into(),
            model: "bundled".into(),
            fingerprint: "f".into(),
            precision: Precision::Int8,
            isa: Target::Avx2,
            architecture: Architecture::X86,
            machine: "a CPU".into(),
            unix_seconds: 0,
            points: vec![
                Point {
                    tokens: 10,
                    seconds: 0.001,
                },
                Point {
                    tokens: 20,
                    seconds: 0.003,
                },
                Point {
                    tokens: 40,
                    seconds: 0.009,
                },
            ],
            ratio: 2.0,
            records: 100,
            spread: 0.01,
            invocation_seconds: 0.002,
            init_seconds: 0.03,
            memory_bytes: 60_000_000,
            side_by_side: vec![
                Contention {
                    functions: 1,
                    slowdown: 1.0,
                },
                Contention {
                    functions: 2,
                    slowdown: 1.25,
                },
            ],
            platform: None,
        }
    }

    #[test]
    fn times_between_points_are_interpolated() {
        let calibration = calibration();
        for (tokens, seconds) in [
            (1, 0.001),
            (10, 0.001),
            (15, 0.002),
            (20, 0.003),
            (30, 0.006),
            (40, 0.009),
            (80, 0.018),
        ] {
            let predicted = calibration.record_seconds(tokens);
            assert!(
                (predicted - 2.0 * seconds).abs() < 1e-12,
                "{tokens}: {predicted}"
            );
        }
    }

    #[test]
    fn functions_beyond_the_cores_share_them() {
        let calibration = calibration();
        assert_eq!(calibration.slowdown(1), 1.0);
        assert_eq!(calibration.slowdown(2), 1.25);
        assert_eq!(calibration.slowdown(4), 2.5);
    }

    #[test]
    fn files_round_trip_and_invalid_ones_are_refused() {
        let whole = calibration();
        assert_eq!(Calibration::parse(&whole.json()), Ok(whole.clone()));
        let mut long = whole.clone();
        long.side_by_side[1].slowdown = 1.674_407_370_737_099_8;
        assert_eq!(Calibration::parse(&long.json()), Ok(long));
        let broken = |change: &dyn Fn(&mut Calibration)| {
            let mut calibration = whole.clone();
            change(&mut calibration);
            Calibration::parse(&calibration.json()).unwrap_err()
        };
        assert!(broken(&|c| c.version = 9).contains("calibrate again"));
        assert!(broken(&|c| c.points.clear()).contains("no points"));
        assert!(broken(&|c| c.points.swap(0, 1)).contains("ascend"));
        assert!(broken(&|c| c.points[0].tokens = 0).contains("0 tokens"));
        assert!(broken(&|c| c.init_seconds = -1.0).contains("negative or not finite"));
        assert!(broken(&|c| c.side_by_side[0].functions = 0).contains("side_by_side"));
        assert!(Calibration::parse("{}").is_err());
        let missing = Calibration::read(Path::new("/nonexistent/c.json")).unwrap_err();
        assert!(missing.to_string().contains("c.json"));
    }
}
