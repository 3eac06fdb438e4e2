"""Recipes, data, simulation, the training loop, evaluation and export of the segmentors."""
