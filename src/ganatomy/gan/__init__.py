"""The training step: losses, penalties, schedules, cost."""
