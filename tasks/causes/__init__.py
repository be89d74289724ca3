"""The stages of ablation: of units in the generator, of concepts in discriminative models."""
