"""Training a level: resident data, steps under masks, epochs, checkpoints."""
