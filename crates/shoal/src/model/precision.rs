//! Which precision a model runs in, where the user does not say.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shoal_encoder::{Isa, Precision};
use shoal_function::Runner;
use shoal_job::Record;
use shoal_job::input::{Found, sample};
use shoal_job::spec::Parameters;
use shoal_runners::EncoderRunner;
use shoal_tasks::TaskKind;

use super::cache::Cache;
use super::check::compare;
use super::{ModelSettings, Source};
use crate::{Error, Result};

/// The comparison ends after this time …
const MAX_TIME: Duration = Duration::from_secs(5);
/// … and does no more than this share of the run's work. It is counted in tokens: were it timed, the same command could
/// choose another precision on a busy machine.
const MAX_SHARE: f64 = 0.05;
/// Each record is processed in both precisions; `int8` takes about a third of the time of `f32`.
const WORK_OF_BOTH: f64 = 4.0 / 3.0;
/// On fewer records, chance would decide.
const MIN_RECORDS: usize = 30;
/// More records tell hardly more.
const MAX_RECORDS: usize = 1_000;
/// Records that a thread compares at a time.
const CHUNK: usize = 10;
/// Bytes of an input for each token, about.
const BYTES_PER_TOKEN: f64 = 4.0;
/// What compression of text saves, about.
const COMPRESSION: f64 = 3.0;

/// How the precision of a run was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PrecisionChoice {
    /// By the user, the packed model or the job.
    Given,
    /// For the bundled model: `int8`, as tests of shoal compared it.
    Bundled,
    /// By comparing `int8` with `f32`.
    Measured(Agreement),
    /// `f32`, since both were not compared.
    NotMeasured(&'static str),
}

/// How `int8` agrees with `f32` on some records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The mean over the records, from 0 to 1, of the task's [agreement](shoal_tasks::Task::agreement).
    pub agreement: f64,
    /// What was measured, such as "same label".
    pub measure: String,
    /// The number of records.
    pub records: u64,
}

impl PrecisionChoice {
    /// Why it is this precision, where the user did not choose it.
    pub fn explanation(&self) -> Option<String> {
        match self {
            Self::Given | Self::Bundled => None,
            Self::Measured(Agreement {
                agreement,
                measure,
                records,
            }) => Some(format!(
                "int8 and f32 agree to {:.2} %: {measure}, on {records} records",
                100.0 * agreement
            )),
            Self::NotMeasured(reason) => Some((*reason).to_owned()),
        }
    }
}

/// The records that a run will process, as far as is known before it is planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upcoming<'a> {
    pub(crate) found: &'a [Found],
    pub(crate) parameters: &'a Parameters,
}

impl Upcoming<'_> {
    /// About how many tokens there are.
    fn tokens(&self) -> f64 {
        let bytes = self.found.iter().map(|found| {
            let bytes = found.location.meta().map_or(0, |meta| meta.bytes) as f64;
            if found.is_compressed() {
                COMPRESSION * bytes
            } else {
                bytes
            }
        });
        bytes.sum::<f64>() / BYTES_PER_TOKEN
    }
}

/// What an agreement was measured for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) fingerprint: &'a str,
    pub(super) task: TaskKind,
    pub(super) isa: Isa,
}

/// Chooses the precision of a model that is not packed.
pub(super) fn choose(
    source: &Source,
    settings: &ModelSettings,
    cache: &Cache,
    key: Key<'_>,
    upcoming: Option<Upcoming<'_>>,
) -> Result<(Precision, PrecisionChoice)> {
    if matches!(source, Source::Bundled) && key.task == TaskKind::Classify {
        // A test compares both on every instruction set.
        return Ok((Precision::Int8, PrecisionChoice::Bundled));
    }
    let not_measured = |reason| Ok((Precision::F32, PrecisionChoice::NotMeasured(reason)));
    let open = |precision| {
        let purpose = key.task.purpose();
        let checkpoint = || source.checkpoint();
        let model = cache.open(key.fingerprint, purpose, precision, key.isa, checkpoint)?;
        let ModelSettings {
            task, max_tokens, ..
        } = settings;
        let runner = EncoderRunner::new(source.reference(), model.into(), task, *max_tokens)?;
        Ok::<_, Error>(runner)
    };
    let agreement = match (cache.agreement(key), upcoming) {
        (Some(known), _) => known,
        (None, None) => {
            return not_measured("int8 was never compared with f32 for this model");
        }
        (None, Some(upcoming)) => {
            let f32 = open(Precision::F32)?;
            let records = sample(upcoming.found, f32.spec(), upcoming.parameters, MAX_RECORDS)?;
            let share = MAX_SHARE * upcoming.tokens() / WORK_OF_BOTH;
            let affordable = within(&f32, records, share)?;
            if affordable.len() < MIN_RECORDS {
                return not_measured(
                    "the job is too small for a comparison of int8 with f32 to pay",
                );
            }
            let Ok(int8) = open(Precision::Int8) else {
                return not_measured("its weights cannot be stored in int8");
            };
            let Some(measured) = measure(&f32, &int8, affordable)? else {
                return not_measured("a comparison of int8 with f32 takes too long for this job");
            };
            cache.remember_agreement(key, &measured);
            measured
        }
    };
    let sufficient = key.task.sufficient_agreement();
    let precision = if agreement.agreement >= sufficient {
        Precision::Int8
    } else {
        Precision::F32
    };
    Ok((precision, PrecisionChoice::Measured(agreement)))
}

/// Compares both for [`MAX_TIME`] at most; `None` where that is too short for [`MIN_RECORDS`].
fn measure(
    f32: &EncoderRunner,
    int8: &EncoderRunner,
    records: Vec<Record>,
) -> Result<Option<Agreement>> {
    let end = Instant::now() + MAX_TIME;
    let records = Mutex::new(records);
    let next = || {
        let mut records = records.lock().expect("nobody panics while holding it");
        let rest = records.len().saturating_sub(CHUNK);
        if Instant::now() >= end {
            return None;
        }
        let chunk = records.split_off(rest);
        (!chunk.is_empty()).then_some(Ok(chunk))
    };
    let compared = compare(f32, int8, &next, &|_| {})?;
    Ok((compared.records >= MIN_RECORDS as u64).then(|| Agreement {
        agreement: compared.agreement(),
        measure: compared.measure.to_owned(),
        records: compared.records,
    }))
}

/// The first of `records` that have `most` tokens together.
fn within(runner: &EncoderRunner, mut records: Vec<Record>, most: f64) -> Result<Vec<Record>> {
    let mut tokens = 0.0;
    for index in 0..records.len() {
        tokens += runner.encode(records[index].text())?.ids.len() as f64;
        if tokens > most {
            records.truncate(index);
            break;
        }
    }
    Ok(records)
}
