"""What measuring costs: ways to compute every layer's G', timed in turn, beside the limit from counted operations."""
