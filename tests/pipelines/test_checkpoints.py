import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qttseg.errors import BackboneError
from qttseg.pipelines.checkpoints import OFFICIAL, Checkpoint, fetch

WEIGHTS = bytes(range(256)) * 40_000


class Shop:
    """A file server that knows ranges, counts what it sends and can be told to hang up early."""

    def __init__(self):
        self.sent, self.most, self.body = [], None, WEIGHTS
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
                if start >= len(shop.body):
                    self.send_error(416)
                    return
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(shop.body) - start))
                self.end_headers()
                piece = shop.body[start:][: shop.most]
                shop.sent.append((start, len(piece)))
                self.wfile.write(piece)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def checkpoint(self):
        url = f"http://127.0.0.1:{self.server.server_port}/weights.pth"
        return Checkpoint(url=url, sha256=hashlib.sha256(WEIGHTS).hexdigest(), size=len(WEIGHTS))


@pytest.fixture
def shop():
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


def test_a_checkpoint_is_fetched_once(shop, tmp_path):
    seen = []
    file = fetch(shop.checkpoint(), tmp_path / "cache", on_progress=lambda done, size: seen.append((done, size)))
    assert file.read_bytes() == WEIGHTS
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert fetch(shop.checkpoint(), tmp_path / "cache") == file
    assert len(shop.sent) == 1


def test_a_broken_off_download_goes_on_where_it_stopped(shop, tmp_path):
    shop.most = 3_000_000
    with pytest.raises(BackboneError, match="broke off after 3000000 of 10240000 bytes"):
        fetch(shop.checkpoint(), tmp_path)
    shop.most = None
    assert fetch(shop.checkpoint(), tmp_path).read_bytes() == WEIGHTS
    assert [start for start, _ in shop.sent] == [0, 3_000_000]
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_a_whole_file_that_lacks_only_its_name_is_not_fetched_again(shop, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(WEIGHTS)
    assert fetch(shop.checkpoint(), tmp_path).read_bytes() == WEIGHTS
    assert shop.sent == []


def test_other_bytes_are_refused_and_deleted(shop, tmp_path):
    shop.body = WEIGHTS[:-1] + b"x"
    with pytest.raises(BackboneError, match=r"SHA-256 .* instead of"):
        fetch(shop.checkpoint(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_offline_names_the_file_and_its_place(tmp_path):
    gone = Checkpoint(url="http://127.0.0.1:9/sam_vit_b_01ec64.pth", sha256="0" * 64, size=1)
    with pytest.raises(BackboneError, match=rf"sam_vit_b_01ec64.pth could not be downloaded .* put it at {tmp_path}"):
        fetch(gone, tmp_path)


def test_an_unwritable_cache_says_so(shop, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BackboneError, match=r"cannot be written .* or set QTTSEG_CACHE"):
        fetch(shop.checkpoint(), tmp_path / "file" / "cache")


def test_official_checkpoints_are_known_by_the_name_they_are_published_under():
    assert {size: checkpoint.name for size, checkpoint in OFFICIAL.items()} == {
        "vit_b": "sam_vit_b_01ec64.pth",
        "vit_l": "sam_vit_l_0b3195.pth",
        "vit_h": "sam_vit_h_4b8939.pth",
    }
    for checkpoint in OFFICIAL.values():
        assert checkpoint.sha256.startswith(("ec2df627", "3adcc431", "a7bf3b02"))
