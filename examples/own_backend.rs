//! A custom backend that processes one batch at a time on this thread, with the bundled model.

use std::sync::Arc;

use shoal::dispatch::{Backend, DispatchError, Work};
use shoal::function::{CallLimits, Host, Runner};
use shoal::job::wire::Invocation;
use shoal::{Event, ModelSettings, Settings};

struct OneByOne(Arc<dyn Runner>);

impl Backend for OneByOne {
    fn name(&self) -> &'static str {
        "one-by-one"
    }

    fn concurrency(&self) -> usize {
        1
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        // A host represents the process that runs the function. It reads the job from the run directory.
        let runner = self.0.clone();
        let open = Box::new(move |_: &_| Ok(runner.clone()));
        let host = Arc::new(Host::new("here", Default::default(), open));
        let mut environment = host.environment();
        for batch in &work.batches {
            let invocation = Invocation::first(work.run.uri().into(), batch.clone().into_owned());
            let limits = CallLimits {
                cancel: work.cancel.clone(),
                deadline: None,
            };
            let result = environment.handle(&invocation, &limits);
            let receipt = result.map_err(|failure| DispatchError::Batch {
                batch: batch.index,
                attempt: 1,
                failure,
            })?;
            emit(Event::Finished {
                worker: 0,
                receipt: Arc::new(receipt),
            });
        }
        Ok(())
    }
}

fn main() -> shoal::Result<()> {
    let runner = ModelSettings::default().open()?;
    let backend = OneByOne(runner.clone());
    let input = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reviews.csv");
    let settings = Settings::new([input], "-");
    let cancel = shoal::Cancel::new();
    let summary = shoal::run_with(&settings, runner, Some(&backend), &cancel, &mut |_| {})?;
    eprintln!("{summary}");
    Ok(())
}
