"""Batch normalisation taken apart: by hand, in NumPy, its running statistics, training against evaluation.

Its norm and its quantities come in by the doors that a plugin of one's own has; its figures stand beside them.
"""
