"""qttseg: meta-learned, budgeted fine-tuning of promptable segmentation models (QTT-SEG, arXiv 2508.17283)."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
