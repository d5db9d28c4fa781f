"""From scores to masks: how many weights each layer loses, and which."""
