//! Chooses the precision of a model, unless the user did.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use shoal_encoder::Precision;
use shoal_function::Runner;
use shoal_job::Record;
use shoal_job::input::{Found, sample};
use shoal_job::spec::Parameters;
use shoal_runners::EncoderRunner;
use shoal_tasks::TaskKind;

use super::cache::{Agreement, Cache, Key};
use super::check::compare;
use super::{ModelSettings, Source};
use crate::Result;
use shoal_report::numbers::plural;

/// The time limit of a comparison …
const MAX_TIME: Duration = Duration::from_secs(5);
/// … and its highest share of the run's work. The share is of tokens, not of time, so that the choice does not depend on how
/// busy the machine is.
const MAX_SHARE: f64 = 0.05;
/// Each record is processed in both precisions; `int8` takes about a third of the time of `f32`.
const WORK_OF_BOTH: f64 = 4.0 / 3.0;
/// With fewer records, the result would be random.
const MIN_RECORDS: usize = 30;
/// More records would hardly change the result.
const MAX_RECORDS: usize = 1_000;
/// Records per comparison step of a thread.
const CHUNK: usize = 10;
/// Approximate bytes of an input per token.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Approximate compression ratio of text.
const COMPRESSION: f64 = 3.0;

/// The records of a run that is not planned yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upcoming<'a> {
    pub(crate) found: &'a [Found],
    pub(crate) parameters: &'a Parameters,
}

impl Upcoming<'_> {
    /// The approximate number of tokens.
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

/// Chooses the precision of a model that is not packed, and explains the choice.
pub(super) fn choose(
    source: &Source,
    settings: &ModelSettings,
    cache: &Cache,
    key: Key<'_>,
    upcoming: Option<Upcoming<'_>>,
) -> Result<(Precision, Option<String>)> {
    if matches!(source, Source::Bundled) && key.task == TaskKind::Classify {
        // A test compares both on every instruction set.
        return Ok((Precision::Int8, None));
    }
    let not_measured = |reason: &str| Ok((Precision::F32, Some(reason.to_owned())));
    let open = |precision| {
        let purpose = key.task.purpose();
        let checkpoint = || source.checkpoint();
        let model = cache.open(key.fingerprint, purpose, precision, key.isa, checkpoint)?;
        settings.runner(source.reference(), model)
    };
    let agreement = match (cache.agreement(key), upcoming) {
        (Some(known), _) => known,
        (None, None) => {
            return not_measured("int8 was never compared with f32 for this model");
        }
        (None, Some(upcoming)) => {
            let f32 = open(Precision::F32)?;
            let records = sample(upcoming.found, f32.spec(), upcoming.parameters, MAX_RECORDS)?;
            let max_tokens = MAX_SHARE * upcoming.tokens() / WORK_OF_BOTH;
            let records = within(&f32, records, max_tokens)?;
            if records.len() < MIN_RECORDS {
                return not_measured("the job is too small to compare int8 with f32");
            }
            let Ok(int8) = open(Precision::Int8) else {
                return not_measured("its weights cannot be stored in int8");
            };
            let Some(measured) = measure(&f32, &int8, records)? else {
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
    let explanation = format!(
        "int8 and f32 agree to {:.2} %: {}, on {}",
        100.0 * agreement.agreement,
        agreement.measure,
        plural(agreement.records, "record", "records")
    );
    Ok((precision, Some(explanation)))
}

/// Compares both for at most [`MAX_TIME`]; `None` if that is too short for [`MIN_RECORDS`].
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

/// The first of `records` that have at most `max_tokens` tokens together.
fn within(
    runner: &EncoderRunner,
    mut records: Vec<Record>,
    max_tokens: f64,
) -> Result<Vec<Record>> {
    let mut tokens = 0.0;
    for index in 0..records.len() {
        tokens += runner.encode(records[index].text())?.ids.len() as f64;
        if tokens > max_tokens {
            records.truncate(index);
            break;
        }
    }
    Ok(records)
}
