"""What a network is like: its shapes and what it costs, without running it; and what happens in it when it runs."""

from .layers import LayerNames
from .products import Product, matrix_products, multiply_adds, shares_memory
from .shapes import DryRun, Row, dry_run, nothing, without_computing
from .summary import Summary, SummaryRow, summary
from .trace import Trace, trace, trace_step
from .trace_rows import TraceRow

__all__ = [
    "DryRun",
    "LayerNames",
    "Product",
    "Row",
    "Summary",
    "SummaryRow",
    "Trace",
    "TraceRow",
    "dry_run",
    "matrix_products",
    "multiply_adds",
    "nothing",
    "shares_memory",
    "summary",
    "trace",
    "trace_step",
    "without_computing",
]
