//! The settings of a deployment, checked against AWS's rules before anything is packaged or sent.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use shoal_estimate::Architecture;

use crate::error::{Error, Result};
use crate::limits;

/// Variables that Lambda reserves. Lambda, *Defined runtime environment variables*.
const RESERVED: [&str; 16] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];
/// The variable with the location of the function's model.
const MODEL_VARIABLE: &str = "SHOAL_MODEL";

/// A bucket, or a folder in it: `s3://bucket/folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Folder {
    bucket: String,
    prefix: String,
}

impl S3Folder {
    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of the object `name` in the folder.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.prefix)
        }
    }

    /// The URL of the object `name` in the folder.
    pub fn url(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(name))
    }
}

impl fmt::Display for S3Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "s3://{}", self.bucket),
            prefix => write!(f, "s3://{}/{prefix}", self.bucket),
        }
    }
}

impl FromStr for S3Folder {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err("expected s3://BUCKET/FOLDER".into());
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
            return Err(
                "a bucket name has 3 to 63 lower-case letters, digits, hyphens and dots".into(),
            );
        }
        let prefix = prefix.trim_end_matches('/');
        // `*`, `?` and `${` have a meaning in policies and templates, `?` and `#` in URLs.
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "*?$#%{}\\\"".contains(c);
        if prefix.starts_with('/') || prefix.contains("//") || prefix.contains(forbidden) {
            return Err(
                "a folder name must not contain white space, empty parts or any of * ? $ # % { } \\ \""
                    .into(),
            );
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// The location of the function's model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelLocation {
    /// In the zip, next to the bootstrap.
    Packed,
    /// An S3 object.
    Object(S3Folder),
    /// An absolute path in the function, on a layer or a mounted volume.
    Path(String),
}

impl FromStr for ModelLocation {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.starts_with("s3://") {
            let object: S3Folder = text.parse()?;
            return if object.prefix.is_empty() {
                Err("it names a bucket, not an object".into())
            } else {
                Ok(Self::Object(object))
            };
        }
        if text.starts_with('/') && text.len() > 1 {
            return Ok(Self::Path(text.to_owned()));
        }
        Err("expected s3://BUCKET/KEY or an absolute path".into())
    }
}

/// The settings of a deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The name of the stack, the function and the state machine.
    pub name: String,
    /// The store for code, inputs and runs.
    pub store: S3Folder,
    /// Further folders that the function may read.
    pub inputs: Vec<S3Folder>,
    /// The location of the function's model.
    pub model: ModelLocation,
    /// The function's instruction set.
    pub arch: Architecture,
    /// Memory in MB, which also determines the share of a CPU.
    pub memory: u32,
    /// The time limit of an invocation in seconds.
    pub timeout: u32,
    /// The size of `/tmp` in MB, if it differs from Lambda's default.
    pub tmp: Option<u32>,
    /// The concurrency that is reserved for the function, and also its maximum.
    pub reserved_concurrency: Option<u32>,
    /// Further environment variables of the function.
    pub environment: BTreeMap<String, String>,
    /// Whether to deploy a state machine.
    pub state_machine: bool,
}

impl Deployment {
    /// Checks all settings.
    ///
    /// # Errors
    /// Fails with the first setting that AWS would reject.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        within("memory", self.memory, &limits::MEMORY, "MB")?;
        within("timeout", self.timeout, &limits::TIMEOUT, "seconds")?;
        if let Some(tmp) = self.tmp {
            within("tmp", tmp, &limits::TMP, "MB")?;
        }
        if self.reserved_concurrency == Some(0) {
            return Err(Error::setting(
                "reserved-concurrency",
                0,
                "the function could never run; omit it or pass at least 1",
            ));
        }
        for (name, value) in &self.environment {
            check_variable(name, value)?;
        }
        let bytes: usize = self
            .variables()
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        if bytes > limits::ENVIRONMENT_BYTES {
            return Err(Error::setting(
                "env",
                format_args!("with {bytes} bytes in total"),
                format!("Lambda allows {} bytes", limits::ENVIRONMENT_BYTES),
            ));
        }
        Ok(())
    }

    /// All environment variables of the function.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let model = match &self.model {
            // The function finds it next to its executable.
            ModelLocation::Packed => None,
            ModelLocation::Object(object) => Some(object.to_string()),
            ModelLocation::Path(path) => Some(path.clone()),
        };
        let mut variables = self.environment.clone();
        variables.extend(model.map(|model| (MODEL_VARIABLE.into(), model)));
        variables
    }
}

/// Checks that `name` is valid for a stack, a function and a state machine.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_valid = (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_valid {
        return Ok(());
    }
    Err(Error::setting(
        "name",
        format_args!("{name:?}"),
        "AWS allows 1 to 64 letters, digits and hyphens, starting with a letter",
    ))
}

