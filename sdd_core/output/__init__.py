"""Output for users: safe text, short reprs, notices, tables on a terminal."""
