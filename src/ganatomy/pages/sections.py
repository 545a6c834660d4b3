"""Parts that pages of runs share: training curves, and the differences of recipes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ganatomy.figures.charts import COLORS, DASHES, Series, curves, span
from ganatomy.gan.losses import find_loss
from ganatomy.recipes.recipe import Recipe
from ganatomy.validation import to_dict

POINTS = 80
"""Largest number of points of a curve; neighboring rows of a longer log are averaged."""

CHARTS = (
    ("d_real", "D(x)", "probability of real that D gives to real images", (0.0, 1.0)),
    ("d_fake", "D(G(z))", "probability of real that D gives to generated images", (0.0, 1.0)),
    ("d_loss", "Discriminator loss", "sum over the real and the generated batch", None),
    ("g_loss", "Generator loss", "as defined by its loss function", None),
)
"""Field of a log row, title, description, and range of the axis unless D gives scores."""


def score_losses(recipes: Iterable[Recipe]) -> list[str]:
    """Return the losses of recipes whose D gives scores instead of probabilities."""
    losses = {recipe.objective.loss for recipe in recipes}
    return sorted(loss for loss in losses if not find_loss(loss).probabilities)


def chart_sets(
    lines: Mapping[str, Mapping[str, Series]], x_title: str, scored: bool
) -> list[dict[str, Any]]:
    """Draw the CHARTS of runs or conditions, in sets of at most as many lines as COLORS.

    Args:
        lines: field of a log row to name to line; all fields have the same names.
        x_title: title of the x axes.
        scored: whether some D gives scores, which have no range.

    Returns:
        Sets of about one size with equal axes, each with the `key` (name, color and dashes of
        each line) and its `charts` (`title`, `about` and `svg`).
    """
    names = list(lines[CHARTS[0][0]])
    size = -(-len(names) // -(-len(names) // len(COLORS)))
    sets = []
    for shown in (names[i : i + size] for i in range(0, len(names), size)):
        charts = []
        for field, title, about, y_range in CHARTS:
            shared = span(lines[field].values()) if scored or y_range is None else y_range
            svg = curves({name: lines[field][name] for name in shown}, x_title, shared)
            charts.append({"title": title, "about": about, "svg": svg})
        sets.append({"key": list(zip(shown, COLORS, DASHES, strict=False)), "charts": charts})
    return sets


def differences(
    recipes: Mapping[str, Recipe], without: Collection[str] = ()
) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Compare recipes by name, without some fields.

    Returns:
        The fields that differ, as a table whose first line are the heads, longer than wide; empty
        if there are none. The names and values of the others.
    """
    flat = {name: to_dict(recipe) for name, recipe in recipes.items()}
    fields = [field for field in next(iter(flat.values())) if field not in without]
    values = {field: [str(recipe[field]) for recipe in flat.values()] for field in fields}
    shared = [(field, found[0]) for field, found in values.items() if len({*found}) == 1]
    table = [[field, *found] for field, found in values.items() if len({*found}) > 1]
    table = [["field", *recipes], *table] if table else []
    if 0 < len(table) <= len(recipes):
        table = [list(column) for column in zip(*table, strict=True)]
    return table, shared
