"""The prompt learning module: changes prompts so that they mean what the user means (arXiv 2403.09199, 4.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from qttseg.errors import BackboneError, ConfigurationError
from qttseg.metadata.configurations import Value

_CLASS_IDS = 256
"""As many as a label map of 8 bits tells apart; what is never asked for is never trained."""


@dataclass(frozen=True, kw_only=True)
class LearnerParts:
    """What a prompt learner consists of.

    Attributes:
        depth: Blocks of attention and MLP.
        dense: 0 where tokens alone are learnt, else how many cells wide the surroundings are from which a cell's dense prompt
            is found, an odd number: 1 is the cell itself.
        classes: Whether it is told which class a prompt is for.
        compare: Whether dense prompts are found with a look at how alike cells are to what the prompt points at.

    Raises:
        ConfigurationError: a number makes no sense.
    """

    depth: int = 1
    dense: int = 0
    classes: bool = False
    compare: bool = False

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ConfigurationError(f"plm_depth is {self.depth}; a prompt learner has at least one block")
        if self.dense < 0 or (self.dense and self.dense % 2 == 0):
            raise ConfigurationError(f"plm_dense is {self.dense}; give 0 or an odd number of cells")
        if self.compare and not self.dense:
            raise ConfigurationError("plm_compare is 1, but plm_dense is 0; only a dense prompt has cells to compare")

    @classmethod
    def of(cls, configuration: Mapping[str, Value]) -> Self:
        """Return what `plm_depth`, `plm_dense`, `plm_class` and `plm_compare` of a configuration ask for."""
        return cls(
            depth=int(configuration["plm_depth"]),
            dense=int(configuration.get("plm_dense", 0)),
            classes=bool(configuration.get("plm_class", 0)),
            compare=bool(configuration.get("plm_compare", 0)),
        )

    @classmethod
    def among(cls, weights: Mapping[str, Tensor]) -> Self:
        """Return what a learner had whose state `weights` is."""
        around = weights.get("dense.mlp.2.around.weight")
        dense = any(name.startswith("dense.") for name in weights)
        return cls(
            depth=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
            dense=int(dense) if around is None else around.shape[-1],
            classes="classes.weight" in weights,
            compare="dense.likeness.key.weight" in weights,
        )


class PromptLearner(nn.Module):
    """Adds to each prompt token an offset learnt from the user's masks; the model around it stays as it is.

    It may add to the other half of a prompt, too: SAM's dense prompt, one vector for each cell of the image embedding,
    through which masks are given to it. Tokens can only ask for masks that the decoder knows to draw; the dense prompt shows
    it where the object is. And it may be told which class each prompt is for, by a token more that only the learner sees,
    and compare the image's cells with those that the prompt points at. The paper has none of these.

    Last layers start at zero, so that the untrained module changes nothing. Heads are eight where the width allows
    it, and the MLP is eight times as wide as the tokens, as 2,048 is at SAM's width of 256, where a depth of 1 has 1.6
    million parameters.

    Args:
        width: Of the tokens and of the image embedding.
        parts: What it consists of.
    """

    def __init__(self, width: int, parts: LearnerParts) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(parts.depth))
        self.offset = _starting_at_zero(nn.Linear(width, width))
        self.dense = _Dense(width, parts.dense, compare=parts.compare) if parts.dense else None
        self.classes = nn.Embedding(_CLASS_IDS, width) if parts.classes else None

    def forward(
        self,
        sparse: Tensor,
        dense: Tensor,
        embeddings: Tensor,
        positions: Tensor,
        places: Tensor,
        classes: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the changed tokens and dense prompts.

        Args:
            sparse: p × n × c tokens, of points or of the corners of boxes.
            dense: p × c × g × g dense prompts.
            embeddings: p × c × g × g image embeddings.
            positions: 1 × c × g × g positional encoding of their grid.
            places: p × n × 2, x and y of points and middles of boxes as shares of the square's side.
            classes: p class ids, 1 to 255; needed where it is told them.

        Raises:
            BackboneError: it has to be told the classes, and is not.
        """
        image = embeddings.flatten(2)
        keys = image + positions.flatten(2)
        told = None
        if self.classes is not None:
            if classes is None:
                raise BackboneError("this model was taught with the class of each prompt; decode with `classes`, too")
            told = self.classes(classes.int())[:, None]
        hidden = sparse if told is None else torch.cat([sparse, told], dim=1)
        for block in self.blocks:
            hidden = block(hidden, image, keys)
        if self.dense is not None:
            dense = dense + self.dense(hidden, image, keys, places, told).unflatten(2, dense.shape[2:])
        return sparse + self.offset(hidden[:, : sparse.shape[1]]), dense


