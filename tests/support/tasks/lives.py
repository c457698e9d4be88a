"""What may happen in a simulated cluster, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

Event = Callable[[Any, int], None]


def draw_events(weights: Mapping[Event, int], most: int) -> st.SearchStrategy[list[tuple[Event, int]]]:
    """Return lists of up to 50 events, each with a number that says how it happens.

    Args:
        weights: how often each is drawn, against the others.
        most: the largest number.
    """
    kinds = [event for event, weight in weights.items() for _ in range(weight)]
    event = st.tuples(st.sampled_from(kinds), st.integers(0, most))
    return st.integers(0, 50).flatmap(lambda count: st.lists(event, min_size=count, max_size=count))