fn within(
    setting: &'static str,
    value: u32,
    range: &RangeInclusive<u32>,
    unit: &str,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (min, max) = (range.start(), range.end());
    Err(Error::setting(
        setting,
        value,
        format!("Lambda allows {min} to {max} {unit}"),
    ))
}

fn check_variable(name: &str, value: &str) -> Result<()> {
    let refuse = |reason: &str| {
        Err(Error::setting(
            "env",
            format_args!("{name}={value}"),
            reason,
        ))
    };
    let is_valid = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if RESERVED.contains(&name) {
        return refuse("Lambda sets this variable itself");
    }
    if name == MODEL_VARIABLE {
        return refuse("the model is a separate setting");
    }
    if !is_valid {
        return refuse(
            "a variable name has at least two letters, digits and underscores, starting with a letter",
        );
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The defaults, with a state machine.
    pub(crate) fn deployment() -> Deployment {
        Deployment {
            name: "shoal".into(),
            store: "s3://data/shoal".parse().unwrap(),
            inputs: Vec::new(),
            model: ModelLocation::Packed,
            arch: Architecture::X86,
            memory: limits::ONE_VCPU,
            timeout: 900,
            tmp: None,
            reserved_concurrency: None,
            environment: BTreeMap::new(),
            state_machine: true,
        }
    }

    #[test]
    fn folders_are_normalized() {
        for (text, bucket, key, shown) in [
            ("s3://data", "data", "x", "s3://data"),
            ("s3://data/", "data", "x", "s3://data"),
            (
                "s3://my.data-1/a/b/",
                "my.data-1",
                "a/b/x",
                "s3://my.data-1/a/b",
            ),
        ] {
            let folder: S3Folder = text.parse().unwrap();
            assert_eq!((folder.bucket(), folder.key("x").as_str()), (bucket, key));
            assert_eq!(folder.to_string(), shown);
        }
        for wrong in [
            "",
            "data",
            "gs://data/x",
            "s3://",
            "s3://ab",
            "s3://Data",
            "s3://data//x",
            "s3://data/a//b",
            "s3://data/*",
            "s3://data/${x}",
            "s3://data/a b",
            "s3://data/a?b",
        ] {
            assert!(wrong.parse::<S3Folder>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn model_locations_are_parsed() {
        assert_eq!(
            "/mnt/models/m.shoal".parse(),
            Ok(ModelLocation::Path("/mnt/models/m.shoal".into()))
        );
        assert!(matches!(
            "s3://data/m.shoal".parse(),
            Ok(ModelLocation::Object(_))
        ));
        for wrong in ["", "/", "m.shoal", "s3://data", "https://host/m.shoal"] {
            assert!(wrong.parse::<ModelLocation>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn invalid_settings_are_refused_by_name() {
        deployment().check().unwrap();
        type Change = fn(&mut Deployment);
        let cases: [(&str, Change); 16] = [
            ("name", |d| d.name = String::new()),
            ("name", |d| d.name = "1shoal".into()),
            ("name", |d| d.name = "my_shoal".into()),
            ("name", |d| d.name = "s".repeat(65)),
            ("memory", |d| d.memory = 127),
            ("memory", |d| d.memory = 10_241),
            ("timeout", |d| d.timeout = 0),
            ("timeout", |d| d.timeout = 901),
            ("tmp", |d| d.tmp = Some(511)),
            ("tmp", |d| d.tmp = Some(10_241)),
            ("reserved-concurrency", |d| d.reserved_concurrency = Some(0)),
            ("env", |d| {
                _ = d.environment.insert("AWS_REGION".into(), "x".into())
            }),
            ("env", |d| {
                _ = d.environment.insert("SHOAL_MODEL".into(), "x".into())
            }),
            ("env", |d| _ = d.environment.insert("A".into(), "x".into())),
            ("env", |d| {
                _ = d.environment.insert("A-B".into(), "x".into())
            }),
            ("env", |d| {
                _ = d.environment.insert("BIG".into(), "x".repeat(4096))
            }),
        ];
        for (name, change) in cases {
            let mut wrong = deployment();
            change(&mut wrong);
            let error = wrong.check().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("failed to use {name} ")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_ends_of_the_ranges_are_allowed() {
        let min = Deployment {
            name: "s".into(),
            memory: 128,
            timeout: 1,
            tmp: Some(512),
            reserved_concurrency: Some(1),
            ..deployment()
        };
        let max = Deployment {
            name: "s".repeat(64),
            memory: 10_240,
            tmp: Some(10_240),
            ..deployment()
        };
        min.check().unwrap();
        max.check().unwrap();
    }
}
