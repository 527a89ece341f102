"""Weights files: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from liif_cli.errors import WeightsError
from liif_cli.nn.model import build
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.weights import store

SPEC = ModelSpec(
    encoder=EncoderSpec(kind="compact", width=4, depth=1), decoder=DecoderSpec(kind="light", hidden=(6,))
)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return build(SPEC, seed=3).state_dict()


@pytest.fixture
def path(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    store.write(tmp_path / "w.safetensors", SPEC, tensors, {"liif.name": "w"})
    return tmp_path / "w.safetensors"


def with_header(path: Path, header: bytes, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file of our own making, true or not."""
    claimed = len(header) if length is None else length
    path.write_bytes(claimed.to_bytes(8, "little") + header + data)
    return path


def with_spec(path: Path, spec: str, **tensors: Any) -> Path:
    return with_header(path, json.dumps({"__metadata__": {store.SPEC_KEY: spec}, **tensors}).encode())


def test_what_is_written_is_read_back(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    spec, found = store.read(path)
    assert spec == SPEC
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_the_header_tells_spec_metadata_and_count_of_parameters(
    path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    header = store.read_header(path)
    assert header.spec == SPEC == store.read_spec(path)
    assert header.metadata["liif.name"] == "w"
    assert header.parameters == sum(tensor.numel() for tensor in tensors.values())


def test_the_header_is_read_without_torch(path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from liif_cli.weights import store
store.read_header(Path({str(path)!r}))
sys.exit("torch" in sys.modules or "safetensors" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_equal_weights_are_equal_files(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    # The safetensors library alone writes the metadata in another order in every process.
    backwards = dict(reversed(tensors.items()))
    told = {f"liif.{n}": "x" for n in range(8)}
    store.write(path, SPEC, tensors, told)
    first = path.read_bytes()
    store.write(path, SPEC, backwards, dict(reversed(told.items())))
    assert path.read_bytes() == first
    written = json.loads(first[8 : 8 + int.from_bytes(first[:8], "little")])["__metadata__"]
    assert list(written) == sorted(written)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_float32_in_memory(
    path: Path, tensors: dict[str, torch.Tensor], dtype: torch.dtype
) -> None:
    full = path.stat().st_size
    store.write(path, SPEC, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    _, found = store.read(path)
    assert path.stat().st_size < 0.75 * full
    for name, tensor in tensors.items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.to(dtype).float())


def test_what_was_read_does_not_change_with_the_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    _, found = store.read(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 200)
        file.write(b"\x55" * 200)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_other(
    path: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match="cannot be written: No space left"):
        store.write(path, SPEC, {name: tensor * 2 for name, tensor in tensors.items()})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_a_truncated_file_is_refused_by_header_alone(path: Path, keep: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(WeightsError, match="not a sound weights file") as caught:
        store.read_header(path)
    assert caught.value.status == 4
    assert str(path) in str(caught.value)


def test_a_longer_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="are there"):
        store.read_header(path)


@pytest.mark.parametrize("length", [1 << 62, (1 << 64) - 1, 1 << 40])
def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path, length: int) -> None:
    with pytest.raises(WeightsError, match="shorter than its header says"):
        store.read_header(with_header(tmp_path / "bomb.safetensors", b"{}", length=length))


def test_a_header_that_is_huge_is_not_read(tmp_path: Path) -> None:
    bomb = with_header(tmp_path / "bomb.safetensors", b" " * (store.HEADER_LIMIT_BYTES + 1))
    with pytest.raises(WeightsError, match="more than any model needs"):
        store.read_header(bomb)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[]", "not an object"),
        (b"{", "line 1 column"),
        (b"\xff\xfe", "utf-8"),
        (b'{"__metadata__": {"a": 1}}', "not a table of strings"),
        (b'{"__metadata__": []}', "not a table of strings"),
        (b'{"a": {}, "a": {}}', "twice"),
        (b'{"a": NaN}', "contains NaN"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', "0 are there"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', "does not begin where"),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "the bytes its shape needs"),
        (b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}}', "the bytes its shape needs"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}', "no usable shape"),
        (b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', "no usable shape"),
        (b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}', "no usable shape"),
        (b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}', "no usable shape"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}', "no usable place"),
        (b'{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', "of type 'I64'"),
        (b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}', "of type"),
        (b'{"a": {"dtype": "F32", "shape": [1]}}', "not described by"),
    ],
)
def test_a_crooked_header_is_refused_with_the_reason(tmp_path: Path, header: bytes, says: str) -> None:
    with pytest.raises(WeightsError, match=says) as caught:
        store.read_header(with_header(tmp_path / "bad.safetensors", header))
    assert caught.value.status == 4


