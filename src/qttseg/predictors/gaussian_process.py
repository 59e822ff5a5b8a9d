"""A deep-kernel Gaussian process for many related datasets (QTT-SEG, section 2; Wistuba et al., 2022).

The covariance is a sum of what reaches over all datasets (Matérn kernels on the configuration and on the partial curve,
and a deep kernel on everything, meta-features included), what belongs to one dataset, and what belongs to one run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import gpytorch
import numpy as np
import torch
from gpytorch.kernels import Kernel, MaternKernel, ScaleKernel
from gpytorch.priors import LogNormalPrior, NormalPrior
from numpy.typing import NDArray
from torch import Tensor

from qttseg.errors import PredictorError

Array = NDArray[np.float64]

_STEPS = 50
_RATE = 0.08
_FIT_ROWS = 450
"""Rows in one optimisation step, so that fitting does not grow with the store."""

_HIDDEN, _OUTPUTS = 16, 3


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of an input matrix, in this order; then the dataset's and the run's number.

    Attributes:
        configuration: Number of columns for the configuration.
        curve: Number of columns for the partial curve, coordinates in time last.
        times: Number of coordinates in time.
        meta: Number of meta-features.
    """

    configuration: int
    curve: int
    times: int
    meta: int

    def assemble(self, configuration: Array, curve: Array, meta: Array, dataset: Array, run: Array) -> Tensor:
        """Return the input matrix, `n x columns`, of float64."""
        return torch.from_numpy(np.column_stack([configuration, curve, meta, dataset, run]))


class Same(Kernel):  # type: ignore[misc]
    """1 where two rows carry the same number, else 0."""

    is_stationary = True

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: object) -> Tensor:  # noqa: FBT001, FBT002
        """Return the covariance of `x1` (`... x n x 1`) and `x2` (`... x m x 1`), `... x n x m`."""
        if diag:
            return (x1 == x2).all(dim=-1).to(x1)
        return (x1 == x2.transpose(-1, -2)).to(x1)


class Deep(Kernel):  # type: ignore[misc]
    """A Matérn kernel on a small network's outputs; its weights have a normal prior that fades as data grow."""

    has_lengthscale = False

    def __init__(self, inputs: int, active_dims: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__(active_dims=active_dims)

        def weights(rows: int, columns: int) -> torch.nn.Parameter:
            drawn = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
            return torch.nn.Parameter(drawn / rows**0.5)

        self.hidden, self.bias, self.output = weights(inputs, _HIDDEN), weights(1, _HIDDEN), weights(_HIDDEN, _OUTPUTS)
        self.register_prior("hidden_prior", NormalPrior(0.0, (0.1 / inputs) ** 0.5), lambda kernel: kernel.hidden)
        self.register_prior("output_prior", NormalPrior(0.0, (0.1 / _HIDDEN) ** 0.5), lambda kernel: kernel.output)
        self.matern = MaternKernel(nu=2.5)
        self.matern.raw_lengthscale.requires_grad_(requires_grad=False)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **_: object) -> Tensor:  # noqa: FBT001, FBT002
        """Return the covariance of `x1` (`... x n x d`) and `x2` (`... x m x d`), `... x n x m`."""
        outputs = [torch.tanh(x @ self.hidden + self.bias) @ self.output for x in (x1, x2)]
        covariance: Tensor = self.matern.forward(outputs[0], outputs[1], diag=diag)
        return covariance


