"""The chart's values as a model, from which its schema, its defaults and its table of values are written."""
