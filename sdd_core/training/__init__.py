"""Training a level: set-up, the choice of a trainer, the loop, checkpoints."""
