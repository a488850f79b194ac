"""Every row of the table: its goal and the module that measures it."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a ratio, as text: `<= 1.6`, `>= 0.85`, `= 1`."""

    text: str

    def is_met(self, ratio: float) -> bool:
        """True if the ratio reaches the goal."""
        comparison, _, bound = self.text.partition(" ")
        return COMPARISONS[comparison](ratio, float(bound))


# In the order of the table. The rows of one module share a slow set-up, and their rounds alternate.
MODULES: dict[str, dict[str, Goal]] = {
    "bench.cold_starts": {
        "cold_api": Goal("<= 1.6"),
        "cold_api_peer": Goal("<= 0.5"),
        "cold_fanout": Goal("<= 1.2"),
        "cold_finalize": Goal("<= 1.2"),
        "cold_generate": Goal("<= 3.0"),
    },
    "bench.requests": {
        "warm_list": Goal("<= 0.45"),
        "warm_list_raw": Goal("<= 0.5"),
        "flights": Goal("= 1"),
        "rtt": Goal("<= 0.4"),
    },
    "bench.row_security": {
        "rls_list": Goal("<= 1.5"),
        "rls_one": Goal("<= 1.5"),
        "rls_results": Goal("<= 1.3"),
        "rls_progress": Goal("<= 1.5"),
        "deep_page": Goal("<= 1.0"),
        "analytics": Goal("<= 0.03"),
        "rls_insert": Goal("<= 1.5"),
        "library_search": Goal("<= 2"),
    },
    "bench.painting": {
        "generate_cpu": Goal("<= 1.25"),
        "thumbnail_cpu": Goal("<= 1.1"),
        "memory": Goal("<= 1.6"),
    },
    "bench.prompt_files": {
        "prompt_files": Goal("<= 4"),
    },
    "bench.archives": {
        "archive": Goal("<= 1.1"),
    },
    "bench.batches": {
        "batch_efficiency": Goal(">= 0.85"),
        "batch_vs_peers": Goal("<= 1.1"),
        "fanout_overhead": Goal("<= 2"),
    },
    "bench.economy": {
        "economy_cost": Goal("= 1"),
        "economy_wall": Goal("<= 1.0"),
        "economy_paid_twice": Goal("= 1"),
        "economy_memory": Goal("<= 1.15"),
    },
    "bench.console": {
        "console_first_paint": Goal("<= 0.75"),
        "gallery_bytes": Goal("<= 0.03"),
        "gallery_smooth": Goal("<= 1"),
    },
    # Most references of these rows are bounds: the least share, the most refused calls, the longest
    # time. A ratio of 1 is exactly at the bound.
    "bench.pace": {
        "pace_share": Goal(">= 1"),
        "pace_refused": Goal("<= 1"),
        "pace_slow": Goal("= 1"),
        "pace_shared": Goal(">= 0.95"),
        "pace_shared_done": Goal("= 1"),
        "pace_small": Goal("<= 0.7"),
        "pace_noise": Goal("<= 2"),
        "pace_outage": Goal("<= 0.5"),
        "pace_outage_done": Goal("= 1"),
        "pace_vs_peers": Goal("<= 1.15"),
        "pace_vs_refused": Goal("<= 0.05"),
        "pace_free": Goal("<= 1.03"),
    },
}
# The row whose runs are also drawn over time.
TIMELINE = "pace_vs_peers"
GOALS = {name: goal for goals in MODULES.values() for name, goal in goals.items()}
