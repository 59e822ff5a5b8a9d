"""The competitors, each in a small file of its own; `docs/extend.md` shows how to add one."""

from qttseg.benchmark.methods.baselines import BoxFiller
from qttseg.benchmark.methods.catalogue import method, method_names
from qttseg.benchmark.methods.interface import BenchmarkTask, Method, MethodOutcome

__all__ = ["BenchmarkTask", "BoxFiller", "Method", "MethodOutcome", "method", "method_names"]
