"""Is a data set sound? Everything is opened, everything is counted, every problem is told with its likely cause.

Read in this order: `check` (the whole), `pair` (one pair), `tally` (the sums), `conclusions` and `causes` (what they
say), `duplicates`, `palettes`. `plan`, `conversion` and `corrected` make a corrected copy.
"""

from .check import Findings, check_data, check_pairs, check_splits
from .conclusions import Split
from .corrected import Copy, fix_binary, fix_copy, fix_masks
from .problems import Group, Problem
from .tally import Histogram

__all__ = [
    "Copy",
    "Findings",
    "Group",
    "Histogram",
    "Problem",
    "Split",
    "check_data",
    "check_pairs",
    "check_splits",
    "fix_binary",
    "fix_copy",
    "fix_masks",
]
