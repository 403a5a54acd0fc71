//! Every backend passes one suite. Arguments are parts of names: the stands that have one of them are run.
//!
//! The program is also the worker that the process backend starts.

mod fronts;

use std::process::Command;
use std::thread;
use std::time::Duration;

use shoal_dispatch::conformance::{
    Front, InMemory, Protocol, Scene, Stand, conformance, scripted, work_lines,
};
use shoal_dispatch::{Backend, DispatchError, Http, Local, Process, Watch, Work, process_batches};
use shoal_job::{Batch, Event};

use fronts::Fronts;

const WORK: &str = "--work";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == WORK) {
        return work_lines();
    }
    let names: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let stands: [&dyn Stand; 7] = [
        &InMemory,
        &Threads,
        &Processes,
        &Array,
        &Workers(Front::start(Protocol::Worker)),
        &Fronts::new(Protocol::Worker),
        &Fronts::new(Protocol::Lambda),
    ];
    for stand in stands {
        if names.is_empty() || names.iter().any(|name| stand.name().contains(&**name)) {
            conformance(stand);
        }
    }
}

/// Threads of this process.
struct Threads;

impl Stand for Threads {
    fn name(&self) -> &'static str {
        "local"
    }

    fn backend<'a>(&'a self, _: &'a Scene) -> Box<dyn Backend + 'a> {
        Box::new(Local::new(4, || scripted))
    }

    fn left_out(&self) -> &'static [(&'static str, &'static str)] {
        &[("timeout", "a thread cannot be stopped by force")]
    }
}

/// Processes of this machine, which crash in earnest.
struct Processes;

impl Stand for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn backend<'a>(&'a self, _: &'a Scene) -> Box<dyn Backend + 'a> {
        let program = std::env::current_exe().expect("the program has a name");
        Box::new(Process::new(3, move || {
            let mut command = Command::new(&program);
            command.arg(WORK);
            command
        }))
    }
}

/// Whatever answers HTTP.
struct Workers(Front);

impl Stand for Workers {
    fn name(&self) -> &'static str {
        "http"
    }

    fn backend<'a>(&'a self, _: &'a Scene) -> Box<dyn Backend + 'a> {
        let backend = Http::connect(&[self.0.url()], None, Some(4));
        Box::new(backend.expect("the worker answers"))
    }
}

/// Workers that find their share by themselves, and one who waits for them.
struct Array;

const SHARES: usize = 2;

impl Stand for Array {
    fn name(&self) -> &'static str {
        "array"
    }

    fn backend<'a>(&'a self, scene: &'a Scene) -> Box<dyn Backend + 'a> {
        Box::new(Shares(scene))
    }

    fn tells_attempts(&self) -> bool {
        false
    }

    fn left_out(&self) -> &'static [(&'static str, &'static str)] {
        const NO_BUDGET: &str = "workers ask nobody before they work";
        const UNSEEN: &str = "who waits sees receipts, and no failures";
        &[
            ("an error for good", UNSEEN),
            ("errors until no attempt is left", UNSEEN),
            ("a function that dies of everything", UNSEEN),
            ("timeout", "threads do the shares here"),
            (
                "wrong checksum",
                "the worker and who waits may both make the part again",
            ),
            ("out of money, then gone on with", NO_BUDGET),
            ("out of money for a damaged part", NO_BUDGET),
        ]
    }
}

struct Shares<'a>(&'a Scene);

impl Shares<'_> {
    /// What one worker does: all that is left of its share.
    fn share(&self, number: usize, work: &Work<'_>) {
        let share = self.0.batches().iter().skip(number).step_by(SHARES);
        let share: Vec<Batch> = share.cloned().collect();
        let plan = self.0.plan(&share);
        let end = process_batches(&plan, &Local::new(2, || scripted), work.cancel, &mut |_| {});
        assert!(
            matches!(end, Ok(_) | Err(DispatchError::Cancelled)),
            "{end:?}"
        );
    }
}

impl Backend for Shares<'_> {
    fn name(&self) -> &'static str {
        "array"
    }

    fn concurrency(&self) -> usize {
        SHARES
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let watch = Watch {
            workers: SHARES,
            every: Duration::from_millis(1),
            detach: false,
        };
        thread::scope(|scope| {
            for number in 0..SHARES {
                scope.spawn(move || self.share(number, work));
            }
            watch.run(work, emit)
        })
    }
}
