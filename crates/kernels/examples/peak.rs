//! Prints the peak rates of pure instruction sequences on one thread, in billions of operations per
//! second, as one line of JSON.
//!
//! With `--threads N` it also runs every sequence on N threads at once and prints the combined
//! rates under the same names with the suffix `_sum`.

use shoal_kernels::Isa;
use shoal_kernels::peak::{Sequence, rates};

fn main() {
    let threads = match threads() {
        Ok(threads) => threads,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    let sequences = Sequence::available();
    let mut fields = vec![format!("\"isa\": \"{}\"", Isa::best().name())];
    for (sequence, rate) in sequences.iter().zip(rates(&sequences, 1)) {
        fields.push(format!("\"{}\": {rate:.1}", sequence.name()));
    }
    if let Some(threads) = threads {
        fields.push(format!("\"threads\": {threads}"));
        for (sequence, rate) in sequences.iter().zip(rates(&sequences, threads)) {
            fields.push(format!("\"{}_sum\": {rate:.1}", sequence.name()));
        }
    }
    println!("{{{}}}", fields.join(", "));
}

/// Parses `--threads`, the only option.
fn threads() -> Result<Option<usize>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(None),
        [option, count] if option == "--threads" => match count.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(format!("`{count}` is not a valid number of threads")),
        },
        _ => Err("usage: peak [--threads N]".to_owned()),
    }
}
