"""Evaluation: features, metrics, protocols, references and diagnoses."""
