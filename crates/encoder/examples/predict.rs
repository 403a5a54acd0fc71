//! Labels the texts of a JSONL file with a model folder, one thread; prints a JSON line a record,
//! in the form of `tools/check_accuracy.py`, so that the two can be compared record by record.
//!
//! ```text
//! predict MODEL RECORDS.jsonl [COUNT] > predictions.jsonl
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use shoal_encoder::{MICRO_BATCH_TOKENS, Model, Session, Tokens};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, records, rest @ ..] = arguments.as_slice() else {
        return Err("usage: predict MODEL RECORDS.jsonl [COUNT]".into());
    };
    let count = rest.first().map_or(Ok(usize::MAX), |n| n.parse())?;
    let model = Arc::new(Model::open(Path::new(folder))?);
    let mut session = Session::new(Arc::clone(&model));
    let mut batch: Vec<Tokens> = Vec::new();
    let mut tokens = 0;
    let mut index = 0;
    for line in BufReader::new(File::open(records)?).lines().take(count) {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        let text = record["text"].as_str().ok_or("a record has no text")?;
        let encoded = model.encode(text, model.max_tokens())?;
        if tokens + encoded.ids.len() > MICRO_BATCH_TOKENS {
            label(&mut session, &mut batch, &mut index);
            tokens = 0;
        }
        tokens += encoded.ids.len();
        batch.push(encoded);
    }
    label(&mut session, &mut batch, &mut index);
    Ok(())
}

/// Prints the best label of every record in `batch`, and empties it.
fn label(session: &mut Session, batch: &mut Vec<Tokens>, index: &mut usize) {
    let model = Arc::clone(session.model());
    let logits = session.logits(batch);
    let mut scores = Vec::new();
    for (record, logits) in batch.iter().zip(logits.chunks(model.labels().len())) {
        model.objective().probabilities(logits, &mut scores);
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let best = best.expect("a model has at least one label");
        let prediction = serde_json::json!({
            "index": *index,
            "label": model.labels()[best],
            "score": scores[best],
            "tokens": record.ids.len(),
        });
        println!("{prediction}");
        *index += 1;
    }
    batch.clear();
}
