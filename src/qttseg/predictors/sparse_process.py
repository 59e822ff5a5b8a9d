"""The posterior of the deep-kernel Gaussian process through a few inducing points, so that asking does not grow with the store.

What the training data say of all datasets is kept as a distribution over the values at `m` inducing points (Titsias 2009;
the FITC approximation of Snelson and Ghahramani 2006, with whole datasets as blocks); what belongs to one task or run
is integrated out exactly. The target's own rows are then conditioned on exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qttseg.errors import PredictorError
from qttseg.predictors.caution import stretch
from qttseg.predictors.gaussian_process import DeepKernelModel, Layout, fit_kernel
from qttseg.predictors.storage import tensors_of

Array = NDArray[np.float64]

_INDUCING = 128
_AT_ONCE = 512
"""Rows asked about at once: their covariances with the inducing points stay in a core's cache."""

_JITTER = 1e-6


class SparseProcess:
    """A fitted process, and its posterior given the training rows.

    Args:
        layout: The columns of its inputs.
        model: The fitted kernel.
        inducing: Inducing points, `m x columns`.
        weights: Turns the shared covariance with the inducing points into a mean, `m`.
        knowledge: Turns it into what is known already, `m x m`: the variance shrinks by the squared norm of its product.
        temperature: Factor on standard deviations that made them fit datasets that had been left out.
    """

    def __init__(
        self,
        layout: Layout,
        model: DeepKernelModel,
        inducing: Tensor,
        weights: Tensor,
        knowledge: Tensor,
        temperature: float = 1.0,
    ) -> None:
        self.layout = layout
        self.temperature = temperature
        self._model = model
        self._inducing, self._weights, self._knowledge = inducing, weights, knowledge

    @classmethod
    def fit(cls, layout: Layout, x: Tensor, u: Tensor, *, seed: int) -> tuple[Self, Evidence]:
        """Return the process and the evidence of each dataset, from which the others' knowledge of it follows.

        Args:
            layout: The columns of `x`.
            x: Inputs, `n x columns`.
            u: Targets of about unit variance, `n`.
            seed: Start of the network and draw of runs.
        """
        model = fit_kernel(layout, x, u, seed=seed)
        with torch.no_grad():
            evidence = Evidence.gather(model, x, u)
            return evidence.process(layout, temperature=evidence.temperature(layout, x, u)), evidence  # type: ignore[return-value]

    @torch.inference_mode()
    def posterior(self, x: Tensor, seen_x: Tensor, seen_u: Tensor) -> tuple[Array, Array]:
        """Return mean and standard deviation (noise included) of the targets at `x`, `n` each.

        Args:
            x: Inputs, `n x columns`.
            seen_x: Further rows to condition on, `m x columns`; m may be 0.
            seen_u: Their targets, `m`.
        """
        # The rows seen come first, and share a pass through the kernel with the first of those that are asked about.
        first, *others = torch.cat([seen_x, x]).split(max(_AT_ONCE, len(seen_x)))
        told, noise = self._told(seen_x, first), self._model.noise
        seen = told.conditioned_on(seen_u, noise)
        moments = [seen.moments(one) for one in (told, *(self._told(seen_x, rows) for rows in others))]
        mean, gained = (torch.cat(parts)[len(seen_x) :] for parts in zip(*moments, strict=True))
        variance = self._model.kernel.variance + noise - gained
        return mean.numpy(), self.temperature * variance.clamp_min(1e-9).sqrt().numpy()

    def _told(self, seen: Tensor, x: Tensor) -> _Told:
        """Return what the training datasets tell of the rows of `x` (`n x columns`), and how those go with the rows seen."""
        points = torch.cat([self._inducing, seen])
        cross, further = self._model.kernel.shared(points, x).tensor_split([len(self._inducing)])
        return _Told(
            mean=cross.T @ self._weights + self._model.mean.constant,
            known=self._knowledge @ cross,
            covariance=further + self._model.kernel.own(seen, x) if len(seen) else further,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the process consists of."""
        state = {f"model.{name}": value.clone() for name, value in self._model.state_dict().items()}
        return state | {
            "inducing": self._inducing,
            "weights": self._weights,
            "knowledge": self._knowledge.float(),
            "temperature": torch.tensor(self.temperature, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, layout: Layout, tensors: Mapping[str, Tensor]) -> Self:
        """Return the process that `tensors` described.

        Raises:
            PredictorError: tensors are missing or have other shapes.
        """
        model = DeepKernelModel(layout, None, None, torch.Generator().manual_seed(0))
        try:
            model.load_state_dict(tensors_of("model", tensors))
            inducing, weights, knowledge = tensors["inducing"], tensors["weights"], tensors["knowledge"].double()
            temperature = float(tensors["temperature"])
        except (KeyError, RuntimeError) as error:
            raise PredictorError(f"the saved Gaussian process is damaged: {error}") from error
        return cls(layout, model.eval(), inducing, weights, knowledge, temperature)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Told:
    """What training datasets tell of `n` rows.

    Attributes:
        mean: Their mean, `n`.
        known: What is known of them: the variance is smaller by its square, `m x n`.
        covariance: That of the `k` rows seen with them before anything was known, `k x n`.
    """

    mean: Tensor
    known: Tensor
    covariance: Tensor

    def conditioned_on(self, u: Tensor, noise: Tensor) -> _Seen:
        """Return the first `k` rows as seen, with targets `u` (`k`)."""
        count = len(u)
        known = self.known[:, :count]
        covariance = self.covariance[:, :count] - known.T @ known
        factor = _cholesky(covariance + noise * torch.eye(count, dtype=u.dtype))
        surprise = torch.linalg.solve_triangular(factor, (u - self.mean[:count])[:, None], upper=False)[:, 0]
        return _Seen(known=known, factor=factor, surprise=surprise)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """Rows of the target that are conditioned on.

    Attributes:
        known: What the training datasets know of them, `m x k`.
        factor: Cholesky factor of their covariance given that, `k x k`.
        surprise: What is left of their targets, whitened, `k`.
    """

    known: Tensor
    factor: Tensor
    surprise: Tensor

    def moments(self, told: _Told) -> tuple[Tensor, Tensor]:
        """Return the mean of rows given those seen, and by how much less than beforehand their variance is."""
        covariance = told.covariance - self.known.T @ told.known
        further = torch.linalg.solve_triangular(self.factor, covariance, upper=False)
        gained = told.known.square().sum(dim=0) + further.square().sum(dim=0)
        return told.mean + further.T @ self.surprise, gained


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What each training dataset says about the values at the inducing points, in whitened coordinates.

    Attributes:
        model: The kernel.
        inducing: Inducing points, `m x columns`.
        factor: Cholesky factor of their covariance, `m x m`.
        precisions: By dataset, what it adds to the precision, `m x m`.
        shifts: By dataset, what it adds to precision times mean, `m`.
    """

    model: DeepKernelModel
    inducing: Tensor
    factor: Tensor
    precisions: Mapping[int, Tensor]
    shifts: Mapping[int, Tensor]

    @classmethod
    def gather(cls, model: DeepKernelModel, x: Tensor, u: Tensor) -> Self:
        """Return the evidence of training rows (`n x columns`) and targets (`n`)."""
        inducing = x[_spread_out(model, x, _INDUCING)]
        factor = _cholesky(model.kernel.shared(inducing, inducing))
        precisions, shifts = {}, {}
        for dataset in _datasets(x).unique().tolist():
            mine = _datasets(x) == dataset
            rows = x[mine]
            white = torch.linalg.solve_triangular(factor, model.kernel.shared(inducing, rows), upper=False)
            missed = (model.kernel.shared_variance - white.square().sum(dim=0)).clamp_min(0)
            own = model.kernel.own(rows, rows) + torch.diag(missed + model.noise)
            block = _cholesky(own)
            seen = torch.linalg.solve_triangular(block, white.T, upper=False)
            residual = torch.linalg.solve_triangular(block, (u[mine] - model.mean.constant)[:, None], upper=False)
            precisions[dataset], shifts[dataset] = seen.T @ seen, seen.T @ residual[:, 0]
        return cls(model=model, inducing=inducing, factor=factor, precisions=precisions, shifts=shifts)

    def process(self, layout: Layout, *, without: int | None = None, temperature: float = 1.0) -> SparseProcess:
        """Return the posterior given all datasets but one."""
        used = [name for name in self.precisions if name != without]
        precision = torch.eye(len(self.inducing), dtype=self.inducing.dtype)
        for name in used:
            precision = precision + self.precisions[name]
        shift = torch.stack([self.shifts[name] for name in used]).sum(dim=0) if used else torch.zeros(len(precision))
        values, vectors = torch.linalg.eigh(precision)
        mean = vectors @ ((vectors.T @ shift.to(precision)) / values)
        gained = (1 - 1 / values).clamp_min(0).sqrt()[:, None] * vectors.T
        weights = torch.linalg.solve_triangular(self.factor.T, mean[:, None], upper=True)[:, 0]
        knowledge = torch.linalg.solve_triangular(self.factor.T, gained.T, upper=True).T
        # Rounded here, so that a process is the same to the bit before it is saved and after.
        return SparseProcess(
            layout, self.model, self.inducing, weights.clone(), knowledge.float().double(), temperature
        )

    @torch.no_grad()
    def cross_fitted(self, layout: Layout, x: Tensor) -> tuple[Array, Array]:
        """Return mean and standard deviation at rows of training datasets, each as the other datasets know it.

        Args:
            layout: The columns of `x`.
            x: Inputs, `n x columns`.
        """
        mean, std = np.empty(len(x)), np.empty(len(x))
        for dataset in _datasets(x).unique().tolist():
            mine = (_datasets(x) == dataset).numpy()
            mean[mine], std[mine] = self.process(layout, without=dataset).posterior(x[mine], x[:0], x[:0, 0])
        return mean, std

    def temperature(self, layout: Layout, x: Tensor, u: Tensor) -> float:
        """Return the factor that makes standard deviations fit what datasets are like to those that have not seen them."""
        if len(self.precisions) < 2:
            return 1.0
        mean, std = self.cross_fitted(layout, x)
        return stretch((u.numpy() - mean) / std)


def _datasets(x: Tensor) -> Tensor:
    return x[:, -3]


def _spread_out(model: DeepKernelModel, x: Tensor, count: int) -> list[int]:
    """Return the rows of `x` that tell most about the others: each next one is the least known so far."""
    left = torch.full((len(x),), float(model.kernel.shared_variance), dtype=x.dtype)
    rows = torch.zeros((min(count, len(x)), len(x)), dtype=x.dtype)
    chosen: list[int] = []
    for step in range(len(rows)):
        index = int(left.argmax())
        if left[index] < _JITTER:
            break
        column = model.kernel.shared(x[index : index + 1], x)[0] - rows[:step, index] @ rows[:step]
        rows[step] = column / left[index].sqrt()
        left = (left - rows[step].square()).clamp_min(0)
        left[index] = 0
        chosen.append(index)
    return chosen


def _cholesky(matrix: Tensor) -> Tensor:
    """Return the factor of a covariance; a trace of jitter keeps repeated rows apart."""
    factor: Tensor = torch.linalg.cholesky(matrix + _JITTER * torch.eye(len(matrix), dtype=matrix.dtype))
    return factor
