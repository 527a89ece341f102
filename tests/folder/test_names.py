"""Which files are inputs, and what results are called."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liif_cli.engine.target import Region, Target
from liif_cli.errors import UsageError
from liif_cli.folder.names import Found, Naming, Source, find, listed, plain

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
DOUBLE = Target(scale=(2, 2))
NO_STDIN = bytes


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, a text, a hidden file, and a folder below."""
    monkeypatch.chdir(tmp_path)
    for name in ("t/b.png", "t/a.JPG", "t/sub/c.png", "t/sub/.hidden/d.png", "t/.e.png", "t/no_suffix"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    Path("t/notes.txt").write_text("no picture", "utf-8")
    Path("t/broken.png").write_text("named like one", "utf-8")
    return tmp_path


def names(found: Found) -> list[str]:
    return [source.name.replace(os.sep, "/") for source in found.sources]


def test_a_folder_means_its_pictures_sorted(tree: Path) -> None:
    found = find(["t"], recursive=False, stdin=NO_STDIN)
    assert names(found) == ["t/a.JPG", "t/b.png", "t/broken.png", "t/no_suffix"]
    assert [path.name for path in found.passed_over] == ["notes.txt"]
    assert not found.errors and found.many


def test_with_recursive_the_whole_tree_but_nothing_hidden(tree: Path) -> None:
    assert names(find(["t"], recursive=True, stdin=NO_STDIN))[-1] == "t/sub/c.png"
    assert not any("hidden" in name for name in names(find(["t"], recursive=True, stdin=NO_STDIN)))


def test_the_folder_of_results_is_not_searched(tree: Path) -> None:
    found = find(["t"], recursive=True, stdin=NO_STDIN, leave_out=Path("t/sub/"))
    assert "t/sub/c.png" not in names(found)


def test_an_input_named_twice_is_one_input(tree: Path) -> None:
    Path("link.png").symlink_to("t/b.png")
    found = find(["t/b.png", "./t/../t/b.png", "link.png", "t"], recursive=False, stdin=NO_STDIN)
    assert names(found).count("t/b.png") == 1 and len(found.sources) == 4


def test_a_missing_file_is_an_input_that_will_fail(tree: Path) -> None:
    assert names(find(["t/zzz.png"], recursive=False, stdin=NO_STDIN)) == ["t/zzz.png"]


def test_an_empty_folder_is_an_error_with_a_hint(tree: Path) -> None:
    Path("empty/below").mkdir(parents=True)
    (found,) = find(["empty"], recursive=False, stdin=NO_STDIN).errors
    assert "no pictures in this folder" in str(found[1]) and "-r" in found[1].hint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_rights_is_an_error(tree: Path) -> None:
    Path("t/sub").chmod(0)
    try:
        found = find(["t"], recursive=True, stdin=NO_STDIN)
    finally:
        Path("t/sub").chmod(0o755)
    assert [name for name, _ in found.errors] == ["t/sub"] and len(found.sources) == 4


def test_a_dash_is_the_bytes_of_stdin() -> None:
    found = find(["-"], recursive=False, stdin=lambda: PNG)
    assert found.sources == (Source(data=PNG),) and found.sources[0].name == "-" and not found.many


@given(
    st.lists(
        st.text(
            st.characters(
                exclude_characters="\0\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"]
            ),
            min_size=1,
        )
    )
)
def test_lists_of_names_are_read_as_they_were_written(files: list[str]) -> None:
    data = [os.fsencode(name) for name in files]
    assert listed(b"\0".join([*data, b""]), null=True) == files
    assert listed(b"\n".join(data), null=False) == files


def naming(output: str | None = None, target: Target = DOUBLE, **more: object) -> Naming:
    settings: dict[str, object] = {"template": None, "format": None, "model": "standard", "many": False}
    return Naming.of(output=output, target=target, **{**settings, **more})  # type: ignore[arg-type]


def place(
    naming: Naming, source: Source, read_format: str | None = "png", index: int = 1
) -> tuple[str | None, str]:
    path, format = naming.place(source, naming.target.layout(40, 30), index, read_format)
    return (None if path is None else path.as_posix()), format


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target(scale=(7.5, 7.5)), "a/photo_x7.5.png"),
        (Target(scale=(2, 3.5)), "a/photo_x2x3.5.png"),
        (Target(size=(1920, 1080)), "a/photo_1920x1080.png"),
        (Target(longer=80), "a/photo_80x60.png"),
        (Target(scale=(2, 2), region=Region.parse("4,5,10,20")), "a/photo_x2_10x20+4+5.png"),
        (Target(longer=80, region=Region.parse("pct:0,50,50,50")), "a/photo_x2_40x30pct+0+50.png"),
    ],
)
def test_without_output_the_result_lies_beside_the_input(target: Target, name: str) -> None:
    assert place(naming(target=target), Source(path=Path("a/photo.png"))) == (name, "png")


