"""Runtimes that take slices to logits, behind one Protocol."""
