"""x"""

from ganatomy.runs import Run


def summary(runs: list[Run]) -> tuple[list[str], list[list[str]]]:
    return [], []


def compare(runs: list[Run]) -> str:
    return ""
