"""Recipes: run the experiments behind the paper's claims and write the results as pages."""
