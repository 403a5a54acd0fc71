//! Applies the choice of a plan to a run.

use shoal_estimate::{Constraints, Estimate};
use shoal_job::collect::Destination;
use shoal_job::{Cancel, Event};

use super::{PlanSettings, plan};
use crate::inputs::{STDIN, absolute};
use crate::machine::architecture;
use crate::runs::last_job;
use crate::{Error, Result, Settings};

/// The choice for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Auto {
    /// The batch size of an earlier start of the run.
    AsBefore {
        /// Records per batch.
        batch_size: u64,
    },
    /// The choice of a new plan.
    Chosen {
        /// The chosen candidate.
        estimate: Box<Estimate>,
        /// The reason.
        why: String,
    },
}

/// Sets batch size and concurrency of `settings` to the choice of a [`plan()`](super::plan()) for its backend and limits. A
/// given `batch_size` or concurrency is kept. A run that was started before keeps its batch size.
///
/// # Errors
/// As [`plan()`](super::plan()), and if no candidate is within the limits.
pub fn auto(
    settings: &mut Settings,
    batch_size: Option<u64>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Auto> {
    if settings.inputs.iter().any(|input| input == STDIN) {
        return Err(Error::Settings(
            "failed to plan: planning reads the input twice, and standard input can be read only once; name a file".into(),
        ));
    }
    let (destination, _) = Destination::parse(&settings.output, settings.format)?;
    let inputs = absolute(&settings.inputs)?;
    if let Some(job) = last_job(settings, &inputs, &destination.name(), None)? {
        let batch_size = job.parameters.batch_size;
        settings.parameters.batch_size = batch_size;
        return Ok(Auto::AsBefore { batch_size });
    }
    let backend = &settings.backend;
    let concurrency = backend.concurrency().map(|count| count as u64);
    let plan_settings = PlanSettings {
        inputs: settings.inputs.clone(),
        model: settings.model.clone(),
        parameters: settings.parameters.clone(),
        backend: Some(backend.kind()),
        machines: backend.settings().machine().cloned().into_iter().collect(),
        batch_sizes: batch_size.into_iter().collect(),
        concurrency: concurrency.into_iter().collect(),
        memory: deployed_memory(settings)?.into_iter().collect(),
        architectures: vec![architecture()],
        constraints: Constraints {
            deadline_seconds: settings.limits.max_seconds,
            max_usd: settings.limits.max_usd,
        },
        prices: settings.limits.prices.clone(),
        ..PlanSettings::default()
    };
    let report = plan(&plan_settings, cancel, emit)?;
    let Some(chosen) = report.chosen() else {
        return Err(Error::Settings(format!(
            "failed to choose a batch size and concurrency: {}; raise the limits, or set both yourself",
            report.choice.why
        )));
    };
    settings.parameters.batch_size = chosen.batch_size;
    let concurrency = usize::try_from(chosen.concurrency).unwrap_or(usize::MAX);
    settings.backend.set_concurrency(Some(concurrency));
    Ok(Auto::Chosen {
        estimate: Box::new(chosen.clone()),
        why: report.choice.why,
    })
}

/// The memory of the called function in MB.
#[cfg(feature = "aws")]
fn deployed_memory(settings: &Settings) -> Result<Option<u32>> {
    let Some(function) = settings.backend.settings().function() else {
        return Ok(None);
    };
    let deployed = shoal_aws::deployed(&crate::backend::aws_config()?, function)?;
    Ok(Some(deployed.sizing.memory_mb))
}

#[cfg(not(feature = "aws"))]
fn deployed_memory(_: &Settings) -> Result<Option<u32>> {
    Ok(None)
}
