//! Two commands plan the same run in a store at the same time, because a store has no locks.

#[path = "common/function.rs"]
mod function;

use std::sync::Arc;

use function::function;
use object_store::memory::InMemory;
use shoal_job::input::Sources;
use shoal_job::plan::{Request, plan};
use shoal_job::spec::{Job, Parameters};
use shoal_job::{Cancel, Error, Result, RunDir};

const INPUT: &str = "id,text\n1,good\n2,fine\n3,bad\n";

fn run_dir(store: &Arc<InMemory>) -> RunDir {
    RunDir::on(store.clone(), "run".into(), "memory:///run")
}

fn plan_in(run: &RunDir, input: &str, batch_size: u64) -> Result<Job> {
    let request = Request {
        inputs: &[input.to_owned()],
        spool: None,
        function: function(),
        parameters: Parameters {
            batch_size,
            ..Parameters::default()
        },
        output: "-",
        version: "test",
        inputs_at: None,
    };
    plan(&request, run, &Cancel::new(), &mut |_| {})
}

#[test]
fn the_same_plan_is_kept_and_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.csv");
    std::fs::write(&input, INPUT).unwrap();
    let input = input.display().to_string();
    let store = Arc::new(InMemory::new());
    // Both check for a plan before either has written one.
    let (one, other) = (run_dir(&store), run_dir(&store));
    assert!(one.job().unwrap().is_none() && other.job().unwrap().is_none());
    let planned = plan_in(&one, &input, 2).unwrap();
    other.clear_leftovers().unwrap();
    assert_eq!(plan_in(&other, &input, 2).unwrap(), planned);

    let job = planned;
    assert_eq!(one.job().unwrap().as_ref(), Some(&job));
    let batches = one.batches(&job).unwrap();
    let sources = Sources::default();
    let rows: Result<Vec<_>> = batches
        .iter()
        .flat_map(|batch| sources.rows(&job, &one, batch))
        .collect();
    assert_eq!(rows.unwrap().len(), 3);

    let refused = plan_in(&other, &input, 1);
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
}
