//! Times as users write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A time in seconds, written with or without its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "toml::Value")]
pub(crate) struct Time(pub(crate) f64);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        seconds(text).map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl TryFrom<toml::Value> for Time {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => text.parse(),
            number => number.to_string().parse(),
        }
    }
}

/// Seconds from `90`, `90s`, `5m`, `2h` or `1.5h`.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a time, such as 90s, 5m or 2h");
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        _ => (text, 1.0),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = number * unit;
    if seconds.is_finite() && seconds > 0.0 {
        Ok(seconds)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, expected) in [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0)] {
            assert_eq!(seconds(text), Ok(expected));
            let time = Time(expected);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        for wrong in ["", "m", "5d", "-1s", "0", "nan", "inf", "1e999h", "5 ü"] {
            assert!(seconds(wrong).unwrap_err().contains("5m"), "{wrong}");
        }
    }
}
