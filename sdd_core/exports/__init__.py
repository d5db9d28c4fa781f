"""Networks out: export a level, load the artefact, and compare it with the level's network."""
