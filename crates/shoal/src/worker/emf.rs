//! Metrics of a Lambda function, as lines of its log. CloudWatch turns lines in its *embedded metric format*
//! (`AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html`) into metrics, without a call
//! or a permission.

use std::time::Duration;

use serde_json::json;
use shoal_job::unix_ms;
use shoal_job::wire::{Failure, Invocation, Receipt};

/// The namespace of all metrics.
const NAMESPACE: &str = "shoal";

/// The dimensions of the metrics.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) function: String,
    pub(super) version: String,
}

impl Metrics {
    /// The line of one invocation, without a line end. Unknown metrics are omitted: a failure has only its duration.
    pub(super) fn line(
        &self,
        invocation: &Invocation,
        result: &Result<Receipt, Failure>,
        duration: Duration,
    ) -> String {
        let ms = |ms: f64| json!((ms * 1000.0).round() / 1000.0);
        let duration = ms(duration.as_secs_f64() * 1000.0);
        let mut values = vec![("DurationMs", "Milliseconds", duration)];
        if let Ok(receipt) = result {
            values.extend([
                ("Records", "Count", receipt.records.into()),
                ("Units", "Count", receipt.units.into()),
                ("Failed", "Count", receipt.failed.into()),
            ]);
            if receipt.cold {
                values.push(("InitMs", "Milliseconds", ms(receipt.timings.init)));
            }
            if let Some(bytes) = receipt.peak_memory_bytes {
                values.push(("PeakMemoryMB", "Megabytes", json!(bytes as f64 / 1e6)));
            }
        }
        let metrics = values.iter();
        let metrics: Vec<_> = metrics
            .map(|(name, unit, _)| json!({ "Name": name, "Unit": unit }))
            .collect();
        let outcome = match result {
            Ok(_) => "done",
            Err(failure) => failure.kind.name(),
        };
        // CloudWatch Logs Insights finds members that are neither metrics nor dimensions.
        let mut line = json!({
            "_aws": {
                "Timestamp": unix_ms(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [["function", "version"]],
                    "Metrics": metrics,
                }],
            },
            "function": self.function,
            "version": self.version,
            "run": &*invocation.run,
            "batch": invocation.batch.index,
            "attempt": invocation.attempt,
            "outcome": outcome,
        });
        for (name, _, value) in values {
            line[name] = value;
        }
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use shoal_job::wire::FailureKind;

    use super::*;
    use crate::worker::environments::tests::crashing;

    /// The rules of the specification that a line breaks: its schema, and its rules for target members.
    fn faults(line: &str) -> Vec<String> {
        const UNITS: &str = "Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits \
                             Megabits Gigabits Terabits Percent Count Bytes/Second Count/Second None";
        let mut faults = Vec::new();
        let mut hold = |is_so: bool, what: &str| {
            if !is_so {
                faults.push(what.to_owned());
            }
        };
        hold(line.len() <= 1 << 20 && !line.contains('\n'), "one event");
        let root: Value = serde_json::from_str(line).unwrap();
        let is_name = |value: &Value| {
            value.as_str().is_some_and(|name| {
                (1..=1024).contains(&name.len()) && name.is_ascii() && !name.trim().is_empty()
            })
        };
        let timestamp = root["_aws"]["Timestamp"].as_u64();
        hold(
            timestamp.is_some_and(|at| at > 1_500_000_000_000),
            "a timestamp in milliseconds",
        );
        let directives = root["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        hold(!directives.is_empty(), "a directive");
        for directive in directives {
            hold(is_name(&directive["Namespace"]), "a namespace");
            let sets = directive["Dimensions"].as_array().unwrap();
            hold(!sets.is_empty(), "a set of dimensions");
            for set in sets {
                let names = set.as_array().unwrap();
                hold(names.len() <= 30, "at most 30 dimensions");
                for name in names {
                    let value = &root[name.as_str().unwrap()];
                    hold(
                        is_name(name) && is_name(value),
                        "dimensions are texts at the root",
                    );
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            hold((1..=100).contains(&metrics.len()), "at most 100 metrics");
            for metric in metrics {
                let name = metric["Name"].as_str().unwrap();
                hold(is_name(&metric["Name"]), "a name");
                hold(root[name].is_number(), "metrics are numbers at the root");
                let unit = metric["Unit"].as_str().unwrap();
                hold(
                    UNITS.split(' ').any(|known| known == unit),
                    "a unit that is known",
                );
            }
        }
        faults
    }

    fn names(line: &str) -> Vec<String> {
        let root: Value = serde_json::from_str(line).unwrap();
        let metrics = root["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array();
        let names = metrics.unwrap().iter();
        let mut names: Vec<_> = names
            .map(|metric| metric["Name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn lines_are_what_the_specification_says() {
        let (_, _folder, invocation) = crashing();
        let metrics = Metrics {
            function: "shoal".into(),
            version: "$LATEST".into(),
        };
        let receipt = |cold: bool| -> Receipt {
            serde_json::from_value(json!({
                "batch": 0, "attempt": 1, "records": 20, "failed": 1, "units": 900,
                "part": { "bytes": 1, "checksum": "" },
                "timings": { "init": 40.5, "read": 0.0, "write": 0.0, "total": 12.0 },
                "cold": cold, "peak_memory_bytes": 64_000_000, "engine": "avx2",
            }))
            .unwrap()
        };
        let took = Duration::from_micros(12_345);
        let all = [
            "DurationMs",
            "Failed",
            "InitMs",
            "PeakMemoryMB",
            "Records",
            "Units",
        ];
        let cold = metrics.line(&invocation, &Ok(receipt(true)), took);
        assert_eq!(faults(&cold), [""; 0], "{cold}");
        assert_eq!(names(&cold), all);
        let root: Value = serde_json::from_str(&cold).unwrap();
        for (name, value) in [
            ("DurationMs", json!(12.345)),
            ("InitMs", json!(40.5)),
            ("Records", json!(20)),
            ("Failed", json!(1)),
            ("PeakMemoryMB", json!(64.0)),
            ("outcome", json!("done")),
        ] {
            assert_eq!(root[name], value, "{name}");
        }
        let warm = metrics.line(&invocation, &Ok(receipt(false)), took);
        assert_eq!(faults(&warm), [""; 0], "{warm}");
        assert!(!names(&warm).contains(&"InitMs".to_owned()));
        let failure = Failure::new(FailureKind::TimedOut, "no more time");
        let failed = metrics.line(&invocation, &Err(failure), took);
        assert_eq!(faults(&failed), [""; 0], "{failed}");
        assert_eq!(names(&failed), ["DurationMs"]);
        assert!(failed.contains(r#""outcome":"timed_out""#), "{failed}");
    }

    #[test]
    fn the_rules_find_what_breaks_them() {
        let line = |aws: Value| {
            let mut line = json!({ "function": "f", "Records": "many" });
            line["_aws"] = aws;
            line.to_string()
        };
        let broken = line(json!({
            "Timestamp": 1_700_000_000,
            "CloudWatchMetrics": [{
                "Namespace": "",
                "Dimensions": [["function", "absent"]],
                "Metrics": [{ "Name": "Records", "Unit": "Records" }],
            }],
        }));
        assert_eq!(faults(&broken).len(), 5, "{:?}", faults(&broken));
    }
}