class _Block(nn.Module):
    """Tokens attend to each other, then to the image; then an MLP. Each adds to them and is normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        heads = math.gcd(8, width)
        self.own = FewQueries(width, heads)
        self.to_image = FewQueries(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 8 * width), nn.GELU(), nn.Linear(8 * width, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, tokens: Tensor, image: Tensor, keys: Tensor) -> Tensor:
        own = tokens.transpose(1, 2)
        tokens = self.norms[0](tokens + self.own(tokens, own, own))
        tokens = self.norms[1](tokens + self.to_image(tokens, keys, image))
        return self.norms[2](tokens + self.mlp(tokens))  # type: ignore[no-any-return]


class _Dense(nn.Module):
    """Cells of the image attend to the tokens; then an MLP, which may see their surroundings of `side` × `side` cells.

    It may also be told how alike each cell is to what the prompt points at.
    """

    def __init__(self, width: int, side: int, *, compare: bool) -> None:
        super().__init__()
        self.to_tokens = FewKeys(width, math.gcd(8, width))
        self.norm = nn.LayerNorm(width)
        inner = width if side == 1 else 2 * width
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), _starting_at_zero(nn.Linear(inner, width)))
        if side > 1:
            self.mlp.insert(2, _Surroundings(inner, side))
        self.likeness = _Likeness(width, inner) if compare else None

    def forward(self, tokens: Tensor, image: Tensor, queries: Tensor, places: Tensor, told: Tensor | None) -> Tensor:
        """Return p × c × m for m cells.

        Args:
            tokens: p × n × c.
            image: p × c × m.
            queries: p × c × m, the image with its positional encoding.
            places: p × n × 2, to what the prompt points.
            told: p × 1 × c, its class.
        """
        found = self.norm(image.transpose(1, 2) + self.to_tokens(queries, tokens))
        first, *others = self.mlp
        cells = first(found)
        if self.likeness is not None:
            cells = cells + self.likeness(image, places, told)
        for layer in others:
            cells = layer(cells)
        return cells.transpose(1, 2)  # type: ignore[no-any-return]


class _Surroundings(nn.Module):
    """Adds to each cell of a square, channel by channel, what lies around it; then an activation."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, side, padding=side // 2, groups=width)

    def forward(self, cells: Tensor) -> Tensor:
        """Return p × m × c of p × m × c."""
        square = cells.transpose(1, 2).unflatten(2, (math.isqrt(cells.shape[1]), -1))
        return nn.functional.gelu(cells + self.around(square).flatten(2).transpose(1, 2))


class _Scores(nn.Module):
    """How much queries attend to keys. Keys need no bias: a softmax would take it out again.

    Args:
        width: Of everything; a multiple of `heads`.
        heads: Number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return p × (heads · n) × m for few queries (p × n × c) and many keys (p × c × m).

        The weights of keys are applied on the queries' side, where they cost a hundredth of what projecting every cell of an
        image would; the result is the same.
        """
        asked = self.query(queries).unflatten(-1, (self.heads, -1))
        # Linear layers hold rows of outputs, so a head's rows are its share of the keys.
        asked = torch.einsum("pnhd,hdc->phnc", asked, self.key.weight.unflatten(0, (self.heads, -1)))
        return torch.matmul(asked.flatten(1, 2), keys) / math.sqrt(queries.shape[-1] // self.heads)


class _Attention(_Scores):
    """The weights of multi-head attention; arguments as for `_Scores`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)


class FewQueries(_Attention):
    """Multi-head attention of few queries to many keys.

    The weights of values, too, are applied on the queries' side.
    """

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return what each query gathers, p × n × c.

        Args:
            queries: p × n × c.
            keys: p × c × m.
            values: p × c × m.
        """
        heads, scores = self.heads, self.scores(queries, keys)
        found = torch.matmul(scores.softmax(dim=-1), values.transpose(1, 2)).unflatten(1, (heads, -1))
        found = torch.einsum("phnc,hdc->pnhd", found, self.value.weight.unflatten(0, (heads, -1))).flatten(2)
        return self.out(found + self.value.bias)  # type: ignore[no-any-return]


class FewKeys(_Attention):
    """Multi-head attention of many queries to few keys, which are the values, too.

    As in `FewQueries`, all weights are applied on the side of the few.
    """

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return what each query gathers, p × m × c.

        Args:
            queries: p × c × m.
            keys: p × n × c.
        """
        heads = self.heads
        own = self.key(keys).unflatten(-1, (heads, -1))
        bias = torch.einsum("pnhd,hd->phn", own, self.query.bias.unflatten(0, (heads, -1)))
        own = torch.einsum("pnhd,hdc->phnc", own, self.query.weight.unflatten(0, (heads, -1)))
        scores = torch.matmul(own.flatten(1, 2), queries).unflatten(1, (heads, -1)) + bias.unsqueeze(-1)
        shares = (scores / math.sqrt(queries.shape[1] // heads)).softmax(dim=2).flatten(1, 2)
        values = self.value(keys).unflatten(-1, (heads, -1))
        values = torch.einsum("pnhd,chd->phnc", values, self.out.weight.unflatten(1, (heads, -1))).flatten(1, 2)
        return torch.matmul(shares.transpose(1, 2), values) + self.out.bias


class _Likeness(_Scores):
    """Tells each cell how alike it is to what the prompt points at, its class in mind, in as many ways as there are heads.

    Attention gives what was found; this gives the scores.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, math.gcd(8, width))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(self.heads, out)

    def forward(self, image: Tensor, places: Tensor, told: Tensor | None) -> Tensor:
        """Return p × m × out; arguments as in `_Dense`."""
        meant = _at(image, places).mean(dim=2, keepdim=True).transpose(1, 2)
        if told is not None:
            meant = meant + told
        return self.out(self.scores(self.norm(meant), image).transpose(1, 2))  # type: ignore[no-any-return]


def _at(image: Tensor, places: Tensor) -> Tensor:
    """Return what those of a square's cells (p × c × m) hold, p × c × n, in which the places lie."""
    side = math.isqrt(image.shape[2])
    column, row = (side * places).long().clamp(0, side - 1).unbind(dim=-1)
    return image.take_along_dim((side * row + column)[:, None], dim=2)


def _starting_at_zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
