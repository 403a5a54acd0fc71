//! The lengths of a job's records, and calibrations for them.

use std::sync::Arc;

use shoal_encoder::Target;
use shoal_estimate::simulate::ColdStart;
use shoal_estimate::{Architecture, Calibration, Prices, Workload};
use shoal_function::Runner;
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Event};
use shoal_runners::EncoderRunner;

use super::calibrate;
use super::candidates::PlanContext;
use super::lengths::{self, Lengths};
use crate::inputs::{Inputs, bytes, spool_folder};
use crate::machine::architecture;
use crate::scratch::ScratchRun;
use crate::{Error, ModelSettings, Result};

/// Larger inputs are split into larger batches, to limit the memory of the batch table.
const LARGE_BYTES: u64 = 1 << 30;

/// The lengths of a job's records, and what is needed to calibrate for them.
pub(crate) struct Study {
    pub(crate) workload: Workload,
    /// Number of consecutive records in a sampled group.
    pub(crate) group: usize,
    pub(crate) runner: Arc<EncoderRunner>,
    texts: Vec<String>,
    model: ModelSettings,
    /// Size of a function's program and model.
    pub(super) package_bytes: u64,
}

impl Study {
    pub(crate) fn read(
        inputs: &[String],
        model: &ModelSettings,
        parameters: &Parameters,
        cancel: &Cancel,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let inputs = Inputs::find(inputs, parameters.input_format, spool_folder, cancel)?;
        let runner = model.open()?;
        let is_large = bytes(&inputs.found) > LARGE_BYTES;
        let parameters = Parameters {
            batch_size: if is_large { 1_000 } else { 50 },
            ..parameters.clone()
        };
        let spec = runner.spec();
        let progress = &mut |records| emit(&Event::Planning { records });
        let scratch = ScratchRun::plan(
            &inputs.names,
            inputs.spool(),
            spec,
            parameters,
            cancel,
            progress,
        )?;
        emit(&Event::Planned {
            records: scratch.job.records,
            batches: scratch.job.batches,
            notes: scratch.job.notes(),
        });
        let Lengths {
            workload,
            group,
            texts,
        } = lengths::read(&scratch, &runner, cancel)?;
        let program = std::env::current_exe().and_then(std::fs::metadata);
        let program_bytes = program.map_or(0, |meta| meta.len());
        Ok(Self {
            workload,
            group,
            package_bytes: program_bytes + runner.model().packed_bytes(),
            runner,
            texts,
            model: model.clone(),
        })
    }

    pub(crate) fn context<'a>(
        &'a self,
        calibration: &'a Calibration,
        prices: &'a Prices,
        region: &'a str,
        quota: u64,
    ) -> PlanContext<'a> {
        PlanContext {
            workload: &self.workload,
            group: self.group,
            calibration,
            prices,
            region,
            quota,
            this_machine: None,
            cold: ColdStart::LAMBDA,
        }
    }

    /// A calibration for each architecture: a given one, or a new one.
    pub(crate) fn calibrations(
        &self,
        architectures: Vec<Architecture>,
        given: &[Calibration],
        cancel: &Cancel,
        assumptions: &mut Vec<String>,
    ) -> Result<Vec<Calibration>> {
        given.iter().try_for_each(|given| self.check(given))?;
        let measure = || calibrate::calibrate(&self.runner, &self.model, &self.texts, cancel);
        let mut calibrations: Vec<Calibration> = Vec::new();
        for wanted in architectures {
            let is_wanted = |calibration: &&Calibration| calibration.architecture == wanted;
            if calibrations.iter().any(|known| is_wanted(&known)) {
                continue;
            }
            let calibration = match given.iter().find(is_wanted) {
                Some(given) => given.clone(),
                None if wanted == architecture() => measure()?,
                None => {
                    let other = calibrations.first().or(given.first()).cloned();
                    assumptions.push(format!(
                        "{} was not measured: its times are those of the portable kernels on this machine, since the engine has \
                         none for it; a calibration saved on such a machine is more accurate",
                        wanted
                    ));
                    self.portable(other.map_or_else(measure, Ok)?, wanted)
                }
            };
            calibrations.push(calibration);
        }
        Ok(calibrations)
    }

    /// `calibration`, but with the times of portable kernels.
    fn portable(&self, calibration: Calibration, architecture: Architecture) -> Calibration {
        let calibration = Calibration {
            architecture,
            ..calibration
        };
        let mut model = self.model.clone();
        model.engine.isa = Some(Target::Portable);
        // A packed model may not include them.
        let Ok(runner) = model.open() else {
            return calibration;
        };
        let (points, spread) = calibrate::points(runner.model(), runner.max_tokens());
        Calibration {
            points,
            spread,
            isa: Target::Portable,
            ..calibration
        }
    }

    fn check(&self, calibration: &Calibration) -> Result<()> {
        let spec = self.runner.spec();
        let precision = self.runner.model().precision();
        if calibration.fingerprint == spec.fingerprint && calibration.precision == precision {
            return Ok(());
        }
        Err(Error::Settings(format!(
            "failed to use the calibration of {} in {}: this plan is for {} in {precision}; calibrate with that model",
            calibration.model, calibration.precision, spec.reference
        )))
    }
}
