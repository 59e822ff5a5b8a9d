"""Recipes are data: all are read, and what is wrong in one is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from qttseg.benchmark.paper import FIGURES
from qttseg.errors import DatasetError
from qttseg.metadata.recipes import catalogue
from qttseg.metadata.recipes.catalogue import NAMES, PAPER13, recipe_of
from qttseg.metadata.recipes.describing import to_markdown
from qttseg.metadata.recipes.reading import read_recipe
from qttseg.metadata.recipes.templates import Template, fill

ROOT = Path(__file__).parents[3]
RECIPES = Path(catalogue.__file__).parent
RECIPE = """
title = "T"
citation = "C"
licence = "L"
home = "https://example.org"
trust = "low"
classes = ["background", "thing"]
mask = { kind = "threshold" }
[[sources]]
client = "kaggle"
id = "a/b"
[variants.all]
about = "everything"
images = "images/{n}.png"
masks = ["masks/{n}.png"]
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_read_and_says_how_to_get_it(name: str) -> None:
    recipe = recipe_of(name)
    assert recipe.title
    assert recipe.citation
    assert recipe.licence
    for variant in recipe.variants.values():
        assert variant.sources
        assert all(source.page.startswith("https://") for source in variant.sources)
    assert recipe.unsure or recipe.trust == "high"


def test_the_recipes_are_the_papers_thirteen_and_two_more() -> None:
    assert {file.stem for file in RECIPES.glob("*.toml")} == set(NAMES)
    assert set(PAPER13) == set(FIGURES)
    assert [len(recipe_of(name).main.classes) == 2 for name in PAPER13] == [True] * 8 + [False] * 5


def test_the_page_says_what_the_recipes_say() -> None:
    page = (ROOT / "docs/datasets.md").read_text()
    assert to_markdown(recipe_of(name) for name in NAMES).strip() in page, "qttseg datasets info --markdown makes it"


def test_an_unknown_name_brings_near_ones() -> None:
    with pytest.raises(DatasetError, match="near names are polyp"):
        recipe_of("polyps")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('licence = "L"', "", "r.toml: missing key licence"),
        ('licence = "L"', 'license = "L"', "variants.all: unknown key license"),
        ('about = "everything"', 'about = "x"\nholes = 3', "variants.all: unknown key holes"),
        ('kind = "threshold"', 'kind = "guess"', "mask: unknown mask kind 'guess'"),
        ('kind = "threshold"', 'kind = "palette"', "needs the table colours"),
        ('kind = "threshold"', 'kind = "values", values = { 1 = 4 }', r"class ids \[4\], but there are 2 classes"),
        ('kind = "threshold"', 'kind = "threshold", over = 3', "mask: unknown key over"),
        ('client = "kaggle"', 'client = "drive"', "sources: unknown client 'drive'"),
        ('client = "kaggle"', 'client = "web"', "names no address"),
        ('trust = "low"', 'trust = "none"', "unknown trust 'none'"),
        ('masks = ["masks/{n}.png"]', 'masks = ["masks/{m}.png"]', "share no place"),
        ('kind = "threshold"', 'kind = "parts"', "needs the table parts"),
        ('kind = "threshold"', 'kind = "parts", parts = { wing = 1 }', r"one template with the place \{part\}"),
        ('kind = "threshold"', 'kind = "parts", parts = { wing = 2 }', r"place \{part\}|class ids \[2\]"),
        ('masks = ["masks/{n}.png"]', "", "go together"),
        ("[variants.all]", "[variant.all]", "unknown key|at least one variant"),
        ('title = "T"', "title = T", "cannot be read as a recipe"),
    ],
)
def test_what_is_wrong_in_a_recipe_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RECIPE
    file = tmp_path / "r.toml"
    file.write_text(RECIPE)
    assert read_recipe(file).main.task == "binary"
    file.write_text(RECIPE.replace(old, new))
    with pytest.raises(DatasetError, match=message):
        read_recipe(file)


@pytest.mark.parametrize(
    ("template", "path", "places"),
    [
        ("data/images/{n}.jpg", "leaf/data/data/images/00001.jpg", {"n": "00001"}),
        ("data/images/{n}.jpg", "aug_data/aug_data/images/00001.jpg", None),
        ("{run}[0]_{n}.png", "a b/2C0365[0]_101.PNG", {"run": "2C0365", "n": "101"}),
        ("{video}/{video}_{start}/frame_{k:\\d+}_endo.png", "video01/video01_80/frame_9_endo.png", {"video": "video01", "start": "80", "k": "9"}),
        ("{video}/{video}_{start}/frame_{k:\\d+}_endo.png", "video01/video02_80/frame_9_endo.png", None),
        ("masks/{n}{suffix:(?:_mask)?}.png", "masks/CHN_1_mask.png", {"n": "CHN_1", "suffix": "_mask"}),
        ("{n:\\d{4}}.png", "x/0012.png", {"n": "0012"}),
        ("{n:\\d{4}}.png", "x/012.png", None),
    ],
)  # fmt: skip
def test_templates_match_the_end_of_a_path(template: str, path: str, places: dict[str, str] | None) -> None:
    assert Template(template).match(path) == places
    if places:
        assert fill("{" + next(iter(places)) + "}-{other}", places) == next(iter(places.values())) + "-{other}"


def test_a_recipe_file_is_plain_toml_that_other_tools_can_read() -> None:
    for file in RECIPES.glob("*.toml"):
        assert tomllib.loads(file.read_text(encoding="utf-8"))["variants"]
