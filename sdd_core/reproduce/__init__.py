"""The paper's claims as recipes, carried out and written down as pages."""
