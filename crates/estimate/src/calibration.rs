//! What the engine takes, as it was measured on some machine.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Architecture;

/// [`Calibration::version`] of this code.
const VERSION: u32 = 1;
/// No calibration is nearly as large.
const MAX_BYTES: u64 = 1 << 20;

/// What a model takes on a machine. Times are of one function on one core, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this form.
    pub version: u32,
    /// Version of shoal that measured.
    pub shoal: String,
    /// The model's reference.
    pub model: String,
    /// BLAKE3 of the model, in hexadecimal.
    pub fingerprint: String,
    /// `f32` or `int8`.
    pub precision: String,
    /// The instruction set.
    pub isa: String,
    /// Of the machine.
    pub architecture: Architecture,
    /// The machine's CPU, as the system names it.
    pub machine: String,
    /// When, in seconds since 1970.
    pub unix_seconds: u64,
    /// Time in the model by length, ascending.
    pub points: Vec<Point>,
    /// What real records take, reading and tokenizing included, as a multiple of what [`points`](Self::points) say.
    pub ratio: f64,
    /// Records that the ratio was measured on.
    pub records: u64,
    /// Half the range of repeated measurements, relative to their median: what the times are uncertain by.
    pub spread: f64,
    /// What an invocation takes beside its records: finding the job, writing part and receipt.
    pub invocation_seconds: f64,
    /// From the start of a process to its first invocation's work: starting, and opening the packed model.
    pub init_seconds: f64,
    /// Memory that a process of one function holds at most, in bytes.
    pub memory_bytes: u64,
    /// What a record takes when so many functions work side by side on the machine, ascending.
    pub side_by_side: Vec<SideBySide>,
    /// What a platform takes, where that was learned from a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformTimes>,
}

/// What a platform takes beside the function's work, as a run on it showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformTimes {
    /// Calls that it was learned from.
    pub calls: u64,
    /// Seconds of a call beyond the function, there and back.
    pub call_seconds: f64,
    /// Seconds until an environment is there, before its init.
    pub place_seconds: f64,
    /// What work takes on a whole vCPU of it, relative to a core of the machine that was calibrated.
    pub slowdown: f64,
}

/// The time of a record of some length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its length, special tokens included.
    pub tokens: u32,
    /// Seconds in the model.
    pub seconds: f64,
}

/// What functions cost each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideBySide {
    /// Functions at work at a time.
    pub functions: u32,
    /// Time of a record relative to that beside no other function.
    pub slowdown: f64,
}

/// A calibration that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("failed to use calibration {file}: {reason}")]
pub struct CalibrationError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Calibration {
    /// The version of what is measured now.
    pub const VERSION: u32 = VERSION;

    /// Seconds of a record of `tokens` tokens on one core beside no other: reading, tokenizing and the model. Between two
    /// measured lengths on the line through them; below the shortest as long as that; above the longest by its tokens.
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
        let along = f64::from(tokens - below.tokens) / f64::from(above.tokens - below.tokens);
        below.seconds + along * (above.seconds - below.seconds)
    }

    /// What a record takes with `functions` at work on the machine, relative to one alone. More functions than were
    /// measured share the cores that were: each takes in proportion longer.
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
    /// It cannot be read, is of another version, or makes no sense.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let file = path.display().to_string();
        let failed = |reason: String| CalibrationError {
            file: file.clone(),
            reason,
        };
        let length = std::fs::metadata(path)
            .map_err(|e| failed(e.to_string()))?
            .len();
        if length > MAX_BYTES {
            return Err(failed(format!(
                "it has {length} bytes, and {MAX_BYTES} are the most"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    /// From JSON.
    ///
    /// # Errors
    /// It is none, of another version, or makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if head.version != VERSION {
            return Err(format!(
                "it has version {}, this shoal reads version {VERSION}; calibrate again",
                head.version
            ));
        }
        let calibration: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        calibration.check()?;
        Ok(calibration)
    }

    /// As it is kept in a file.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and strings are always JSON") + "\n"
    }

    fn check(&self) -> Result<(), String> {
        let is_time = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        if self.points.is_empty() {
            return Err("it has no points".into());
        }
        if !self
            .points
            .windows(2)
            .all(|pair| pair[0].tokens < pair[1].tokens)
        {
            return Err("its points do not ascend".into());
        }
        if self.points[0].tokens == 0 {
            return Err("it has a point of no tokens".into());
        }
        let counts = self.side_by_side.iter().map(|measured| measured.functions);
        if !counts
            .clone()
            .zip(counts.skip(1))
            .all(|(one, other)| one < other)
            || self
                .side_by_side
                .iter()
                .any(|measured| measured.functions == 0)
        {
            return Err("its functions side by side do not ascend from 1".into());
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
        let platform = platform.flat_map(|p| [p.call_seconds, p.place_seconds, p.slowdown]);
        if !times
            .chain(slowdowns)
            .chain(others)
            .chain(platform)
            .all(is_time)
        {
            return Err("it has a time that is not a number of seconds".into());
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn calibration() -> Calibration {
        Calibration {
            version: VERSION,
            shoal: "0.1.0".into(),
            model: "bundled".into(),
            fingerprint: "f".into(),
            precision: "int8".into(),
            isa: "avx2".into(),
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
                SideBySide {
                    functions: 1,
                    slowdown: 1.0,
                },
                SideBySide {
                    functions: 2,
                    slowdown: 1.25,
                },
            ],
            platform: None,
        }
    }

    #[test]
    fn lengths_between_points_lie_on_the_line() {
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
    fn files_come_back_and_broken_ones_are_refused() {
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
        assert!(broken(&|c| c.points[0].tokens = 0).contains("no tokens"));
        assert!(broken(&|c| c.init_seconds = -1.0).contains("not a number"));
        assert!(broken(&|c| c.side_by_side[0].functions = 0).contains("side by side"));
        assert!(Calibration::parse("{}").is_err());
        let missing = Calibration::read(Path::new("/nonexistent/c.json")).unwrap_err();
        assert!(missing.to_string().contains("c.json"));
    }
}
