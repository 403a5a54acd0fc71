//! One run of the campaign: the user starts the command, sees it end, mends what broke, and starts it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use shoal_dispatch::DispatchError;
use shoal_dispatch::conformance::HashLabels;
use shoal_function::Runner;
use shoal_job::spec::Parameters;
use shoal_job::wire::FailureKind;
use shoal_job::{Cancel, Error};

use crate::cloud::Cloud;
use crate::command::{Delivered, Line, command};
use crate::data::{Ids, ids_of, lines, write_inputs};
use crate::platform::RUN;
use crate::scenario::{Order, Scenario, Start, rng};
use crate::store::Handle;
use crate::world::World;
use crate::{Fault, Faults};

/// What all runs share.
pub struct Stock {
    runner: Arc<dyn Runner>,
}

impl Stock {
    /// Makes it.
    pub fn new() -> Self {
        Self {
            runner: Arc::new(HashLabels::default()),
        }
    }
}

impl Default for Stock {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What did not hold, if anything.
    pub breach: Option<String>,
    /// What went wrong in it, on purpose.
    pub faults: Faults,
    /// Records that went in.
    pub records: u64,
    /// Records that are in the end neither in the output nor among the dead letters.
    pub lost: u64,
    /// Records that are there more than once.
    pub doubled: u64,
    /// Starts of the command.
    pub starts: u64,
    /// Starts that came to their end although something went wrong during them.
    pub endured: u64,
    /// Requests to the store.
    pub requests: u64,
    /// Calls of the function.
    pub calls: u64,
    /// Time that went by in the world.
    pub time: Duration,
    /// Stands for all steps: the same seed has the same digest each time.
    pub digest: String,
}

/// The seed of run number `number` of the campaign that `master` stands for.
pub fn seed_of(master: u64, number: u64) -> u64 {
    // Short enough to be read out.
    rng(master, "campaign", number).u64(..) >> 16
}

/// Runs what `seed` stands for; `is_told` has each step printed.
pub fn run(stock: &Stock, seed: u64, is_told: bool) -> Report {
    let scenario = Scenario::new(seed);
    let mut report = Report {
        seed,
        breach: None,
        faults: Faults::default(),
        records: scenario.files.iter().sum::<usize>() as u64,
        lost: 0,
        doubled: 0,
        starts: 0,
        endured: 0,
        requests: 0,
        calls: 0,
        time: Duration::ZERO,
        digest: String::new(),
    };
    if is_told {
        println!("{scenario:#?}");
    }
    let folder = tempfile::tempdir().expect("the system has room for a folder");
    let (inputs, ids) = write_inputs(&scenario, folder.path());
    let line = Line {
        inputs,
        output: folder
            .path()
            .join("out")
            .with_extension(scenario.output.extension()),
        parameters: Parameters {
            batch_size: scenario.batch_size,
            columns: [("text".into(), "text".into())].into(),
            id_column: Some("id".into()),
            output_format: scenario.output,
            ..Parameters::default()
        },
    };
    let expected = undisturbed(stock, &scenario, &line, folder.path());
    let world = World::new(is_told);
    let cloud = Cloud::new(world.clone(), scenario);
    let mut user = User {
        stock,
        cloud: &cloud,
        line: &line,
        expected: &expected,
        report: &mut report,
        commands: 0,
    };
    let end = catch_unwind(AssertUnwindSafe(|| user.live(&ids)));
    let breach = match end {
        Ok(Ok(())) => None,
        Ok(Err(breach)) => Some(breach),
        Err(panic) => Some(shoal_job::wire::Failure::crashed(&*panic).to_string()),
    };
    // Whatever is still under way must not be left behind.
    let is_endless = world.is_endless();
    if breach.is_some() {
        world.end();
    }
    report.time = world.outlive_all();
    let panics = world.panics();
    report.breach = breach.or_else(|| panics.into_iter().next());
    if report.breach.is_none() && is_endless {
        report.breach = Some("there is no end to it".into());
    }
    report.faults = cloud.faults();
    report.requests = cloud.requests();
    report.calls = cloud.calls();
    report.digest = world.digest();
    report
}

/// What a run must deliver.
struct Expected {
    output: Vec<u8>,
    letters: Vec<u8>,
    results: u64,
    failed: u64,
}

/// The same job without any fault, cut otherwise.
fn undisturbed(stock: &Stock, scenario: &Scenario, line: &Line, folder: &Path) -> Expected {
    let world = World::new(false);
    let cloud = Cloud::new(world.clone(), scenario.undisturbed());
    cloud.calm_down();
    let line = Line {
        output: folder
            .join("expected")
            .with_extension(scenario.output.extension()),
        parameters: Parameters {
            batch_size: cloud.scenario.batch_size,
            ..line.parameters.clone()
        },
        ..line.clone()
    };
    let delivered = Arc::new(Mutex::new(None));
    let letters = {
        let (cloud, runner, delivered) = (cloud.clone(), stock.runner.clone(), delivered.clone());
        world.spawn("undisturbed".into(), Duration::ZERO, move || {
            let handle = Handle::of_command(&cloud, 0, None, None);
            let end = command(
                &cloud,
                &handle,
                &runner,
                &line,
                &Cancel::new(),
                &Order::default(),
            );
            *delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        });
        world.outlive_all();
        letters
    };
    let delivered = delivered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Delivered {
        output,
        results,
        failed,
        ..
    } = delivered
        .unwrap_or_else(|| panic!("{:?}", world.panics()))
        .expect("without faults all is well");
    Expected {
        output,
        letters: letters(&cloud),
        results,
        failed,
    }
}

