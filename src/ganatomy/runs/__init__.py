"""Run folders: reading, writing, sampling, branching and export."""