class _Model(gpytorch.models.ExactGP):  # type: ignore[misc]
    """Constant mean and the sum of kernels; all kernels are 1 on the diagonal before scaling."""

    def __init__(self, layout: Layout, x: Tensor | None, u: Tensor | None, generator: torch.Generator) -> None:
        super().__init__(x, u, gpytorch.likelihoods.GaussianLikelihood())
        self.likelihood.noise = 0.2
        self.mean = gpytorch.means.ConstantMean()
        bounds = np.cumsum([0, layout.configuration, layout.curve, layout.meta, 1, 1])
        configuration, curve, meta, dataset, run = (tuple(range(a, b)) for a, b in pairwise(bounds.tolist()))
        times = curve[-layout.times :]
        everything = configuration + curve + meta
        self.parts = torch.nn.ModuleDict(
            {
                "configuration": _scaled(_matern(configuration) * _matern(times), 0.4),
                "curve": _scaled(_matern(curve), 0.3),
                "deep": _scaled(Deep(len(everything), everything, generator), 0.05),
                "dataset": _scaled(Same(active_dims=dataset) * _matern(configuration), 0.2),
                "run": _scaled(Same(active_dims=run) * _matern(times, nu=1.5), 0.2),
            }
        )
        self.double()

    def covariance(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the covariance of the rows of `x1` and `x2`, `n x m`, without noise."""
        return torch.stack([part(x1, x2).to_dense() for part in self.parts.values()]).sum(dim=0)

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.covariance(x, x))


def _matern(dimensions: tuple[int, ...], *, nu: float = 2.5) -> MaternKernel:
    """Return a kernel whose length scales are expected to grow with the root of the number of dimensions."""
    count = len(dimensions)
    prior = LogNormalPrior(0.5 * np.log(count), 1.0)
    kernel = MaternKernel(nu=nu, ard_num_dims=count, active_dims=dimensions, lengthscale_prior=prior)
    kernel.lengthscale = torch.full((1, count), count**0.5)
    return kernel


def _scaled(kernel: Kernel, variance: float) -> ScaleKernel:
    scaled = ScaleKernel(kernel, outputscale_prior=LogNormalPrior(float(np.log(variance)), 1.0))
    scaled.outputscale = variance
    return scaled


class GaussianProcess:
    """A fitted process, conditioned on its training rows and, at prediction, on those of the target dataset.

    Args:
        layout: The columns of its inputs.
        model: The fitted hyperparameters.
        x: Training inputs, `n x columns`.
        u: Training targets, `n`.
    """

    def __init__(self, layout: Layout, model: _Model, x: Tensor, u: Tensor) -> None:
        self.layout = layout
        self._model = model
        self._x, self._u = x, u
        with torch.no_grad():
            self._factor = _cholesky(self._noisy(x))
            self._white = torch.linalg.solve_triangular(self._factor, self._residual(u)[:, None], upper=False)

    @classmethod
    def fit(cls, layout: Layout, x: Tensor, u: Tensor, *, seed: int) -> Self:
        """Return the process with the hyperparameters of the largest posterior density.

        Each step looks at whole runs drawn at random, no more than fit into a bounded number of rows.

        Args:
            layout: The columns of `x`.
            x: Inputs, `n x columns`.
            u: Targets of about unit variance, `n`.
            seed: Start of the network and draw of runs.
        """
        model = _Model(layout, x, u, torch.Generator().manual_seed(seed))
        generator = np.random.default_rng(seed)
        objective = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
        deep = [p for name, p in model.named_parameters() if ".deep." in name]
        others = [p for name, p in model.named_parameters() if ".deep." not in name]
        groups: list[dict[str, Any]] = [{"params": deep, "lr": _RATE / 10}, {"params": others, "lr": _RATE}]
        optimizer = torch.optim.Adam(groups)
        model.train()
        runs = np.unique(x[:, -1].numpy())
        for _ in range(_STEPS):
            drawn = _rows_of(x, generator.permutation(runs)[: max(2, len(runs) * _FIT_ROWS // len(x))])
            model.set_train_data(x[drawn], u[drawn], strict=False)
            optimizer.zero_grad()
            loss = -objective(model(x[drawn]), u[drawn])
            loss.backward()
            optimizer.step()
        model.eval()
        return cls(layout, model, x, u)

    @torch.no_grad()
    def posterior(self, x: Tensor, seen_x: Tensor, seen_u: Tensor) -> tuple[Array, Array]:
        """Return mean and variance (noise included) of the targets at `x`, `n` each.

        Args:
            x: Inputs, `n x columns`.
            seen_x: Further rows to condition on, `m x columns`; m may be 0.
            seen_u: Their targets, `m`.
        """
        cross = self._whiten(x)
        mean, variance = cross.T @ self._white[:, 0], self._prior_variance() - cross.square().sum(dim=0)
        if len(seen_x):
            seen = self._whiten(seen_x)
            factor = _cholesky(self._noisy(seen_x) - seen.T @ seen)
            white = torch.linalg.solve_triangular(
                factor, (self._residual(seen_u) - seen.T @ self._white[:, 0])[:, None], upper=False
            )
            covariance = self._model.covariance(seen_x, x) - seen.T @ cross
            further = torch.linalg.solve_triangular(factor, covariance, upper=False)
            mean, variance = mean + further.T @ white[:, 0], variance - further.square().sum(dim=0)
        return (mean + self._model.mean.constant).numpy(), variance.clamp_min(1e-9).numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Return hyperparameters and training rows; the Cholesky factor follows from them."""
        state = {f"model.{name}": value.clone() for name, value in self._model.state_dict().items()}
        return state | {"x": self._x, "u": self._u}

    @classmethod
    def from_tensors(cls, layout: Layout, tensors: Mapping[str, Tensor]) -> Self:
        """Return the process that `tensors` described.

        Raises:
            PredictorError: tensors are missing or have other shapes.
        """
        model = _Model(layout, None, None, torch.Generator().manual_seed(0))
        state = {name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")}
        try:
            model.load_state_dict(state)
            x, u = tensors["x"], tensors["u"]
        except (KeyError, RuntimeError) as error:
            raise PredictorError(f"the saved Gaussian process is damaged: {error}") from error
        return cls(layout, model.eval(), x, u)

    def _whiten(self, x: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(self._factor, self._model.covariance(self._x, x), upper=False)
        return white

    def _noisy(self, x: Tensor) -> Tensor:
        noise: Tensor = self._model.likelihood.noise
        return self._model.covariance(x, x) + noise * torch.eye(len(x), dtype=x.dtype)

    def _residual(self, u: Tensor) -> Tensor:
        constant: Tensor = self._model.mean.constant
        return u - constant

    def _prior_variance(self) -> Tensor:
        scales = [torch.as_tensor(part.outputscale) for part in self._model.parts.values()]
        noise: Tensor = self._model.likelihood.noise
        return torch.stack(scales).sum() + noise[0]


def _rows_of(x: Tensor, runs: Array) -> Tensor:
    return torch.from_numpy(np.flatnonzero(np.isin(x[:, -1].numpy(), runs)))


def _cholesky(matrix: Tensor) -> Tensor:
    """Return the factor of a covariance; a trace of jitter keeps repeated rows apart."""
    factor: Tensor = torch.linalg.cholesky(matrix + 1e-6 * torch.eye(len(matrix), dtype=matrix.dtype))
    return factor
