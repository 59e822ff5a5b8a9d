"""Fetching: files that are there are taken, and where nothing can be reached one message says how to go on by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qttseg.errors import DatasetError
from qttseg.metadata.recipes.catalogue import accept_licence, licence_accepted, recipe_of
from qttseg.metadata.recipes.conversion import add_by_recipe
from qttseg.metadata.recipes.fetching import SourceError, fetch
from qttseg.metadata.recipes.recipe import Recipe, Source

NOWHERE = "http://127.0.0.1:9"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder of the test's archives."""
    yield from serving(partial(Quiet, directory=str(tmp_path)))


def serving(handler: Callable[..., Quiet]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Broken(Quiet):
    """Answers as the hub does, but sends only the beginning of every file, or what is no HTTP."""

    def do_HEAD(self) -> None:
        self.answer(b"", promised=100_000)

    def do_GET(self) -> None:
        if "/malformed" in self.path:
            self.wfile.write(b"\x00\x01 nonsense\r\n\r\n")
        elif "/html" in self.path:
            self.answer(b"<html>log in first</html>")
        elif "/tree/" in self.path:
            self.answer(
                json.dumps([{"type": "file", "path": "data/a.parquet", "size": 100_000, "oid": "b" * 40}]).encode()
            )
        elif "/api/" in self.path:
            about = {
                "id": "owner/name",
                "sha": "a" * 40,
                "siblings": [{"rfilename": "data/a.parquet"}],
                "private": False,
            }
            self.answer(json.dumps(about).encode())
        else:
            self.answer(b"x" * 5000, promised=100_000)

    def answer(self, content: bytes, *, promised: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(promised or len(content)))
        self.send_header("ETag", '"abcd"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def broken() -> Iterator[str]:
    yield from serving(Broken)


def chest_at(*sources: Source) -> Recipe:
    recipe = recipe_of("chest")
    return replace(recipe, variants={"montgomery": replace(recipe.variants["montgomery"], sources=sources)})


def test_plain_addresses_are_fetched_once_and_converted(archive, server: str, tmp_path: Path) -> None:
    archive("montgomery")
    recipe = chest_at(Source(client="web", id="https://example.org/page", files=(f"{server}/montgomery.zip",)))
    seen: list[tuple[str, int, int]] = []
    fetched = fetch(recipe, recipe.main, on_progress=lambda *step: seen.append(step))
    size = (tmp_path / "montgomery.zip").stat().st_size
    assert seen[-1] == ("montgomery.zip", size, size)
    (tmp_path / "montgomery.zip").unlink()
    assert fetch(recipe, recipe.main).paths == fetched.paths
    added = add_by_recipe(recipe, fetched.paths, rules={"accept": "counts,sizes"}, origin=fetched.origin)
    assert added.pairs == 4
    assert (tmp_path / "home/chest/dataset.json").read_text().count("montgomery.zip (SHA-256 ") == 1


def test_a_wrong_checksum_is_refused(archive, server: str) -> None:
    archive("montgomery")
    recipe = chest_at(
        Source(client="web", id="https://example.org/page", files=(f"{server}/montgomery.zip",), sha256=("0" * 64,))
    )
    with pytest.raises(SourceError, match="it was deleted"):
        fetch(recipe, recipe.main)


def test_what_cannot_be_reached_is_one_message_with_page_file_and_command(archive, server: str) -> None:
    archive("montgomery")
    dead = Source(client="web", id="https://example.org/page", files=(f"{NOWHERE}/a.zip", f"{NOWHERE}/b.zip"))
    recipe = chest_at(dead)
    with pytest.raises(SourceError) as caught:
        fetch(recipe, recipe.main)
    text = str(caught.value)
    assert "open https://example.org/page, get a.zip and b.zip" in text
    assert "`qttseg datasets add chest --from a.zip --from b.zip`" in text
    living = Source(client="web", id="https://example.org/other", files=(f"{server}/montgomery.zip",))
    assert fetch(chest_at(dead, living), chest_at(dead, living).main).paths, "the next source is tried"


@pytest.mark.parametrize(
    ("name", "said", "got"),
    [
        ("polyp", "https://www.kaggle.com/datasets/balraj98/cvcclinicdb", "archive.zip"),
        ("human_parsing", "https://huggingface.co/datasets/mattmdjaga/human_parsing_dataset", "folder"),
    ],
)
def test_the_sources_own_clients_fail_with_the_same_message(tmp_path: Path, name: str, said: str, got: str) -> None:
    """In a process of its own, whose every address leads to a port where nobody listens."""
    code = (
        "import socket\n"
        "socket.getaddrinfo = lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', 9))]\n"
        "from qttseg.metadata.recipes.catalogue import recipe_of\n"
        "from qttseg.metadata.recipes.fetching import SourceError, fetch\n"
        f"recipe = recipe_of({name!r})\n"
        "try:\n    fetch(recipe, recipe.main)\n"
        "except SourceError as error:\n    print(error)\n"
    )
    environment = {"HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=250
    )
    assert f"  {said}: it cannot be reached from here\n" in done.stdout, done.stderr
    assert f"By hand: open {said}, get " in done.stdout
    assert f"`qttseg datasets add {name} --from {got}`" in done.stdout


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("a.zip", "broke off after 5000 of 100000 bytes"),
        ("malformed/a.zip", "answer is malformed"),
        ("html/a.zip", "sent something else than an archive; it was deleted"),
    ],
)
def test_a_plain_address_that_breaks_off_is_the_same_message(broken: str, file: str, reason: str) -> None:
    recipe = chest_at(Source(client="web", id="https://example.org/page", files=(f"{broken}/{file}",)))
    for _ in range(2):  # what is wrong is not kept
        with pytest.raises(SourceError, match=f"{reason}(.|\n)*open https://example.org/page, get a.zip, and go on"):
            fetch(recipe, recipe.main)


