//! One run of the campaign: starts the command repeatedly with faults, then without, and checks every result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::ObjectStore;
use shoal_dispatch::DispatchError;
use shoal_job::run_dir::FAILED;
use shoal_job::spec::Parameters;
use shoal_job::wire::{FailureKind, Remedy};
use shoal_job::{Cancel, Error};

use crate::command::{CommandLine, Completed, command};
use crate::data::{Ids, ids_of, lines, write_inputs};
use crate::platform::run_dir;
use crate::scenario::{CommandOptions, Scenario, Start, rng};
use crate::scheduler::Scheduler;
use crate::simulation::Simulation;
use crate::store::Handle;
use crate::{Fault, Faults};

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The first violated guarantee, if any.
    pub violation: Option<String>,
    /// The injected faults.
    pub faults: Faults,
    /// The number of input records.
    pub records: u64,
    /// Records that are neither in the output nor among the dead letters.
    pub lost: u64,
    /// Records that occur more than once.
    pub duplicated: u64,
    /// Starts of the command.
    pub starts: u64,
    /// Starts that completed although faults were injected.
    pub completed_despite_faults: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Calls of the function.
    pub calls: u64,
    /// The simulated time.
    pub time: Duration,
    /// A hash of all steps.
    pub digest: String,
}

/// The seed of run number `number` of the campaign with the seed `master`.
pub fn seed_of(master: u64, number: u64) -> u64 {
    // A short seed is easier to copy.
    rng(master, "campaign", number).u64(..) >> 16
}

