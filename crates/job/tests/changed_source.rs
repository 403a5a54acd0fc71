//! A source that changes after it was planned is noticed before a wrong row is read from it.

#[path = "common/function.rs"]
mod function;

use std::fs::File;
use std::time::{Duration, SystemTime};

use function::function;
use shoal_job::input::Sources;
use shoal_job::plan::{Request, plan};
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Row, RunDir};

const BEFORE: &str = "id,text\n1,good\n2,fine\n";
const AFTER: &str = "id,text\n1,evil\n2,fine\n";

#[test]
fn a_change_of_the_same_length_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.csv");
    // Times that differ surely, however coarse the file system keeps them.
    let write = |content: &str, seconds: u64| {
        std::fs::write(&path, content).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    write(BEFORE, 1_000_000);
    let run = RunDir::create(&dir.path().join("run")).unwrap();
    let request = Request {
        inputs: &[path.display().to_string()],
        spool: None,
        function: function(),
        parameters: Parameters {
            batch_size: 1,
            ..Parameters::default()
        },
        output: "-",
        version: "test",
        inputs_at: None,
    };
    let job = plan(&request, &run, &Cancel::new(), &mut |_| {}).unwrap();
    let batches = run.batches(&job).unwrap();
    let sources = Sources::default();
    let read = |batch: usize| {
        sources
            .rows(&job, &run, &batches[batch])
            .collect::<Result<Vec<Row>, _>>()
    };

    assert_eq!(read(0).unwrap()[0].content.as_ref().unwrap().text(), "good");
    // Touched, or written again with the same content, it is the same.
    write(BEFORE, 2_000_000);
    assert_eq!(read(1).unwrap()[0].content.as_ref().unwrap().text(), "fine");
    write(AFTER, 3_000_000);
    let error = read(0).unwrap_err().to_string();
    assert!(
        error.contains("changed during the run: its content is different"),
        "{error}"
    );
    write("id,text\n", 2_000_000);
    let error = read(0).unwrap_err().to_string();
    assert!(error.contains("it had 22 bytes, has 8"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(read(0).unwrap_err().to_string().contains("no such file"));
}