@pytest.mark.parametrize(
    ("given", "read_format", "asked", "result"),
    [
        ("photo.JPG", "jpeg", None, ("photo_x2.JPG", "jpeg")),  # its own spelling
        ("photo.png", "jpeg", None, ("photo_x2.jpg", "jpeg")),  # a wrong name is put right
        ("photo.bmp", "bmp", None, ("photo_x2.png", "png")),  # cannot be written
        ("photo", "webp", None, ("photo_x2.webp", "webp")),
        ("photo.png", "png", "jpg", ("photo_x2.jpg", "jpeg")),
        ("photo.jpeg", "jpeg", "jpg", ("photo_x2.jpeg", "jpeg")),
        ("photo.png", None, None, ("photo_x2.png", "png")),
    ],
)
def test_the_format_is_the_inputs_unless_said_otherwise(
    given: str, read_format: str | None, asked: str | None, result: tuple[str, str]
) -> None:
    assert place(naming(format=asked), Source(path=Path(given)), read_format) == result


def test_a_folder_for_results_keeps_names_and_the_tree_below_the_input() -> None:
    source = Source(path=Path("in/deep/er/photo.png"), below=Path("in"))
    assert place(naming("out/", many=True), source) == ("out/deep/er/photo.png", "png")
    assert place(naming("out/"), Source(path=Path("in/photo.png"))) == ("out/photo.png", "png")


def test_a_file_for_the_result_says_its_format() -> None:
    source = Source(path=Path("photo.png"))
    assert place(naming("x/large.webp"), source) == ("x/large.webp", "webp")
    assert place(naming("large"), source, "jpeg") == ("large", "jpeg")
    assert place(naming("large.dat", format="tiff"), source) == ("large.dat", "tiff")


def test_a_picture_from_stdin_goes_to_stdout_unless_said_otherwise() -> None:
    source = Source(data=PNG)
    assert place(naming(), source, "jpeg") == (None, "jpeg")
    assert place(naming("-"), Source(path=Path("a.png"))) == (None, "png")
    assert place(naming("out/"), source) == ("out/stdin.png", "png")


def test_templates_know_all_their_fields() -> None:
    template = "{model}/{index:03}_{stem}_x{scale}_{width}x{height}.{ext}"
    where = naming("out/", template=template, model="runs/a/weights.safetensors")
    assert place(where, Source(path=Path("p.jpg")), "jpeg", 7) == ("out/weights/007_p_x2_80x60.jpg", "jpeg")


def test_a_template_without_a_suffix_gets_one_and_one_with_a_suffix_says_the_format() -> None:
    source = Source(path=Path("a.b/p.png"))
    assert place(naming(template="{stem}@{scale}"), source) == ("a.b/p@2.png", "png")
    assert place(naming(template="{stem}.webp"), source) == ("a.b/p.webp", "webp")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{stam}", "unknown {stam}"),
        ("{stem.__class__}", "unknown"),
        ("{stem", "expected"),
        ("{stem!r}", "cannot be written like that"),
        ("{index:>{width}}", "cannot be written like that"),
        ("{stem:05}", "cannot be written like that"),
        ("{index:0999999d}", "cannot be written like that"),
        ("../{stem}", "not a name below"),
        ("/abs/{stem}", "not a name below"),
        ("  ", "not a name below"),
        ("{stem}/", "not a name below"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template: str, what: str) -> None:
    with pytest.raises(UsageError, match=what.replace("{", "\\{").replace("}", "\\}")):
        naming(template=template)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"output": "large.png", "many": True}, "several inputs, and one file"),
        ({"output": "-", "many": True}, "several inputs, and one file"),
        ({"output": "large.png", "format": "jpeg"}, "--format jpeg, but"),
        ({"template": "{stem}.png", "format": "jpeg"}, "--format jpeg, but"),
        ({"output": "large.png", "template": "{stem}"}, "both name the result"),
        ({"format": "bmp"}, "cannot write 'bmp'"),
    ],
)
def test_contradictions_about_names_are_refused(more: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        naming(**more)  # type: ignore[arg-type]


@given(st.fractions(min_value=0, max_value=10**6, max_denominator=8))
def test_factors_are_written_plainly(number: Fraction) -> None:
    text = plain(number)
    assert abs(float(text) - number) <= 0.0005 and "e" not in text and not text.endswith((".", ".0"))


@given(st.one_of(st.text(max_size=30), st.text("{}stemxwidhndlo:0194d!rs./ ", max_size=30)))
def test_no_template_whatsoever_is_a_bug_or_leads_out_of_the_folder(text: str) -> None:
    try:
        made = naming(template=text, output="out/")
    except UsageError as error:
        assert text in str(error)
        return
    source = Source(path=Path("in/a.png"))
    path, _ = made.place(source, made.target.layout(30, 20), 1, "png")
    assert path is not None and os.path.normpath(path).startswith("out" + os.sep)
