//! Prints the token ids of each text of a JSONL file as a JSON array a line, for comparison with
//! other tokenizers.
//!
//! ```text
//! token_ids MODEL RECORDS.jsonl [COUNT]
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use shoal_encoder::Model;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, records, rest @ ..] = arguments.as_slice() else {
        return Err("usage: token_ids MODEL RECORDS.jsonl [COUNT]".into());
    };
    let count = rest.first().map_or(Ok(usize::MAX), |n| n.parse())?;
    let model = Model::open(Path::new(folder))?;
    for line in BufReader::new(File::open(records)?).lines().take(count) {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        let text = record["text"].as_str().ok_or("a record has no text")?;
        let tokens = model.encode(text, model.max_tokens())?;
        println!("{}", serde_json::to_string(&tokens.ids)?);
    }
    Ok(())
}
