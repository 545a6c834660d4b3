"""Studies: conditions, seeds, claims and verdicts."""
