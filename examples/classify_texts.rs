//! Labels single texts with the bundled model, without files or batches.

fn main() -> shoal::Result<()> {
    let mut classifier = shoal::Classifier::open(None)?;
    let texts = ["A wonderful film.", "Two hours that I will never get back."];
    for (text, prediction) in texts.iter().zip(classifier.classify(&texts)?) {
        println!("{} {:.3}  {text}", prediction.label, prediction.score);
    }
    Ok(())
}
