"""Runs: typed settings in, a folder of CSV files out; resumable, owned by one process, never half finished.

Nothing is imported here, so that a command line is read without importing torch: `ics.runs.execute.run` runs,
`ics.runs.config.parse` checks settings.
"""
