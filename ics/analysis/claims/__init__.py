"""The paper's claims, each with a statistic, an interval over seeds, and a verdict by a rule that was written first."""
