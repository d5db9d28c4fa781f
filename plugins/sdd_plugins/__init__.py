"""The plugins that come with sdd: one folder for each kind, one module for each method."""
