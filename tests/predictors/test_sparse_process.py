from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qttseg.predictors.curve_model import Questions, curve_shape
from qttseg.predictors.gaussian_process import DeepKernelModel, Laplace, Layout
from qttseg.predictors.sparse_process import Evidence, SparseProcess

LAYOUT = Layout(configuration=2, curve=1, times=1, meta=1)


@pytest.fixture(scope="module")
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Forty rows of three datasets, six tasks and ten runs."""
    generator = np.random.default_rng(0)
    run = np.repeat(np.arange(10.0), 4)
    x = LAYOUT.assemble(
        np.repeat(generator.normal(size=(10, 2)), 4, axis=0),
        np.tile([[-1.0], [-0.3], [0.2], [0.6]], (10, 1)),
        (run % 3)[:, None],
        dataset=run % 3,
        task=run % 6,
        run=run,
    )
    return x, torch.from_numpy(generator.normal(size=40))


@pytest.fixture(scope="module")
def evidence(rows) -> Evidence:
    model = DeepKernelModel(LAYOUT, None, None, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        return Evidence.gather(model, *rows)


def exact(model: DeepKernelModel, x, u, at) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation by the textbook."""
    with torch.no_grad():
        kernel = model.kernel
        own = kernel.shared(x, x) + kernel.own(x, x) + model.noise * torch.eye(len(x))
        cross = kernel.shared(x, at) + kernel.own(x, at)
        solved = torch.linalg.solve(own, torch.column_stack([u - model.mean.constant, cross]))
        mean = model.mean.constant + cross.T @ solved[:, 0]
        variance = kernel.variance + model.noise - (cross * solved[:, 1:]).sum(dim=0)
    return mean.numpy(), variance.sqrt().numpy()


def target_rows(count: int, seed: int = 1) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    return LAYOUT.assemble(
        generator.normal(size=(count, 2)),
        generator.uniform(-1, 1, (count, 1)),
        np.ones((count, 1)),
        dataset=np.full(count, -1.0),
        task=np.full(count, -1.0),
        run=-1.0 - np.arange(count),
    )


def test_with_every_row_as_an_inducing_point_it_is_the_exact_process(rows, evidence):
    process, at = evidence.process(LAYOUT), target_rows(7)
    mean, std = process.posterior(at, at[:0], at[:0, 0])
    wanted = exact(evidence.model, *rows, at)
    np.testing.assert_allclose(mean, wanted[0], atol=1e-4)
    np.testing.assert_allclose(std, wanted[1], atol=1e-4)


def test_rows_of_the_target_are_conditioned_on_exactly(rows, evidence):
    process, at, seen = evidence.process(LAYOUT), target_rows(7), target_rows(5, seed=2)
    values = torch.linspace(-1, 1, 5, dtype=torch.float64)
    mean, std = process.posterior(at, seen, values)
    wanted = exact(evidence.model, torch.cat([rows[0], seen]), torch.cat([rows[1], values]), at)
    np.testing.assert_allclose(mean, wanted[0], atol=1e-4)
    np.testing.assert_allclose(std, wanted[1], atol=1e-4)


def test_many_rows_are_judged_as_a_few_are(evidence):
    process, at, seen = evidence.process(LAYOUT), target_rows(1300), target_rows(5, seed=2)
    values = torch.linspace(-1, 1, 5, dtype=torch.float64)
    together = process.posterior(at, seen, values)
    apart = [process.posterior(rows, seen, values) for rows in at.split(100)]
    for whole, parts in zip(together, zip(*apart, strict=True), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-9)


def test_a_dataset_is_judged_as_if_it_had_never_been_seen(rows, evidence):
    x, u = rows
    mean, std = evidence.cross_fitted(LAYOUT, x)
    for dataset in (0.0, 1.0, 2.0):
        mine = x[:, -3] == dataset
        at = x[mine].clone()
        at[:, -3:] = -1
        wanted = exact(evidence.model, x[~mine], u[~mine], at)
        np.testing.assert_allclose(mean[mine.numpy()], wanted[0], atol=1e-4)
        np.testing.assert_allclose(std[mine.numpy()], wanted[1], atol=1e-4)


def test_no_more_inducing_points_than_tell_something(rows, evidence):
    x, u = rows
    doubled = torch.cat([x, x])
    with torch.no_grad():
        again = Evidence.gather(evidence.model, doubled, torch.cat([u, u]))
    assert len(again.inducing) <= len(x)


def test_saving_keeps_every_bit(evidence):
    process, at = evidence.process(LAYOUT, temperature=1.25), target_rows(4)
    again = SparseProcess.from_tensors(LAYOUT, process.tensors())
    for before, after in zip(
        process.posterior(at, at[:1], at[:1, 0]), again.posterior(at, at[:1], at[:1, 0]), strict=True
    ):
        np.testing.assert_array_equal(before, after)


@given(st.lists(st.lists(st.floats(-3, 3), min_size=1, max_size=9), min_size=1, max_size=4))
def test_curves_become_finite_columns_whatever_their_length(curves):
    count = len(curves)
    before = Questions.before_training(
        np.ones((count, 2)),
        np.ones((1, 3)),
        dataset=np.zeros(count),
        task=np.zeros(count),
        run=np.arange(count, dtype=float),
        target=np.full(count, 10.0),
    )
    assert before.curve(10).shape == (count, 1)
    after = before.continued([np.array(scores) for scores in curves], np.zeros(count))
    assert after.curve(10).shape == (count, 8)
    assert np.isfinite(after.curve(10)).all()
    assert after.features(10).shape == (count, 8 + 2)
    assert curve_shape(np.array(curves[0]))[0] <= 0


def test_the_kernel_of_partial_curves_is_a_product_over_columns(rows):
    kernel = Laplace(slice(1, 3))
    with torch.no_grad():
        kernel.log_scale.copy_(torch.tensor([0.5, 2.0]).log())
        found = kernel(rows[0][:4], rows[0][:5])
    apart = (rows[0][:4, None, 1:3] - rows[0][None, :5, 1:3]).abs()
    torch.testing.assert_close(found, torch.exp(-apart[..., 0] / 0.5) * torch.exp(-apart[..., 1] / 2))
