//! Times as they are typed.

/// A time in seconds, typed with or without its unit.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(try_from = "toml::Value")]
pub(crate) struct Time(pub(crate) f64);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        seconds(text).map(Self)
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
    let wrong = || format!("{text:?} is no time, such as 90s, 5m or 2h");
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
        for (text, is) in [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0)] {
            assert_eq!(seconds(text), Ok(is));
        }
        for wrong in ["", "m", "5d", "-1s", "0", "nan", "inf", "1e999h", "5 ü"] {
            assert!(seconds(wrong).unwrap_err().contains("5m"), "{wrong}");
        }
    }
}
