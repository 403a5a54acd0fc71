//! From logits to scores.

use shoal_kernels::Isa;

/// What the logits of a model mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Exactly one label holds: softmax.
    SingleLabel,
    /// Each label holds or does not, whatever the others: sigmoid.
    MultiLabel,
    /// The logits are the answer.
    Regression,
}

impl Objective {
    /// Replaces `out` by the scores of one record's `logits` (`[labels]`): probabilities that add
    /// up to 1 for [`Objective::SingleLabel`], independent probabilities for
    /// [`Objective::MultiLabel`], the logits themselves for [`Objective::Regression`].
    pub fn probabilities(self, logits: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(logits);
        let isa = Isa::best();
        match self {
            Objective::SingleLabel => shoal_kernels::softmax(isa, out, logits.len()),
            Objective::MultiLabel => shoal_kernels::sigmoid(isa, out),
            Objective::Regression => {}
        }
    }
}
