"""The command line as a new user meets it: help with an example everywhere, a clear error for a wrong word."""

import json
import subprocess
import sys

import numpy as np
import pytest
import typer
from PIL import Image

from qttseg.cli import app, main

COMMANDS = {
    (*path, name): command
    for path, group in [
        ((), typer.main.get_command(app)),
        *(
            ((name,), command)
            for name, command in typer.main.get_command(app).commands.items()
            if hasattr(command, "commands")
        ),
    ]
    for name, command in group.commands.items()
    if not hasattr(command, "commands") or command.invoke_without_command
}


@pytest.fixture
def qttseg(monkeypatch, capfd):
    """Type a command in this process and return what it said, stdout and stderr apart."""

    def type_(*words, expect=0, cwd=None):
        monkeypatch.setattr(sys, "argv", ["qttseg", *map(str, words)])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as exit_:
            main()
        said, complained = capfd.readouterr()
        assert exit_.value.code == expect, complained
        return said, complained

    return type_


def test_the_commands_are_those_that_the_readme_promises():
    assert {" ".join(path) for path in COMMANDS} >= {
        "datasets list", "datasets verify", "datasets info", "datasets fetch", "collect", "collect status", "collect plan", "meta summary", "meta query", "meta import", "train",
        "predictors list", "predictors show", "predictors judge", "predictors promote", "tune", "predict", "bench", "tables paper", "tables summary", "tables prompt-learning", "prompt-learning figures",
        "figures", "report", "replay",
        "backbone pretrain", "demo",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_parses(path):
    command = COMMANDS[path]
    assert command.help
    assert command.epilog.startswith(f"Example: qttseg {' '.join(path)}")
    import shlex

    words = shlex.split(command.epilog.removeprefix("Example: qttseg "))[len(path) :]
    command.make_context(path[-1], words)
    for parameter in command.params:
        assert getattr(parameter, "help", None) or parameter.name == "help", f"{parameter.name} has no help"


def test_help_and_import_load_nothing_heavy():
    code = (
        "import sys, qttseg.cli\n"
        "heavy = {'torch', 'ray', 'mlflow', 'duckdb', 'pyarrow', 'gpytorch', 'peft', 'scipy', 'ConfigSpace', 'altair'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune", "no-such-data"], "no dataset and no folder 'no-such-data'"),
        (["tune", "procedural-polyp", "--budget", "soon"], "'soon' is not a duration; write 60s"),
        (["collect", "--datasets", "procedural-polpy"], "procedural-polyp"),
        (["collect", "--runs", "0"], "at least one run"),
        (["collect", "--epochs", "0"], "protocol.epochs is 0"),
        (["collect", "--space", "papre"], "unknown search space 'papre'; known are extended, paper"),
        (["collect", "--backbone", "sam-mega"], "unknown backbone 'sam-mega'"),
        (["collect", "status"], "run qttseg collect first"),
        (["meta", "summary"], "run qttseg collect first"),
        (["meta", "import", "nowhere.csv"], "nowhere.csv"),
        (["meta", "import", "nowhere"], "there are no runs in nowhere"),
        (["replay"], "no dataset in curves has 8 completed runs"),
        (["replay", "--optimisers", "random,quicktunetool"], "run `qttseg bench setup quicktunetool`"),
        (["train"], "run qttseg collect first"),
        (["train", "--leave-out", "a", "--all-leave-out"], "give one of them"),
        (["predictors", "show", "7"], "run qttseg train first"),
        (["predictors", "judge"], "run qttseg collect first"),
        (["predictors", "judge", "--store", "shipped"], "this predictor has learnt from dataset procedural-US"),
        (["predict", "nowhere", "."], "either --boxes FILE, --points FILE or --whole-image"),
        (["predict", "nowhere", ".", "--whole-image"], "holds no tuned model"),
        (["bench", "--methods", "magic"], "there is no method 'magic'"),
        (["bench", "--budgets", "0"], "'0' is not a duration"),
        (["tables", "paper"], "run qttseg bench first"),
        (["report"], "run qttseg bench first"),
        (["tables", "prompt-learning"], "no trials of prompt learning"),
        (["prompt-learning", "figures"], "no trials of prompt learning"),
        (["datasets", "info", "polyps"], "near names are polyp"),
        (["datasets", "verify", "nowhere"], "no dataset and no folder 'nowhere'"),
        (["datasets", "verify", "procedural-polyp"], "qttseg datasets stats procedural-polyp"),
        (["datasets", "fetch", "golf"], "ODbL 1.0"),
        (["datasets", "fetch", "golf", "--rule", "variant=red"], "it has ids, colours"),
        (["bench", "--datasets", "paper13"], "golf: `qttseg datasets fetch golf`"),
        (["collect", "--datasets", "golf", "--available"], "1 of 1 datasets of golf are not here"),
        (["datasets", "add", "golf", ".", "--from", "."], "give either PATH, or --from"),
        (["datasets", "add", "golf", "--from", ".", "--link"], "leave out --format, --link and --skip-bad"),
        (["datasets", "add", "golf", "--from", "nowhere.zip"], "neither a folder nor an archive"),
        (["datasets", "add", "tiles", "--from", "."], "there is no recipe 'tiles'"),
        (["tune", "golf"], "qttseg datasets fetch golf"),
        (["tune", "procedural-polyp", "--split", "random"], "grouped, ungrouped, paper"),
        (["backbone", "show", "sam-vit-b:nowhere.pth"], "no SAM checkpoint"),
        (["backbone", "show", "sam2:."], "no SAM 2 model"),
        (["backbone", "fetch", "sam-mega"], "no official checkpoint"),
        (["backbone", "pretrain", "--out", "/proc/none/w", "--stop-after", "1"], "/proc/none"),
        (["predictors", "list", "--registry", "http://127.0.0.1:9"], "cannot be used"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_clear_message(qttseg, words, message, tmp_path):
    said, complained = qttseg(*words, expect=1, cwd=tmp_path)
    assert message in complained
    assert complained.strip().startswith("Error: ")
    assert "Traceback" not in complained + said


@pytest.fixture
def pairs(tmp_path):
    """A folder of six small pairs."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for stem in "abcdef":
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "images" / f"{stem}.png")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "masks" / f"{stem}.png")
    return tmp_path


def test_verify_names_each_bad_file(qttseg, pairs):
    (pairs / "images" / "c.png").write_bytes(b"no picture")
    Image.fromarray(np.eye(5, dtype=np.uint8)).save(pairs / "masks" / "d.png")
    page = pairs / "quality.html"
    said, complained = qttseg("datasets", "verify", pairs, "--page", page, expect=1)
    assert "images/c.png" in page.read_text()
    assert "c.png" in said
    assert "d.png" in said
    assert "2 errors" in complained


def test_a_dataset_is_added_exported_and_removed(qttseg, tmp_path, monkeypatch):
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    for name in ("images", "masks"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    for stem in "abcde":
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "mine/images" / f"{stem}.png")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "mine/masks" / f"{stem}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "mine/images/alone.png")
    said, complained = qttseg("datasets", "add", "tiles", tmp_path / "mine")
    assert "folders: images/ with masks/, 5 pairs" in said
    assert "left out: images/alone.png has no partner" in complained
    said, _ = qttseg("datasets", "export", "tiles", "--format", "coco", cwd=tmp_path)
    assert (tmp_path / "tiles-coco/annotations.json").is_file()
    qttseg("datasets", "add", "again", "tiles-coco", "--format", "coco", "--rule", f"images={tmp_path / 'tiles-coco'}")
    said, _ = qttseg("datasets", "verify", "again")
    assert "5 of 5" in said
    said, _ = qttseg("datasets", "info", "again")
    assert str(tmp_path / "home/again") in said
    for words, message in [
        (("add", "tiles", "tiles-coco"), "there is a dataset 'tiles'"),
        (("add", "new", "tiles-coco", "--rule", "images"), "KEY=VALUE"),
        (("add", "new", "tiles-coco", "--format", "yolo"), "no format 'yolo'; known are auto, coco"),
        (("export", "tiles", "--format", "yolo"), "choose from coco, hf"),
    ]:
        _, complained = qttseg("datasets", *words, expect=1)
        assert message in complained
    qttseg("datasets", "remove", "tiles")
    _, complained = qttseg("datasets", "remove", "tiles", expect=1)
    assert "it holds again" in complained


def test_the_datasets_that_are_here_and_those_that_could_be_are_listed(qttseg, tmp_path, monkeypatch):
    monkeypatch.setenv("QTTSEG_DATA", str(tmp_path / "home"))
    for name in ("images", "masks"):
        (tmp_path / "home" / "golf" / name).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / "home" / "golf" / name / "a.png")
    said, _ = qttseg("datasets", "list")
    here, could = said.split("could be fetched")
    assert "golf" in here
    assert "golf" not in could
    assert "CholecSeg8k" in could
    (tmp_path / "home/golf/dataset.json").write_text('{"converted": "1970-01-01"}')
    said, _ = qttseg("datasets", "info", "golf")
    assert "1970-01-01" in said
    assert "ODbL 1.0" in said
    assert "accept" in said
    here, lacking = qttseg("datasets", "list", "--suite", "golf,polyp")[0].split("not here")
    assert "golf" in here
    assert "qttseg datasets fetch polyp" in lacking


def test_stats_preview_and_page_show_what_a_dataset_is_like(qttseg, pairs):
    said, _ = qttseg("datasets", "stats", pairs, "--page", pairs / "quality.html")
    assert "8 × 8" in said
    assert f"<h1>{pairs.name}</h1>" in (pairs / "quality.html").read_text()
    said, _ = qttseg("datasets", "preview", pairs, "--images", "4", cwd=pairs)
    with Image.open(pairs / f"{pairs.name}-preview.png") as sheet:
        assert sheet.width > 900


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model tuned for five seconds at random, and the folder it was tuned on."""
    from qttseg.metadata.datasets import resolve_dataset

    root = tmp_path_factory.mktemp("tuned")
    dataset = resolve_dataset("procedural-polyp")
    for name in ("images", "masks"):
        (root / "data" / name).mkdir(parents=True)
    for index in range(12):
        sample = dataset[index]
        Image.fromarray(sample.image).save(root / "data" / "images" / f"{sample.name}.png")
        Image.fromarray(sample.mask * 255).save(root / "data" / "masks" / f"{sample.name}.png")
    words = ("--budget", "5s", "--predictors", "none", "--images", "8", "--epochs", "2", "--out", root / "model")
    code = "from qttseg.cli import main; main()"
    typed = [sys.executable, "-c", code, "tune", root / "data", *words]
    done = subprocess.run(list(map(str, typed)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "→" in done.stdout
    return root


def test_tune_leaves_files_to_use(model):
    found = {path.name for path in (model / "model").iterdir()}
    assert {"model.json", "config.json", "curves", "previews", "MODEL_CARD.md"} <= found
    tuned = json.loads((model / "model" / "model.json").read_text())["adapter"] is not None
    assert ("decoder.safetensors" in found) == tuned
    assert list((model / "model" / "previews").glob("*.png"))


def test_a_collection_is_planned_done_and_looked_at(qttseg, model, tmp_path):
    small = ("--datasets", model / "data", "--images", "6", "--test-images", "2", "--epochs", "2", "--runs", "3")
    said, _ = qttseg("collect", "plan", *small, cwd=tmp_path)
    assert "as tried on this machine" in said
    assert not (tmp_path / "curves").exists()
    said, _ = qttseg("collect", *small, "--pack", "2", "--limit", "5m")
    assert "3 runs in" in said
    said, _ = qttseg("collect", "status")
    assert "missing" in said
    assert "completed" in said
    assert "data" in said
    said, _ = qttseg("collect", "plan", *small)
    assert "as in curves so far" in said


def test_tune_never_overwrites_a_result(qttseg, model):
    _, complained = qttseg("tune", model / "data", "--out", model / "model", expect=1)
    assert "not empty" in complained


@pytest.mark.parametrize("prompt", ["boxes", "points", "whole-image"])
def test_predict_writes_class_ids_at_the_images_size(qttseg, model, tmp_path, prompt):
    images = model / "data" / "images"
    names = sorted(path.name for path in images.iterdir())
    (tmp_path / "boxes.json").write_text(json.dumps({name: [10, 10, 120, 120] for name in names}))
    points = {name: [60, 60] if index % 2 else {"1": [[60, 60], [50.5, 70]]} for index, name in enumerate(names)}
    (tmp_path / "points.json").write_text(json.dumps(points))
    chosen = ["--whole-image"] if prompt == "whole-image" else [f"--{prompt}", tmp_path / f"{prompt}.json"]
    qttseg("predict", model / "model", images, *chosen, "--out", tmp_path / "masks")
    for name in names:
        with Image.open(tmp_path / "masks" / name) as mask, Image.open(images / name) as image:
            assert mask.mode == "P"
            assert mask.size == image.size
            assert set(np.unique(np.asarray(mask))) <= {0, 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[1]", "JSON object"),
        ("{", "cannot be read"),
        ("{}", "no boxes for 12 images"),
        ("boxes of an unknown class", "no class 'cat'"),
        ("boxes inside out", "x0 < x1"),
    ],
)
def test_wrong_boxes_are_named(qttseg, model, tmp_path, document, message):
    names = [path.name for path in (model / "data" / "images").iterdir()]
    wrong = {
        "boxes of an unknown class": {name: {"cat": [0, 0, 9, 9]} for name in names},
        "boxes inside out": {name: [9, 9, 0, 0] for name in names},
    }
    text = json.dumps(wrong[document]) if document in wrong else document
    (tmp_path / "boxes.json").write_text(text)
    words = (
        model / "model",
        model / "data" / "images",
        "--boxes",
        tmp_path / "boxes.json",
        "--out",
        tmp_path / "masks",
    )
    _, complained = qttseg("predict", *words, expect=1)
    assert message in complained
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("points", "message"),
    [([], "no list of points"), ([[1, 2, 3]], r"write [[x, y]]"), ({"cat": [[1, 2]]}, "no class 'cat'")],
)
def test_wrong_points_are_named(qttseg, model, tmp_path, points, message):
    names = [path.name for path in (model / "data" / "images").iterdir()]
    (tmp_path / "points.json").write_text(json.dumps(dict.fromkeys(names, points)))
    words = ("--points", tmp_path / "points.json", "--out", tmp_path / "masks")
    _, complained = qttseg("predict", model / "model", model / "data" / "images", *words, expect=1)
    assert message in " ".join(complained.split())


def test_the_papers_runs_can_be_taken_into_a_store_of_the_extended_space(qttseg, tmp_path):
    qttseg("meta", "import", "shipped", "--as-extended", "--store", tmp_path / "curves")
    asked = "SELECT DISTINCT space, configuration->>'adapter' AS adapter FROM runs ORDER BY 2"
    said, _ = qttseg("meta", "query", asked, "--store", tmp_path / "curves")
    assert all(word in said for word in ("decoder", "lora", "extended-v4"))
    assert "paper-v1" not in said
    _, complained = qttseg(
        "meta", "import", tmp_path / "curves", "--as-extended", "--store", tmp_path / "again", expect=1
    )
    assert "only runs of paper-v1 and extended-v3 are points of extended-v4" in " ".join(complained.split())


def test_a_model_tuned_in_the_extended_space_with_points_predicts_with_its_own_adapter(qttseg, model, tmp_path):
    small = ("--images", "8", "--epochs", "1", "--budget", "20s", "--predictors", "none", "--candidates", "4")
    said, _ = qttseg(
        "tune", model / "data", "--space", "extended", "--prompt", "point", *small, "--out", tmp_path / "m"
    )
    assert "--points points.json" in said
    description = json.loads((tmp_path / "m" / "model.json").read_text())
    configuration = json.loads((tmp_path / "m" / "config.json").read_text())["configuration"]
    assert description["prompt"] == "point"
    assert description["adapter"] == (configuration and configuration["adapter"])
    images = model / "data" / "images"
    (tmp_path / "points.json").write_text(json.dumps({path.name: [60, 60] for path in images.iterdir()}))
    qttseg("predict", tmp_path / "m", images, "--points", tmp_path / "points.json", "--out", tmp_path / "masks")
    assert len(list((tmp_path / "masks").glob("*.png"))) > 0


def test_a_search_is_held_to_the_values_that_the_user_names(qttseg, model, tmp_path):
    small = ("--images", "8", "--epochs", "1", "--budget", "20s", "--predictors", "none", "--candidates", "4")
    held = ("--where", "adapter=plm", "--where", "horizontal_flip=0")
    qttseg("tune", model / "data", "--space", "extended", "--prompt", "point", *small, *held, "--out", tmp_path / "m")
    asked = "SELECT DISTINCT configuration->>'adapter' AS adapter, configuration->>'horizontal_flip' AS flip FROM runs"
    said, _ = qttseg("meta", "query", asked, "--store", tmp_path / "m")
    assert said.split()[-2:] == ["plm", "0"]
    for wrong, complaint in (
        ("adapter", "--where adapter must have the form NAME=VALUE, as in adapter=plm"),
        ("adapter=plum", "'plum' is no value in search space extended of adapter"),
        ("plm_class=1", "search space extended cannot be held to a value of plm_class; it can to one of adapter"),
    ):
        _, complained = qttseg(
            "tune", model / "data", "--space", "extended", *small, "--where", wrong, "--out", tmp_path / "n", expect=1
        )
        assert complaint in " ".join(complained.split())
