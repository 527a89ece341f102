"""Recipes: TOML there and back, settings over it, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.errors import UsageError
from liif_cli.train.recipe import Recipe, Samples, Schedule, from_table, read, resolved
from tests.nn.test_spec import specs

text = st.text(max_size=20)
recipes = st.builds(
    Recipe,
    name=text,
    what=text,
    model=specs,
    init=text,
    teacher=text,
    samples=st.builds(
        Samples,
        pairs=st.sampled_from(["reduce", "paired", "sizes"]),
        scale_min=st.floats(1, 2),
        scale_max=st.floats(2, 64),
        queries=st.integers(0, 9999),
        flips=st.booleans(),
        shares=st.dictionaries(text, st.floats(0, 9), max_size=3),
    ),
    schedule=st.builds(
        Schedule, rate=st.floats(0, 1), minutes=st.floats(0, 999), steps=st.integers(0, 10**9)
    ),
)

MODEL = """
name = "small"
[model.encoder]
kind = "compact"
width = 8
depth = 2
[model.decoder]
kind = "light"
hidden = [8, 8]
"""


@given(recipes)
def test_a_resolved_recipe_gives_the_recipe_back(recipe: Recipe) -> None:
    assert from_table(tomllib.loads(resolved(recipe)), "test") == recipe


def file(folder: Path, content: str = MODEL) -> Path:
    path = folder / "recipe.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_setting_goes_over_the_file(tmp_path: Path) -> None:
    settings = ["schedule.rate=1e-4", "samples.pairs=sizes", "model.decoder.hidden=[4]", 'init="standard"']
    recipe = read(file(tmp_path), settings)
    assert recipe.schedule.rate == 1e-4
    assert recipe.samples.pairs == "sizes"
    assert recipe.model.decoder.hidden == (4,)
    assert recipe.init == "standard"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("schedule.rat=1", "did you mean 'rate'"),
        ("schedule.rate=fast", "schedule.rate is a float"),
        ("schedule.rate=-1", "rate is from 0 to 1"),
        ("schedule.rate=nan", "rate is from 0 to 1"),
        ("samples.batch=0", "batch is from 1"),
        ("samples.batch=2.5", "samples.batch is a int"),
        ("samples.pairs=twins", "one of reduce, paired, sizes"),
        ("samples.scale_max=0.5", "scale_max is from 1"),
        ("model.encoder.kind=vgg", "one of edsr, rdn, compact"),
        ("name.first=a", "'name' is not a table"),
        ("rate", "not of the form key=value"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, setting: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as told:
        read(file(tmp_path), ["samples.batch=4", setting])
    assert setting in str(told.value)


def test_a_wrong_file_is_named_whatever_is_set(tmp_path: Path) -> None:
    path = file(tmp_path)
    path.write_text(path.read_text("utf-8") + "[schedule]\nrat = 1\n", "utf-8")
    with pytest.raises(UsageError, match=r"toml: unknown field schedule\.rat"):
        read(path, ["samples.batch=4"])


def test_a_teacher_and_degraded_inputs_exclude_each_other(tmp_path: Path) -> None:
    assert read(file(tmp_path), ["teacher=standard"]).teacher == "standard"
    with pytest.raises(UsageError, match="cannot teach"):
        read(file(tmp_path), ["teacher=standard", "samples.degrade=photo"])


def test_a_self_ensemble_needs_a_teacher(tmp_path: Path) -> None:
    assert read(file(tmp_path), ["teacher=standard", "teacher_tta=true"]).teacher_tta
    with pytest.raises(UsageError, match="without a teacher"):
        read(file(tmp_path), ["teacher_tta=true"])


@pytest.mark.parametrize(
    "content", ["name = ", "name = 3", "", "\x00", MODEL + "more = 1", "model = 3\nname=''"]
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match=r"recipe\.toml"):
        read(file(tmp_path, content))


json_like: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
)
fields = st.sampled_from(
    ["name", "model", "init", "samples", "schedule", "encoder", "decoder", "rate", "shares"]
)


@given(st.dictionaries(fields, json_like | st.dictionaries(fields, json_like)))
def test_no_table_whatsoever_is_a_bug(table: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        from_table(table, "fuzz")


@pytest.mark.parametrize("path", sorted(Path("weights/recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_the_recipes_that_come_with_us_can_be_read(path: Path) -> None:
    assert read(path).name == path.stem
