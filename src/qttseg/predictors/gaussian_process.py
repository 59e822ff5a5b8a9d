"""The deep kernel of a Gaussian process for many related datasets (QTT-SEG, section 2; Wistuba et al., 2022).

The covariance is a sum of what reaches over all datasets (Matérn kernels on the configuration and on time and a deep kernel
on everything, meta-features included; or a Laplace kernel on a partial curve), what belongs to one task, and what belongs to
one run. A task is a dataset under a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gpytorch
import numpy as np
import torch
from gpytorch.priors import NormalPrior
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

_STEPS = 60
_RATE = 0.08
_FIT_ROWS = 450
"""Rows in one optimisation step, so that fitting does not grow with the store."""

_HIDDEN, _OUTPUTS = 16, 3


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of an input matrix, in this order; then the numbers of the dataset, the task and the run.

    Attributes:
        configuration: Number of columns for the configuration; 0 where the curve tells enough.
        curve: Number of columns for the partial curve, coordinates in time last.
        times: Number of coordinates in time.
        meta: Number of meta-features.
    """

    configuration: int
    curve: int
    times: int
    meta: int

    def assemble(
        self, configuration: Array, curve: Array, meta: Array, *, dataset: Array, task: Array, run: Array
    ) -> Tensor:
        """Return the input matrix, `n x columns`, of float64."""
        return torch.from_numpy(np.column_stack([configuration, curve, meta, dataset, task, run]))


