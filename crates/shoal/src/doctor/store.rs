//! Checks of the object store.

use std::path::Path;

use shoal_job::RunDir;
use shoal_job::run_dir::Need;

use super::Check;
use super::check::SET_CLOCK;
use crate::{Error, Setting, credentials};

const STORE: &str = "store";

/// Tries the store at a new prefix below `url`.
pub(super) fn diagnose(url: &str, checks: &mut Vec<Check>) {
    let prefix = format!("{url}/doctor-{}-{}", std::process::id(), unique());
    let run = match RunDir::create(Path::new(&prefix)) {
        Ok(run) => run,
        Err(error) => {
            let fix = "name a prefix of a store, such as s3://bucket/shoal";
            let check = Check::error(STORE, url, &error.into(), fix);
            return checks.push(check.by(Setting::Store));
        }
    };
    let probe = run.probe();
    for (need, end) in probe.steps {
        checks.push(match end {
            Ok(()) => Check::ok(STORE, need.name(), format!("below {url}")),
            Err(error) => {
                let text = error.to_string();
                let check = Check::error(STORE, need.name(), &Error::Job(error), &fix(need, &text));
                match need {
                    // A run works without it.
                    Need::Delete => check.warning(fix(need, &text)),
                    _ => check,
                }
            }
        });
    }
    if let Some(ahead) = probe.clock_ahead {
        checks.push(Check::clock(STORE, ahead, true));
    }
}

/// Distinguishes checks that run at the same time.
fn unique() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
}

fn fix(need: Need, error: &str) -> String {
    let has = |text: &str| error.contains(text);
    if has("RequestTimeTooSkewed") || has("RequestExpired") {
        return SET_CLOCK.into();
    }
    if has("NoSuchBucket") {
        return "create the bucket, or name another one".into();
    }
    if let Some(advice) = credentials::advice(error) {
        return advice.into();
    }
    match need {
        Need::Write | Need::Read => {
            "make sure that the store exists and can be reached (region, endpoint), and that objects can be written and read: \
             on S3, s3:PutObject and s3:GetObject below the prefix"
        }
        Need::CreateOnly => {
            "use a store that supports If-None-Match: *, such as S3, Google Cloud Storage and Azure: on this one, two attempts \
             at a batch would overwrite each other's part"
        }
        Need::List => "allow listing below the prefix: on S3, s3:ListBucket on the bucket",
        Need::Delete => {
            "allow deleting below the prefix (on S3, s3:DeleteObject), or remove runs by other means; the object `probe` of \
             this check is still there"
        }
    }
    .into()
}
