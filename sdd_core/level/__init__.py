"""A level as a value: its weights and masks, what plugins see of it, how it is retrained."""
