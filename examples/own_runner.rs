//! A custom function that counts the words of each text. Like a model, it processes batches on all cores.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use shoal::function::{Answers, RecordRef, Runner, Session, Usage};
use shoal::job::wire::Failure;
use shoal::job::{FunctionSpec, Role};

struct WordCount(FunctionSpec);

impl Runner for WordCount {
    fn spec(&self) -> &FunctionSpec {
        &self.0
    }

    fn session(&self) -> Result<Box<dyn Session>, Failure> {
        Ok(Box::new(Counting(self.0.clone())))
    }
}

struct Counting(FunctionSpec);

impl Session for Counting {
    fn push(&mut self, record: RecordRef<'_>) -> Result<Option<Answers>, Failure> {
        let text = record.inputs[0].as_text().unwrap_or_default();
        let words = Int64Array::from(vec![text.split_whitespace().count() as i64]);
        let rows = RecordBatch::try_new(self.0.output.clone(), vec![Arc::new(words)]);
        Ok(Some(Answers::all(rows.expect("one column, as declared"))))
    }

    fn flush(&mut self) -> Result<Option<Answers>, Failure> {
        Ok(None) // `push` has returned all results
    }

    fn take_usage(&mut self) -> Usage {
        Usage::default()
    }
}

fn main() -> shoal::Result<()> {
    let words = Field::new("words", DataType::Int64, false);
    let output = Arc::new(Schema::new(vec![words]));
    let inputs = vec![Role::text("text")];
    // The second argument is a version: change it whenever the results change.
    let runner = WordCount(FunctionSpec::new("word-count", "1", inputs, output));
    let input = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/reviews.csv");
    let settings = shoal::Settings::new([input], "-");
    shoal::run_with(
        &settings,
        Arc::new(runner),
        None,
        &Default::default(),
        &mut |_| {},
    )
    .map(drop)
}
