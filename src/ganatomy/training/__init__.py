"""Training in a run folder, and checks of runs and machines."""