/// Runs the scenario of `seed`. If `verbose` is set, it prints every step.
pub fn run(seed: u64, verbose: bool) -> Report {
    let scenario = Scenario::new(seed);
    let mut report = Report {
        seed,
        records: scenario.files.iter().sum::<usize>() as u64,
        ..Report::default()
    };
    if verbose {
        println!("{scenario:#?}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let (inputs, ids) = write_inputs(&scenario, folder.path());
    let line = CommandLine {
        inputs,
        folder: folder.path().to_owned(),
        output: String::new(),
        parameters: Parameters {
            batch_size: scenario.batch_size,
            columns: [("text".into(), "text".into())].into(),
            id_column: Some("id".into()),
            output_format: scenario.output,
            ..Parameters::default()
        },
    };
    let expected = undisturbed(&scenario, &line);
    let scheduler = Scheduler::new(verbose);
    let simulation = Simulation::new(scheduler.clone(), scenario);
    let mut user = User {
        simulation: &simulation,
        line,
        expected: &expected,
        report: &mut report,
    };
    let end = catch_unwind(AssertUnwindSafe(|| user.run(&ids)));
    let violation = match end {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(panic) => Some(shoal_job::wire::Failure::crashed(&*panic).to_string()),
    };
    // Stop all actors that are still running.
    let is_stuck = scheduler.is_stuck();
    if violation.is_some() {
        scheduler.abort();
    }
    report.time = scheduler.wait_for_all();
    let panics = scheduler.panics();
    report.violation = violation.or_else(|| panics.into_iter().next());
    if report.violation.is_none() && is_stuck {
        report.violation = Some("the run does not end".into());
    }
    report.faults = simulation.state().faults.clone();
    report.requests = simulation.state().requests;
    report.calls = simulation.state().calls;
    report.digest = scheduler.digest();
    report
}

/// The expected result.
struct Expected {
    completed: Completed,
    dead_letters: Vec<u8>,
}

/// Runs the same job without faults and with other batches.
fn undisturbed(scenario: &Scenario, line: &CommandLine) -> Expected {
    let scheduler = Scheduler::new(false);
    let simulation = Simulation::new(scheduler.clone(), scenario.undisturbed());
    simulation.stop_faults();
    let line = CommandLine {
        output: "expected".into(),
        parameters: Parameters {
            batch_size: simulation.scenario.batch_size,
            ..line.parameters.clone()
        },
        ..line.clone()
    };
    let (sender, end) = channel();
    let simulation_of_command = simulation.clone();
    scheduler.spawn("undisturbed".into(), Duration::ZERO, move || {
        let handle = Handle::of_command(&simulation_of_command, 0, None, None);
        let options = CommandOptions::default();
        let _ = sender.send(command(&handle, &line, &Cancel::new(), &options));
    });
    scheduler.wait_for_all();
    let end = end
        .try_recv()
        .unwrap_or_else(|_| panic!("{:?}", scheduler.panics()));
    Expected {
        completed: end.expect("a run without faults completes"),
        dead_letters: dead_letters(&simulation),
    }
}

/// Reads the dead letters from the store, without faults.
fn dead_letters(simulation: &Simulation) -> Vec<u8> {
    let letters = run_dir(simulation.objects.clone()).get(FAILED);
    let letters = letters.expect("the store can be read");
    letters.map_or_else(Vec::new, |letters| letters.to_vec())
}

/// The user, who starts commands.
struct User<'a> {
    simulation: &'a Arc<Simulation>,
    /// The arguments of the last command.
    line: CommandLine,
    expected: &'a Expected,
    report: &'a mut Report,
}

/// How a command ended.
struct End {
    result: Result<Completed, DispatchError>,
    handle: Handle,
    cancel: Cancel,
    order: CommandOptions,
}

impl User<'_> {
    /// Starts the command with faults, then twice without, and counts the records.
    fn run(&mut self, ids: &Ids) -> Result<(), String> {
        let scheduler = &self.simulation.scheduler;
        for start in &self.simulation.scenario.starts {
            let before = self.simulation.state().faults.clone();
            let calls = self.simulation.state().calls;
            let ends = self.start(start)?;
            let faults = self.simulation.state().faults.since(&before);
            for end in &ends {
                self.check_end(end, &faults, calls, ends.len())?;
                if end.result.is_ok() && faults.total() > 0 {
                    self.report.completed_despite_faults += 1;
                }
            }
            if !start.overlaps_next_start {
                scheduler.wait_for_all();
            }
        }
        scheduler.log("no faults from now on");
        self.simulation.stop_faults();
        scheduler.wait_for_all();
        for _ in 0..2 {
            let mut ends = self.start(&Start::fault_free())?;
            let end = ends.pop().expect("one command was started");
            self.check_end(&end, &Faults::default(), 0, 1)?;
            if let Err(error) = &end.result {
                return Err(format!("the command failed without faults: {error}"));
            }
        }
        self.count(ids)
    }

    /// Starts commands and waits until they end.
    fn start(&mut self, start: &Start) -> Result<Vec<End>, String> {
        let scheduler = &self.simulation.scheduler;
        self.simulation.schedule_outage(start.outage);
        if start.commands.len() > 1 {
            self.simulation.inject(Fault::SecondClient);
        }
        let (sender, receiver) = channel();
        for order in start.commands.clone() {
            self.report.starts += 1;
            let number = self.report.starts;
            let (simulation, sender) = (self.simulation.clone(), sender.clone());
            // Each command has its own output file: shoal does not support two writers of one file.
            self.line.output = format!("labels-{number}");
            let line = self.line.clone();
            let begin = scheduler.now() + order.delay;
            scheduler.spawn(format!("command {number}"), begin, move || {
                let cancel = Cancel::new();
                let ask = order.cancel.map(|trigger| (trigger, cancel.clone()));
                let handle = Handle::of_command(&simulation, number, order.crash, ask);
                // The dispatcher's jitter uses the generator of this thread.
                fastrand::seed(rng(simulation.scenario.seed, "jitter", number).u64(..));
                let result = command(&handle, &line, &cancel, &order);
                simulation.scheduler.log(match &result {
                    _ if handle.is_dead() => "has crashed".to_owned(),
                    Ok(_) => "has completed".to_owned(),
                    Err(error) => format!("has failed: {}", stable(&error.to_string())),
                });
                let end = End {
                    result,
                    handle,
                    cancel,
                    order,
                };
                // The user stops waiting if another command panics.
                let _ = sender.send(end);
            });
        }
        let mut ends = Vec::new();
        loop {
            scheduler.wait_until(scheduler.now() + Duration::from_secs(1));
            ends.extend(receiver.try_iter());
            if ends.len() == start.commands.len() {
                return Ok(ends);
            }
            if let Some(panic) = scheduler.panics().into_iter().next() {
                return Err(panic);
            }
            if scheduler.is_stuck() {
                return Err("the run does not end".into());
            }
        }
    }

    /// Checks that a command ended with the expected output, or with an error that the injected faults explain.
    fn check_end(
        &self,
        end: &End,
        faults: &Faults,
        calls: u64,
        commands: usize,
    ) -> Result<(), String> {
        if end.handle.is_dead() {
            return Ok(());
        }
        let error = match &end.result {
            Ok(completed) => return self.compare(completed),
            Err(error) => error,
        };
        let attempts = self.simulation.scenario.retry.attempts;
        let outage = faults.of(Fault::DiskFull) + faults.of(Fault::PermissionLost) > 0;
        // This start may find objects that earlier starts damaged.
        let all = self.simulation.state().faults.clone();
        let at_rest = all.of(Fault::TornObject)
            + all.of(Fault::LostObject)
            + all.of(Fault::FunctionCrash)
            + all.of(Fault::AnswerCorrupt);
        let is_explained = match error {
            DispatchError::Cancelled => end.cancel.is_cancelled(),
            DispatchError::Job(Error::Cancelled) => end.cancel.is_cancelled(),
            DispatchError::BadRecord { .. } => end.order.stop_on_bad_record,
            DispatchError::Job(Error::Storage { .. }) => end.handle.faults() > 0 || outage,
            // One of two commands may delete a torn object that the other one needs.
            DispatchError::Job(Error::Corrupt { .. }) => {
                at_rest >= if commands > 1 { 1 } else { u64::from(attempts) }
            }
            DispatchError::Batch { batch, failure, .. } => match failure.kind {
                FailureKind::Storage | FailureKind::Refused => outage,
                FailureKind::Throttled => faults.of(Fault::Throttled) > 0,
                kind if kind.remedy() != Remedy::Stop => {
                    // Retries are also limited by time.
                    let slept = faults.of(Fault::FunctionSleeps) + faults.of(Fault::ClientSleeps);
                    // A batch of one record is quarantined after two crashes, and the quarantine may fail too.
                    let min_disturbed = if slept > 0 {
                        1
                    } else {
                        attempts.min(3) as usize
                    };
                    self.simulation.disturbed_calls_of(*batch, calls) >= min_disturbed || outage
                }
                _ => false,
            },
            DispatchError::CircuitOpen { batches, .. } => {
                self.simulation.state().disturbed.len() >= *batches || outage
            }
            _ => false,
        };
        if is_explained {
            return Ok(());
        }
        Err(format!(
            "a command (of {commands}) failed without an explanation: {error}; the faults of this start are {faults:?}"
        ))
    }

    fn compare(&self, completed: &Completed) -> Result<(), String> {
        let expected = &self.expected.completed;
        if completed.quarantined > 0 {
            return self.compare_some(completed);
        }
        if (completed.results, completed.failed) != (expected.results, expected.failed) {
            return Err(format!(
                "{} results and {} dead letters, expected {} and {}",
                completed.results, completed.failed, expected.results, expected.failed
            ));
        }
        if completed.output != expected.output {
            return Err(format!(
                "the output differs from that of an undisturbed run:\n{}\nexpected\n{}",
                String::from_utf8_lossy(&completed.output),
                String::from_utf8_lossy(&expected.output)
            ));
        }
        Ok(())
    }

    /// Compares an output that lacks quarantined records.
    fn compare_some(&self, completed: &Completed) -> Result<(), String> {
        let Completed {
            output,
            results,
            failed,
            quarantined,
            ..
        } = completed;
        // A record is quarantined after at least two crashes.
        if 2 * quarantined > self.simulation.state().disturbed.len() as u64 {
            return Err(format!(
                "{quarantined} records are quarantined without enough crashes"
            ));
        }
        if results + failed != self.report.records
            || failed - quarantined != self.expected.completed.failed
        {
            return Err(format!(
                "{results} results and {failed} dead letters, {quarantined} of them quarantined"
            ));
        }
        let format = self.simulation.scenario.output;
        let (all, some) = (
            ids_of(format, &self.expected.completed.output),
            ids_of(format, output),
        );
        let mut rest = all.iter();
        if some.len() as u64 != *results || !some.iter().all(|id| rest.any(|other| other == id)) {
            return Err(format!("results {some:?} are not a subsequence of {all:?}"));
        }
        Ok(())
    }

    /// Counts every record in the last output and in the dead letters.
    fn count(&mut self, ids: &Ids) -> Result<(), String> {
        let dead_letters = dead_letters(self.simulation);
        if dead_letters != self.expected.dead_letters {
            return Err("the dead letters differ from those of an undisturbed run".into());
        }
        let output = std::fs::read(self.line.output()).expect("the last command wrote its output");
        let good = ids_of(self.simulation.scenario.output, &output);
        let bad = lines(&dead_letters);
        for (wanted, found) in [(&ids.good, &good), (&ids.bad, &bad)] {
            for id in wanted {
                match found.iter().filter(|found| *found == id).count() {
                    0 => self.report.lost += 1,
                    1 => {}
                    _ => self.report.duplicated += 1,
                }
            }
            if wanted != found {
                return Err(format!("records {found:?}, expected {wanted:?}"));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("the system can start a runtime");
        let leftovers = runtime.block_on(self.simulation.objects.list(None).count());
        self.simulation
            .scheduler
            .log(format_args!("{leftovers} objects"));
        Ok(())
    }
}

/// An error message without paths of temporary folders, which vary between runs.
fn stable(text: &str) -> String {
    let folder = std::env::temp_dir().display().to_string();
    let words = text.split(' ').filter(|word| !word.contains(&folder));
    words.collect::<Vec<_>>().join(" ")
}
