"""The figures of the laboratory's experiments, from CSV alone."""
