"""What measuring costs, in plain training steps of the same network: run once per release."""