BY_HUB = """
from qttseg.errors import DatasetError
from qttseg.metadata.adding import add
from qttseg.metadata.recipes.catalogue import recipe_of
from qttseg.metadata.recipes.fetching import fetch
for ask in (lambda: fetch(recipe_of("human_parsing"), recipe_of("human_parsing").main), lambda: add("mine", "owner/name", format="hf")):
    try:
        ask()
    except DatasetError as error:
        print(error, end="\\n--\\n")
"""


@pytest.mark.parametrize("proxied", [False, True])
def test_a_hub_that_breaks_off_and_a_wrong_proxy_are_the_same_message(
    broken: str, tmp_path: Path, *, proxied: bool
) -> None:
    environment = {"HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", "PATH": "", "HF_ENDPOINT": broken}
    environment |= {"QTTSEG_DATA": str(tmp_path / "home")}
    if proxied:
        environment["ALL_PROXY"] = "socks5://127.0.0.1:9"  # for which the client lacks a package
    done = subprocess.run(
        [sys.executable, "-c", BY_HUB], env=environment, capture_output=True, text=True, check=False, timeout=250
    )
    fetched, added, rest = done.stdout.split("--\n")
    assert ("SOCKS" if proxied else "peer closed connection") in fetched, done.stderr
    assert "open https://huggingface.co/datasets/mattmdjaga/human_parsing_dataset, get *.parquet" in fetched
    assert "`qttseg datasets add human_parsing --from folder`" in fetched
    assert added.startswith("owner/name: Hugging Face's datasets cannot load this (")
    assert "open https://huggingface.co/datasets/owner/name," in added
    assert "`qttseg datasets add NAME FOLDER --format hf`" in added
    assert not rest
    assert not list((tmp_path / "home").glob("*")), "nothing half-written"


def test_a_licence_is_acknowledged_once_and_again_when_it_changes() -> None:
    recipe = recipe_of("golf")
    assert not licence_accepted(recipe)
    accept_licence(recipe)
    assert licence_accepted(recipe)
    assert not licence_accepted(replace(recipe, licence="Another"))


def test_a_licence_that_cannot_be_noted_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "file"))
    with pytest.raises(DatasetError, match="QTTSEG_DATA"):
        accept_licence(recipe_of("golf"))
