"""Official SAM checkpoints: fetched once from their own address, checked, kept, and resumed when broken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from qttseg.errors import BackboneError
from qttseg.metadata.downloads import resume, sha256_of


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published weight file.

    Attributes:
        url: Its official address.
        sha256: Of the whole file, hexadecimal.
        size: Bytes.
    """

    url: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rsplit("/", 1)[-1]


_PLACE = "https://dl.fbaipublicfiles.com/segment_anything/"
OFFICIAL = {
    "vit_b": Checkpoint(
        url=_PLACE + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size=375_042_383,
    ),
    "vit_l": Checkpoint(
        url=_PLACE + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size=1_249_524_607,
    ),
    "vit_h": Checkpoint(
        url=_PLACE + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size=2_564_550_879,
    ),
}


def fetch(
    checkpoint: Checkpoint, folder: Path, *, on_progress: Callable[[int, int], None] = lambda _done, _size: None
) -> Path:
    """Return the checkpoint's file in `folder`, downloading what of it is not there yet.

    A download that breaks off leaves a `.part` file from which the next call goes on; the file gets its name only when
    its SHA-256 is right.

    Args:
        checkpoint: What to fetch.
        folder: Where to keep it; made if need be.
        on_progress: Called with the bytes on disk and the size of the whole.

    Raises:
        BackboneError: the address cannot be reached, the disk is full, or the file is not the published one.
    """
    file = folder / checkpoint.name
    if file.is_file():
        return file
    part = file.with_name(file.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        resume(checkpoint.url, part, on_progress)
    except (URLError, TimeoutError, ConnectionError) as error:
        raise BackboneError(
            f"{checkpoint.name} could not be downloaded from {checkpoint.url} ({getattr(error, 'reason', error)}); get it "
            f"by hand and put it at {file}, or name it as BACKBONE:PATH"
        ) from error
    except OSError as error:
        raise BackboneError(
            f"{part} cannot be written ({error}); {checkpoint.size / 1e9:.1f} GB are needed there, or set QTTSEG_CACHE"
        ) from error
    found = sha256_of(part)
    if found != checkpoint.sha256:
        part.unlink()
        raise BackboneError(
            f"what {checkpoint.url} sent has SHA-256 {found} instead of {checkpoint.sha256}; it was deleted: try again, or "
            f"put the right file at {file}"
        )
    part.replace(file)
    return file
