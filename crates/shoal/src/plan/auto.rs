//! Taking a plan's choice for a run.

use shoal_estimate::{Constraints, Estimate};
use shoal_job::{Cancel, Event, RunDir};

use super::{PlanSettings, plan};
use crate::{Error, Result, Settings, runs};

/// What was chosen for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Auto {
    /// What an earlier start of the run chose.
    AsBefore {
        /// Records in a batch.
        batch_size: u64,
    },
    /// What a plan chose now.
    Chosen {
        /// The way.
        estimate: Box<Estimate>,
        /// Why.
        why: String,
    },
}

/// Sets batch size and functions at a time of `settings` to what a [`plan()`](super::plan()) for its backend chooses within its
/// guards. A batch size or concurrency that is given as `batch_size` or in the place is kept. A run that was started before
/// keeps its batch size, since its plan does not change.
///
/// # Errors
/// As [`plan()`](super::plan()), and where no way is within the guards.
pub fn auto(
    settings: &mut Settings,
    batch_size: Option<u64>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Auto> {
    if settings.inputs.iter().any(|input| input == "-") {
        return Err(Error::Settings(
            "failed to plan: --auto reads the input twice, which standard input cannot be; give a file".into(),
        ));
    }
    if let Some(batch_size) = started_before(settings)? {
        settings.parameters.batch_size = batch_size;
        return Ok(Auto::AsBefore { batch_size });
    }
    let place = &settings.place;
    let report = plan(
        &PlanSettings {
            inputs: settings.inputs.clone(),
            model: settings.model.clone(),
            parameters: settings.parameters.clone(),
            backend: Some(place.backend),
            machines: place.machine.iter().cloned().collect(),
            batch_sizes: batch_size.into_iter().collect(),
            concurrency: place
                .concurrency
                .iter()
                .map(|&functions| functions as u64)
                .collect(),
            memory: deployed_memory(settings)?.into_iter().collect(),
            architectures: vec![super::calibrate::architecture()],
            wish: Constraints {
                deadline_seconds: settings.limits.max_seconds,
                max_usd: settings.limits.max_usd,
            },
            prices: settings.limits.prices.clone(),
            ..PlanSettings::default()
        },
        cancel,
        emit,
    )?;
    let Some(chosen) = report.chosen() else {
        return Err(Error::Settings(format!(
            "failed to choose a way to run: {}; allow more, or choose yourself (`shoal plan` shows the ways)",
            report.choice.why
        )));
    };
    settings.parameters.batch_size = chosen.batch_size;
    settings.place.concurrency = Some(usize::try_from(chosen.concurrency).unwrap_or(usize::MAX));
    Ok(Auto::Chosen {
        estimate: Box::new(chosen.clone()),
        why: report.choice.why.clone(),
    })
}

/// The batch size of the run that `settings` go on with, if there is one.
fn started_before(settings: &Settings) -> Result<Option<u64>> {
    if settings.fresh {
        return Ok(None);
    }
    let folder = match &settings.run_dir {
        Some(folder) => folder.clone(),
        None => {
            let (destination, _) =
                shoal_job::collect::Destination::parse(&settings.output, settings.format)?;
            let inputs = crate::run::absolute(&settings.inputs)?;
            runs::default_dir(
                &inputs,
                &destination.name(),
                None,
                settings.store.as_deref(),
            )?
        }
    };
    let is_there = folder.to_str().is_some_and(shoal_job::store::is_url) || folder.is_dir();
    if !is_there {
        return Ok(None);
    }
    let job = RunDir::open(&folder)?.job()?;
    Ok(job.map(|job| job.parameters.batch_size))
}

/// Memory of the function that is deployed, where one is called.
#[cfg(feature = "aws")]
fn deployed_memory(settings: &Settings) -> Result<Option<u32>> {
    if !settings.place.needs_store() {
        return Ok(None);
    }
    let deployed = shoal_aws::deployed(&crate::backend::aws_config()?, settings.place.function());
    let deployed =
        deployed.map_err(|e| Error::from_dispatch(e, String::new(), |_| String::new()))?;
    Ok(Some(deployed.sizing.memory_mb))
}

#[cfg(not(feature = "aws"))]
fn deployed_memory(_: &Settings) -> Result<Option<u32>> {
    Ok(None)
}
