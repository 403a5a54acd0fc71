//! The core's rates of pure instruction sequences, one thread, in billions of operations a second:
//! the ceilings for products. Prints a JSON line.
//!
//! `--threads N` then runs every sequence on N threads at once, too, and prints what they reach
//! together under the same name with `_sum`.

use shoal_kernels::Isa;
use shoal_kernels::peak::{Sequence, rates, rates_together};

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
    for (sequence, rate) in sequences.iter().zip(rates(&sequences)) {
        fields.push(format!("\"{}\": {rate:.1}", sequence.name()));
    }
    if let Some(threads) = threads {
        fields.push(format!("\"threads\": {threads}"));
        for (sequence, rate) in sequences.iter().zip(rates_together(&sequences, threads)) {
            fields.push(format!("\"{}_sum\": {rate:.1}", sequence.name()));
        }
    }
    println!("{{{}}}", fields.join(", "));
}

/// The number after `--threads`, the only option.
fn threads() -> Result<Option<usize>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(None),
        [option, count] if option == "--threads" => match count.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(format!("`{count}` is no number of threads")),
        },
        _ => Err("usage: peak [--threads N]".to_owned()),
    }
}
