"""What a frozen encoder says of an image is computed once for each view of it, and kept."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from qttseg.errors import BackboneError

_IMAGES_AT_ONCE = 8
CACHE_BYTES = 2 * 1024**3


@dataclass(kw_only=True)
class EmbeddingCache:
    """Embeddings by (image, view): in memory up to a bound, least recently used out first, and on disk when asked.

    Attributes:
        fingerprint: Of the backbone; embeddings of another in the same folder are not mixed up with its own.
        bound: Most bytes kept in memory.
        folder: Where to keep every embedding beyond this process too; None for memory alone.
        device: Where embeddings are wanted.
    """

    fingerprint: str
    device: torch.device
    bound: int = CACHE_BYTES
    folder: Path | None = None
    _kept: OrderedDict[str, Tensor] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def embed(self, keys: Sequence[str], encode: Callable[[Sequence[int]], Tensor]) -> Tensor:
        """Return the embeddings (b × c × g × g) of the images and views named by `keys`.

        Args:
            keys: One for each image of the batch; the same name for the same image in the same view.
            encode: Returns the embeddings at the given positions of the batch; called for those that are missing.
        """
        found = {key: tensor for key in keys if (tensor := self._find(key)) is not None}
        missing = [index for key, index in {key: index for index, key in enumerate(keys)}.items() if key not in found]
        for start in range(0, len(missing), _IMAGES_AT_ONCE):
            chunk = missing[start : start + _IMAGES_AT_ONCE]
            for index, embedding in zip(chunk, encode(chunk), strict=True):
                found[keys[index]] = embedding.clone()
                self._write(keys[index], embedding)
        for key, embedding in found.items():
            self._keep(key, embedding)
        return torch.stack([found[key] for key in keys])

    def _find(self, key: str) -> Tensor | None:
        if key in self._kept:
            return self._kept[key]
        file = self._file(key)
        return _read(file, self.device) if file is not None and file.is_file() else None

    def _keep(self, key: str, embedding: Tensor) -> None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.bound and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _file(self, key: str) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / self.fingerprint / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"

    def _write(self, key: str, embedding: Tensor) -> None:
        from safetensors.torch import save_file

        file = self._file(key)
        if file is None:
            return
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({"embedding": embedding.contiguous().cpu()}, aside)
            aside.replace(file)
        except OSError as error:
            raise BackboneError(
                f"the embedding cache cannot write {file} ({error}); free some space, or leave the folder out"
            ) from error


def _read(file: Path, device: torch.device) -> Tensor | None:
    """Return a kept embedding, or None where the file is damaged and has to be made again."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file, device=str(device))["embedding"]
    except (SafetensorError, OSError, KeyError):
        return None


def image_keys(squares: Tensor) -> list[str]:
    """Return a name for each image (b × 3 × r × r, uint8) that only equal images share."""
    return [hashlib.blake2b(square.contiguous().numpy(), digest_size=16).hexdigest() for square in squares.cpu()]