class Scaled(gpytorch.Module):  # type: ignore[misc]
    """Some columns, each divided by a length scale of its own.

    Args:
        columns: Which columns of the inputs.
        expected: Logarithm of the length scale that is expected of each.
    """

    def __init__(self, columns: slice, expected: float) -> None:
        super().__init__()
        self.columns = columns
        self.log_scale = torch.nn.Parameter(torch.full((columns.stop - columns.start,), expected, dtype=torch.float64))
        self.register_prior("scale", NormalPrior(expected, 1.0), lambda kernel: kernel.log_scale)

    def scaled(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the columns of `x1` (`n x d`) and `x2` (`m x d`) in units of their length scales."""
        scale = self.log_scale.exp()
        return x1[:, self.columns] / scale, x2[:, self.columns] / scale


class Matern(Scaled):
    """A Matérn kernel of smoothness 5/2 on some columns (1 on the diagonal).

    Length scales are expected to grow with the root of the number of columns.
    """

    def __init__(self, columns: slice) -> None:
        super().__init__(columns, 0.5 * float(np.log(columns.stop - columns.start)))

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance of `x1` (`n x d`) and `x2` (`m x d`), `n x m`."""
        one, two = self.scaled(x1, x2)
        if len(two) > 1 and bool((two == two[0]).all()):  # candidates are mostly asked about at one epoch
            return matern(one, two[:1]).expand(-1, len(two))
        return matern(one, two)


class Laplace(Scaled):
    """The product of an exponential kernel on each of some columns (1 on the diagonal).

    It lets a function bend anywhere along a column, as trees do (Balog et al. 2016, "The Mondrian kernel"). Length scales are
    expected to grow with the number of columns.
    """

    def __init__(self, columns: slice) -> None:
        super().__init__(columns, float(np.log(columns.stop - columns.start)))

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance of `x1` (`n x d`) and `x2` (`m x d`), `n x m`."""
        return torch.exp(-torch.cdist(*self.scaled(x1, x2), p=1))


class Deep(gpytorch.Module):  # type: ignore[misc]
    """A Matérn kernel on a small network's outputs; its weights have a normal prior that fades as data grow."""

    def __init__(self, inputs: int, generator: torch.Generator) -> None:
        super().__init__()

        def weights(rows: int, columns: int) -> torch.nn.Parameter:
            drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            return torch.nn.Parameter(drawn / rows**0.5)

        self.hidden, self.bias, self.output = weights(inputs, _HIDDEN), weights(1, _HIDDEN), weights(_HIDDEN, _OUTPUTS)
        self.register_prior("hidden_prior", NormalPrior(0.0, (0.1 / inputs) ** 0.5), lambda kernel: kernel.hidden)
        self.register_prior("output_prior", NormalPrior(0.0, (0.1 / _HIDDEN) ** 0.5), lambda kernel: kernel.output)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance of `x1` (`n x d`) and `x2` (`m x d`), `n x m`."""
        one, two = (torch.tanh(x[:, : len(self.hidden)] @ self.hidden + self.bias) @ self.output for x in (x1, x2))
        return matern(one, two)


class DeepKernel(gpytorch.Module):  # type: ignore[misc]
    """The sum of kernels, each with a variance of its own.

    Args:
        layout: The columns of its inputs.
        generator: Draws the network's first weights.
    """

    def __init__(self, layout: Layout, generator: torch.Generator) -> None:
        super().__init__()
        bounds = np.cumsum([0, layout.configuration, layout.curve, layout.meta])
        configuration, curve, _ = (slice(a, b) for a, b in pairwise(bounds.tolist()))
        times = slice(curve.stop - layout.times, curve.stop)
        self.knows_configurations = layout.configuration > 0
        self.curve = Matern(curve) if self.knows_configurations else Laplace(curve)
        variances = {"curve": 0.3, "task": 0.2, "run": 0.2}
        if self.knows_configurations:
            self.configuration, self.time = Matern(configuration), Matern(times)
            self.deep = Deep(int(bounds[-1]), generator)
            variances |= {"configuration": 0.4, "deep": 0.05}
        self.of_task = Matern(configuration) if self.knows_configurations else Laplace(curve)
        self.of_run = Matern(times)
        for name, variance in variances.items():
            start = float(np.log(variance))
            self.register_parameter(f"log_{name}", torch.nn.Parameter(torch.tensor(start, dtype=torch.float64)))
            self.register_prior(f"{name}_prior", NormalPrior(start, 1.0), lambda k, n=name: getattr(k, f"log_{n}"))

    def shared(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance (`n x m`) of what reaches over datasets; all there is between rows of two datasets."""
        covariance: Tensor = self.log_curve.exp() * self.curve(x1, x2)
        if self.knows_configurations:
            covariance = covariance + self.log_configuration.exp() * self.configuration(x1, x2) * self.time(x1, x2)
            covariance = covariance + self.log_deep.exp() * self.deep(x1, x2)
        return covariance

    def own(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance (`n x m`) of what belongs to a task or a run, without noise."""
        task, run = ((x1[:, i, None] == x2[None, :, i]).to(x1) for i in (-2, -1))
        of_task: Tensor = self.log_task.exp() * task * self.of_task(x1, x2)
        of_run: Tensor = self.log_run.exp() * run * self.of_run(x1, x2)
        return of_task + of_run

    @property
    def shared_variance(self) -> Tensor:
        """Variance of what reaches over datasets before anything is known."""
        variance: Tensor = self.log_curve.exp()
        return variance + self.log_configuration.exp() + self.log_deep.exp() if self.knows_configurations else variance

    @property
    def variance(self) -> Tensor:
        """Variance of any value before anything is known, without noise."""
        own: Tensor = self.log_task.exp() + self.log_run.exp()
        return self.shared_variance + own


def matern(x1: Tensor, x2: Tensor) -> Tensor:
    """Return (1 + r + r²/3) exp(-r), r = √5 · distance, of rows of `x1` (`n x d`) and `x2` (`m x d`): `n x m`."""
    r = 5**0.5 * ((x1 - x2.T).abs() if x1.shape[1] == 1 else torch.cdist(x1, x2))
    return torch.addcmul(1 + r, r, r, value=1 / 3) * torch.exp(-r)


class DeepKernelModel(gpytorch.models.ExactGP):  # type: ignore[misc]
    """A constant mean and the deep kernel."""

    def __init__(self, layout: Layout, x: Tensor | None, u: Tensor | None, generator: torch.Generator) -> None:
        super().__init__(x, u, gpytorch.likelihoods.GaussianLikelihood())
        self.likelihood.noise = 0.2
        self.mean = gpytorch.means.ConstantMean()
        self.kernel = DeepKernel(layout, generator)
        self.double()

    @property
    def noise(self) -> Tensor:
        """Variance of the noise of a value, of one element."""
        noise: Tensor = self.likelihood.noise
        return noise

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        """Return the distribution of the values at `x` (`n x columns`), as gpytorch wants it."""
        covariance = self.kernel.shared(x, x) + self.kernel.own(x, x)
        return gpytorch.distributions.MultivariateNormal(self.mean(x), covariance)


def fit_kernel(layout: Layout, x: Tensor, u: Tensor, *, seed: int) -> DeepKernelModel:
    """Return the model with the hyperparameters of the largest posterior density.

    Each step looks at whole runs drawn at random, no more than fit into a bounded number of rows.

    Args:
        layout: The columns of `x`.
        x: Inputs, `n x columns`.
        u: Targets of about unit variance, `n`.
        seed: Start of the network and draw of runs.
    """
    model = DeepKernelModel(layout, x, u, torch.Generator().manual_seed(seed))
    generator = np.random.default_rng(seed)
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    deep = [p for name, p in model.named_parameters() if ".deep." in name]
    others = [p for name, p in model.named_parameters() if ".deep." not in name]
    groups: list[dict[str, Any]] = [{"params": deep, "lr": _RATE / 10}, {"params": others, "lr": _RATE}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    model.train()
    runs = np.unique(x[:, -1].numpy())
    for _ in range(_STEPS):
        drawn = _rows_of(x, generator.permutation(runs)[: max(2, len(runs) * _FIT_ROWS // len(x))])
        model.set_train_data(x[drawn], u[drawn], strict=False)
        optimizer.zero_grad()
        loss = -objective(model(x[drawn]), u[drawn])
        loss.backward()
        optimizer.step()
    return model.eval()  # type: ignore[no-any-return]


def _rows_of(x: Tensor, runs: Array) -> Tensor:
    return torch.from_numpy(np.flatnonzero(np.isin(x[:, -1].numpy(), runs)))
