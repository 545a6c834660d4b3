"""Executors: where a study's jobs run."""
