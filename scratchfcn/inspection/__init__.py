"""What a network is like: its shapes and what it costs, without running it."""

from .layers import LayerNames
from .products import Product, matrix_products, multiply_adds, shares_memory
from .shapes import DryRun, Row, dry_run, nothing, without_computing

__all__ = [
    "DryRun",
    "LayerNames",
    "Product",
    "Row",
    "dry_run",
    "matrix_products",
    "multiply_adds",
    "nothing",
    "shares_memory",
    "without_computing",
]
