"""One module for each version of the tables, which says how they come from the version before."""