/// The dead letters as they lie in the store, past all faults.
fn letters(cloud: &Cloud) -> Vec<u8> {
    let path = object_store::path::Path::from(format!("{RUN}/failed.jsonl"));
    now(async {
        match cloud.objects.get(&path).await {
            Ok(found) => found.bytes().await.expect("memory can be read").to_vec(),
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(e) => panic!("{e}"),
        }
    })
}

/// What a future that needs nobody else comes to.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("the system can start a runtime")
        .block_on(future)
}

/// Who starts commands.
struct User<'a> {
    stock: &'a Stock,
    cloud: &'a Arc<Cloud>,
    line: &'a Line,
    expected: &'a Expected,
    report: &'a mut Report,
    commands: u64,
}

/// How a command ended.
struct End {
    result: Result<Delivered, DispatchError>,
    handle: Handle,
    cancel: Cancel,
    order: Order,
}

impl User<'_> {
    /// Starts the command until all is well, and once more.
    fn live(&mut self, ids: &Ids) -> Result<(), String> {
        let Cloud {
            world, scenario, ..
        } = &**self.cloud;
        for start in &scenario.starts {
            let before = self.cloud.faults();
            let calls = self.cloud.calls();
            let ends = self.start(start)?;
            let faults = self.cloud.faults().since(&before);
            for end in &ends {
                self.judge(end, &faults, calls, ends.len())?;
                if end.result.is_ok() && faults.total() > 0 {
                    self.report.endured += 1;
                }
            }
            if !start.is_hasty {
                world.outlive_all();
            }
        }
        world.emit("all is well from now on");
        self.cloud.calm_down();
        world.outlive_all();
        for _ in 0..2 {
            let mut ends = self.start(&Start::calm())?;
            let end = ends.pop().expect("one command was started");
            self.judge(&end, &Faults::default(), 0, 1)?;
            if let Err(error) = &end.result {
                return Err(format!("all is well, and the command fails: {error}"));
            }
        }
        self.count(ids)
    }

    /// Starts commands, and waits for their ends.
    fn start(&mut self, start: &Start) -> Result<Vec<End>, String> {
        let world = &self.cloud.world;
        self.cloud.expect(start.outage);
        if start.commands.len() > 1 {
            self.cloud.inject(Fault::SecondClient);
        }
        let ends = Arc::new(Mutex::new(Vec::new()));
        for order in start.commands.clone() {
            self.commands += 1;
            self.report.starts += 1;
            let number = self.commands;
            let (cloud, runner) = (self.cloud.clone(), self.stock.runner.clone());
            let ends = ends.clone();
            let mut line = self.line.clone();
            // Two commands that write the same output at once are another matter.
            line.output.set_file_name(format!("labels-{number}"));
            line.output.set_extension(cloud.scenario.output.extension());
            let begin = world.now() + order.delay;
            world.spawn(format!("command {number}"), begin, move || {
                let cancel = Cancel::new();
                let ask = order.cancel.map(|doom| (doom, cancel.clone()));
                let handle = Handle::of_command(&cloud, number, order.crash, ask);
                // The dispatcher's own chances are of this thread.
                fastrand::seed(rng(cloud.scenario.seed, "jitter", number).u64(..));
                let result = command(&cloud, &handle, &runner, &line, &cancel, &order);
                cloud.world.emit(match &result {
                    _ if handle.is_dead() => "is gone".to_owned(),
                    Ok(_) => "has delivered".to_owned(),
                    Err(error) => format!("ends: {}", stable(&error.to_string())),
                });
                let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
                ends.push(End {
                    result,
                    handle,
                    cancel,
                    order,
                });
            });
        }
        loop {
            world.wait_until(world.now() + Duration::from_secs(1));
            let mut ended = ends.lock().unwrap_or_else(PoisonError::into_inner);
            if ended.len() == start.commands.len() {
                return Ok(ended.drain(..).collect());
            }
            if let Some(panic) = world.panics().into_iter().next() {
                return Err(panic);
            }
            if world.is_endless() {
                return Err("there is no end to it".into());
            }
        }
    }

    /// Whether a command ended as it may: by delivering what it must, or by an error that something that went wrong
    /// explains.
    fn judge(&self, end: &End, faults: &Faults, calls: u64, commands: usize) -> Result<(), String> {
        let End {
            result,
            handle,
            cancel,
            order,
        } = end;
        if handle.is_dead() {
            return Ok(());
        }
        let error = match result {
            Ok(delivered) => return self.compare(delivered),
            Err(error) => error,
        };
        let attempts = self.cloud.scenario.retry.attempts;
        let outage = faults.of(Fault::DiskFull) + faults.of(Fault::PermissionLost) > 0;
        // What earlier starts left torn is found by this one.
        let all = self.cloud.faults();
        let at_rest = all.of(Fault::TornObject)
            + all.of(Fault::LostObject)
            + all.of(Fault::FunctionCrash)
            + all.of(Fault::AnswerCorrupt);
        let is_explained = match error {
            DispatchError::Cancelled => cancel.is_cancelled(),
            DispatchError::Job(Error::Cancelled) => cancel.is_cancelled(),
            DispatchError::BadRecord { .. } => order.stop_on_bad_record,
            DispatchError::Job(Error::Storage { .. }) => handle.faults() > 0 || outage,
            // What one of two commands finds torn, and forgets, the other one misses.
            DispatchError::Job(Error::Corrupt { .. }) => {
                at_rest >= if commands > 1 { 1 } else { u64::from(attempts) }
            }
            DispatchError::Batch { batch, failure, .. } => match failure.kind {
                FailureKind::Storage | FailureKind::Refused => outage,
                FailureKind::Throttled => faults.of(Fault::Throttled) > 0,
                kind if kind.may_retry() => {
                    // Attempts end after some time too.
                    let slept = faults.of(Fault::FunctionSleeps) + faults.of(Fault::ClientSleeps);
                    // One record that kills its function twice is to be buried, and that has one attempt.
                    let least = if slept > 0 {
                        1
                    } else {
                        attempts.min(3) as usize
                    };
                    self.cloud.hurts(*batch, calls) >= least || outage
                }
                _ => false,
            },
            DispatchError::CircuitOpen { batches, .. } => {
                self.cloud.all_hurts() >= *batches || outage
            }
            _ => false,
        };
        if is_explained {
            return Ok(());
        }
        Err(format!(
            "a command (of {commands}) ends by what nothing explains: {error}; in this start there were {faults:?}"
        ))
    }

    fn compare(&self, delivered: &Delivered) -> Result<(), String> {
        let Expected {
            output,
            results,
            failed,
            ..
        } = self.expected;
        if delivered.quarantined > 0 {
            return self.compare_some(delivered);
        }
        if (delivered.results, delivered.failed) != (*results, *failed) {
            return Err(format!(
                "{} results and {} dead letters, not {results} and {failed}",
                delivered.results, delivered.failed
            ));
        }
        if delivered.output != *output {
            return Err(format!(
                "the output has other bytes than that of an undisturbed run:\n{}\nrather than\n{}",
                String::from_utf8_lossy(&delivered.output),
                String::from_utf8_lossy(output)
            ));
        }
        Ok(())
    }

    /// Compares an output that lacks records which were given up: those that killed their function.
    fn compare_some(&self, delivered: &Delivered) -> Result<(), String> {
        let Delivered {
            output,
            results,
            failed,
            quarantined,
            ..
        } = delivered;
        // A record is buried after it has ended so twice at least.
        if 2 * quarantined > self.cloud.all_hurts() as u64 {
            return Err(format!("{quarantined} records are buried, and did nothing"));
        }
        if results + failed != self.report.records || failed - quarantined != self.expected.failed {
            return Err(format!(
                "{results} results and {failed} dead letters, {quarantined} of them buried"
            ));
        }
        let format = self.cloud.scenario.output;
        let (all, some) = (
            ids_of(format, &self.expected.output),
            ids_of(format, output),
        );
        let mut rest = all.iter();
        if some.len() as u64 != *results || !some.iter().all(|id| rest.any(|other| other == id)) {
            return Err(format!(
                "results {some:?} are not some of {all:?}, in order"
            ));
        }
        Ok(())
    }

    /// Counts every record in the last output and in the dead letters.
    fn count(&mut self, ids: &Ids) -> Result<(), String> {
        let letters = letters(self.cloud);
        if letters != self.expected.letters {
            return Err("the dead letters are others than those of an undisturbed run".into());
        }
        let output = self
            .line
            .output
            .with_file_name(format!("labels-{}", self.commands));
        let output = output.with_extension(self.cloud.scenario.output.extension());
        let output = std::fs::read(output).expect("it was delivered");
        let good = ids_of(self.cloud.scenario.output, &output);
        let bad = lines(&letters);
        for (wanted, found) in [(&ids.good, &good), (&ids.bad, &bad)] {
            for id in wanted {
                match found.iter().filter(|found| *found == id).count() {
                    0 => self.report.lost += 1,
                    1 => {}
                    _ => self.report.doubled += 1,
                }
            }
            if wanted != found {
                return Err(format!("records {found:?}, rather than {wanted:?}"));
            }
        }
        let leftovers = now(self.cloud.objects.list(None).count());
        self.cloud.world.emit(format_args!("{leftovers} objects"));
        Ok(())
    }
}

/// An error without what differs each time: names of folders, and numbers that are measured.
fn stable(text: &str) -> String {
    let folder = std::env::temp_dir().display().to_string();
    let words = text.split(' ').filter(|word| !word.contains(&folder));
    words.collect::<Vec<_>>().join(" ")
}