def test_overlapping_tensors_are_refused() -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    other = {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}
    with pytest.raises(ValueError, match="'b' does not begin where the one before it ends"):
        store.parse_header(json.dumps({"a": one, "b": other}).encode(), 12)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="no model spec") as caught:
        store.read_header(tmp_path / "other.safetensors")
    assert "not of this program" in caught.value.hint


@pytest.mark.parametrize("spec", ["", "{}", "null", '{"encoder": 1, "decoder": 2}', "[" * 100_000])
def test_a_spec_that_is_none_is_refused(tmp_path: Path, spec: str) -> None:
    with pytest.raises(WeightsError, match="the model spec is not understood"):
        store.read_header(with_spec(tmp_path / "bad.safetensors", spec))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors: No such file"):
        store.read_header(tmp_path / "none.safetensors")


def test_a_spec_of_very_many_layers_is_refused_before_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = EncoderSpec(kind="rdn", width=1, depth=256, layers=256)
    bomb = with_spec(tmp_path / "bomb.safetensors", ModelSpec(encoder=deep, decoder=SPEC.decoder).to_json())
    monkeypatch.setattr("liif_cli.nn.model.build", lambda *_: pytest.fail("65,536 layers were built"))
    with pytest.raises(WeightsError, match=r"bomb\.safetensors: .*more layers than tensors"):
        store.read(bomb)


def test_tensors_that_do_not_fit_the_spec_are_refused(
    tmp_path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    target = tmp_path / "w.safetensors"
    for change, says in (
        ({"encoder.head.bias": None}, "'encoder.head.bias' is missing"),
        ({"encoder.extra": torch.zeros(1)}, "'encoder.extra' has no place"),
        ({"encoder.head.bias": torch.zeros(5)}, "'encoder.head.bias' is 5, not 4"),
    ):
        changed = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        with pytest.raises(WeightsError, match=says):
            store.write(target, SPEC, changed)
        assert not target.exists()
        target.write_bytes(store.pack(changed, {store.SPEC_KEY: SPEC.to_json()}))
        with pytest.raises(WeightsError, match=says):
            store.read(target)
        target.unlink()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(
    path: Path, tensors: dict[str, torch.Tensor], value: float
) -> None:
    tensors["decoder.layers.0.weight"][1, 2] = value
    path.write_bytes(store.pack(tensors, {store.SPEC_KEY: SPEC.to_json()}))
    with pytest.raises(WeightsError, match=r"'decoder\.layers\.0\.weight' holds values that are not finite"):
        store.read(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "", 3]),
        "shape": st.lists(st.integers(-2, 1 << 50) | _json, max_size=3),
        "data_offsets": st.lists(st.integers(-2, 1 << 50) | _json, max_size=3),
    }
)
_headers = st.dictionaries(st.text(max_size=8) | st.just("__metadata__"), _entry | _json, max_size=4)


@given(
    text=st.binary(max_size=200) | _headers.map(lambda header: json.dumps(header).encode()),
    size=st.integers(0, 99),
)
@example(text=b"{}", size=0)
@example(text=b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', size=4)
def test_any_header_is_understood_whole_or_refused(text: bytes, size: int) -> None:
    try:
        metadata, tensors = store.parse_header(text, size)
    except ValueError:
        return
    assert all(isinstance(value, str) for value in metadata.values())
    places = sorted((tensor.start, tensor.stop) for tensor in tensors.values())
    assert sum(stop - start for start, stop in places) == size
    assert all(0 <= start <= stop <= size for start, stop in places)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), size=st.integers(0, 3))
def test_a_damaged_file_is_read_the_same_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    tensors = build(SPEC, seed=3).state_dict()
    store.write(path, SPEC, tensors)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    at = int(place * header)  # damage to the data cannot be seen without a hash
    path.write_bytes(whole[:at] + bytes([value]) * size + whole[at + size :])
    try:
        spec, found = store.read(path)
    except WeightsError as error:
        assert str(path) in str(error)
        return
    assert {name: tensor.shape for name, tensor in found.items()} == {
        name: tensor.shape for name, tensor in build(spec).state_dict().items()
    }
