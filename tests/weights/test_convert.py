"""Official checkpoints: understood by names and shapes, computing what they computed, or refused."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from liif_cli.errors import WeightsError
from liif_cli.nn.model import Model, restore
from liif_cli.nn.spec import DecoderSpec, EncoderSpec, ModelSpec
from liif_cli.weights import catalog, store
from liif_cli.weights.convert import Converted, convert, read, understand
from tests.weights import official

PICTURE = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(5))


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    torch.manual_seed(11)


def model_of(converted: Converted) -> Model:
    return restore(converted.spec, converted.tensors)


def codes_of(converted: Converted) -> Tensor:
    with torch.inference_mode():
        return model_of(converted).encode(PICTURE).feat


def as_file(path: Path, holds: Any) -> Path:
    torch.save(holds, path)
    return path


def test_an_edsr_checkpoint_is_recognised_and_computes_the_same_codes() -> None:
    state = official.edsr(width=8, depth=2) | official.imnet(official.inputs(8))
    converted = understand(official.checkpoint(state), 1 << 20)
    assert converted.spec == ModelSpec(
        encoder=EncoderSpec(kind="edsr", width=8, depth=2), decoder=DecoderSpec(kind="liif", hidden=(12, 10))
    )
    assert converted.notes == ()
    expected = official.edsr_codes(state, 2 * PICTURE - 1, depth=2)
    torch.testing.assert_close(codes_of(converted), expected, atol=1e-5, rtol=0)


def test_an_rdn_checkpoint_is_recognised_and_computes_the_same_codes() -> None:
    state = official.rdn(width=8, depth=3, layers=2) | official.imnet(official.inputs(8))
    converted = understand(official.checkpoint(state, "rdn"), 1 << 20)
    assert converted.spec.encoder == EncoderSpec(kind="rdn", width=8, depth=3, layers=2)
    expected = official.rdn_codes(state, 2 * PICTURE - 1, depth=3, layers=2)
    torch.testing.assert_close(codes_of(converted), expected, atol=1e-5, rtol=0)


def test_an_rdn_checkpoint_of_the_published_shape_is_the_model_of_the_catalogue() -> None:
    state = official.rdn(width=64, depth=16, layers=8) | official.imnet(580, (256,) * 4)
    converted = understand(official.checkpoint(state, "rdn"), 1 << 30)
    assert converted.spec == catalog.card("rdn-liif").spec
    store.check_fit(converted.spec, {name: tuple(t.shape) for name, t in converted.tensors.items()}, "rdn")


def test_an_edsr_checkpoint_of_the_published_shape_is_the_model_of_the_catalogue() -> None:
    state = official.edsr(width=64, depth=16) | official.imnet(580, (256,) * 4)
    assert understand(official.checkpoint(state), 1 << 30).spec == catalog.card("edsr-baseline-liif").spec


@pytest.mark.parametrize("unfold", [True, False])
@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize("ensemble", [True, False])
def test_the_switches_are_read_from_shapes_and_arguments(unfold: bool, cell: bool, ensemble: bool) -> None:
    state = official.edsr() | official.imnet(official.inputs(8, unfold=unfold, cell=cell), (5, 4, 3))
    told: dict[str, Any] = {"feat_unfold": unfold, "cell_decode": cell, "local_ensemble": ensemble}
    converted = understand(official.checkpoint(state, **told), 1 << 20)
    assert converted.spec.decoder == DecoderSpec(
        kind="liif", hidden=(5, 4, 3), unfold=unfold, ensemble=ensemble, cell=cell
    )


def test_the_decoder_is_the_official_mlp() -> None:
    state = official.edsr() | official.imnet(official.inputs(8, unfold=False, cell=False))
    told: dict[str, Any] = {"feat_unfold": False, "cell_decode": False, "local_ensemble": False}
    converted = understand(official.checkpoint(state, **told), 1 << 20)
    model = model_of(converted)
    with torch.inference_mode():
        codes = model.encode(PICTURE)
        found = model.query(codes, np.array([[[4.25, 2.75]]]), (1.0, 1.0))[0, 0]
    # the nearest code is (4, 3); one input pixel is two units
    x = torch.cat([codes.feat[0, :, 4, 3], torch.tensor([0.5, -0.5])])
    for k in (0, 2, 4):
        x = state[f"imnet.layers.{k}.weight"] @ (x if k == 0 else x.relu()) + state[f"imnet.layers.{k}.bias"]
    torch.testing.assert_close(found, x * 0.5 + 0.5, atol=1e-5, rtol=0)


def test_a_bare_table_of_tensors_is_taken_and_what_is_assumed_is_said() -> None:
    state = official.edsr() | official.imnet(official.inputs(8))
    converted = understand(state, 1 << 20)
    assert converted.spec.decoder.ensemble
    assert any("local ensemble" in note for note in converted.notes)


@pytest.mark.parametrize(
    ("name", "told", "scale"), [("edsr", {}, 0.1), ("edsr-baseline", {"res_scale": 0.5}, 0.5)]
)
def test_the_scale_of_edsrs_residuals_goes_into_its_layers(
    name: str, told: dict[str, Any], scale: float
) -> None:
    state = official.edsr(width=8, depth=2) | official.imnet(official.inputs(8))
    given = official.checkpoint(state)
    given["model"]["args"]["encoder_spec"] = {"name": name, "args": {"no_upsampling": True, **told}}
    expected = official.edsr_codes(state, 2 * PICTURE - 1, depth=2, res_scale=scale)
    torch.testing.assert_close(codes_of(understand(given, 1 << 20)), expected, atol=1e-5, rtol=0)


def test_optimiser_state_and_unused_shifts_are_dropped(tmp_path: Path) -> None:
    state = official.edsr() | official.imnet(official.inputs(8))
    source = as_file(tmp_path / "a.pth", official.checkpoint(state))
    converted = convert(source, tmp_path / "a.safetensors", {"liif.name": "a"})
    spec, tensors = store.read(tmp_path / "a.safetensors")
    assert spec == converted.spec
    assert sum(t.numel() for t in tensors.values()) == sum(
        t.numel() for name, t in state.items() if "_mean" not in name
    )
    assert store.read_header(tmp_path / "a.safetensors").metadata["liif.name"] == "a"


def test_half_precision_checkpoints_become_float32() -> None:
    state = official.edsr() | official.imnet(official.inputs(8))
    converted = understand({name: tensor.half() for name, tensor in state.items()}, 1 << 20)
    assert {tensor.dtype for tensor in converted.tensors.values()} == {torch.float32}


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: [state], "no table of tensors"),
        (lambda state: {}, "no table of tensors"),
        (lambda state: {"model": 3}, "no table of tensors"),
        (lambda state: {**state, 3: torch.zeros(1)}, "no table of tensors"),
        (lambda state: {**state, "epoch": 3}, "'epoch' is no tensor"),
        (lambda state: {**state, "n": torch.zeros(1, dtype=torch.int64)}, "'n' is no tensor of real numbers"),
        (lambda state: {**state, "s": torch.zeros(2, 2).to_sparse()}, "'s' is no plain tensor"),
        (lambda state: {**state, "m": torch.zeros(1, device="meta")}, "'m' is no plain tensor"),
        (lambda state: {"model": {"name": "metasr", "args": {}, "sd": state}}, "called 'metasr'"),
        (
            lambda state: {**state, "encoder.more": torch.zeros(1)},
            r"nobody here knows the tensor 'encoder\.more'",
        ),
        (
            lambda state: {**state, "imnet.layers.6.weight": torch.zeros(3, 3)},
            r"imnet\.layers\.6\.bias is missing",
        ),
        (without("encoder.body.1.body.2.bias"), r"encoder\.body\.1\.body\.2\.bias is missing"),
        (without("encoder.head.0.weight"), "neither EDSR nor RDN"),
        (without("imnet.layers.0.weight"), "its decoder is no MLP"),
        (without("imnet.layers.4.weight"), "answers with 10 values"),
        (lambda state: {**state, "imnet.layers.0.weight": torch.zeros(12, 77)}, "takes 77 inputs"),
        (lambda state: {**state, "imnet.layers.0.weight": torch.zeros(12)}, "no MLP"),
        (lambda state: {**state, "encoder.tail.0.0.weight": torch.zeros(1)}, "has an upsampler"),
        (
            lambda state: {**state, "encoder.head.0.bias": torch.zeros(1).expand(1 << 40)},
            "larger than the file",
        ),
        (
            lambda state: official.checkpoint(state, cell_decode=False),
            "cell_decode is False in its arguments",
        ),
        (
            lambda state: official.checkpoint(state, encoder_spec={"args": {"res_scale": "x"}}),
            "res_scale is 'x'",
        ),
    ],
)
def test_what_is_not_understood_whole_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    state = official.edsr() | official.imnet(official.inputs(8))
    with pytest.raises(ValueError, match=says):
        understand(change(state), 1 << 20)


def test_an_rdn_with_another_growth_is_refused_by_name() -> None:
    state = official.rdn(width=8, growth=4) | official.imnet(official.inputs(8))
    with pytest.raises(ValueError, match="width 8 and growth 4"):
        understand(state, 1 << 20)


def test_an_unknown_structure_is_a_weights_error_that_says_what_is_known(tmp_path: Path) -> None:
    source = as_file(tmp_path / "vgg.pth", {"features.0.weight": torch.zeros(3)})
    with pytest.raises(WeightsError, match=r"vgg\.pth: unknown structure") as caught:
        convert(source, tmp_path / "out.safetensors")
    assert caught.value.status == 4
    assert "EDSR or RDN" in caught.value.hint
    assert not (tmp_path / "out.safetensors").exists()


def test_shapes_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    state = official.edsr() | official.imnet(official.inputs(8))
    state["encoder.body.0.body.0.weight"] = torch.zeros(8, 7, 3, 3)
    with pytest.raises(WeightsError, match=r"'encoder\.body\.0\.0\.weight' is 8x7x3x3, not 8x8x3x3"):
        convert(as_file(tmp_path / "a.pth", state), tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


class Malicious:
    """What a hostile pickle looks like: it asks to make a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    source, trace = tmp_path / "evil.pth", tmp_path / "it was run"
    holds = {"model": official.edsr(), "evil": Malicious(trace)}
    if kind == "plain":
        source.write_bytes(pickle.dumps(holds["evil"], protocol=2))
    else:
        torch.save(holds, source, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(WeightsError, match=r"evil\.pth: not trusted: it asks to run '\w+\.mkdir'") as caught:
        convert(source, tmp_path / "out.safetensors")
    assert caught.value.status == 4
    assert not trace.exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, keep: float) -> None:
    source = as_file(tmp_path / "a.pth", official.checkpoint(official.edsr()))
    whole = source.read_bytes()
    source.write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else int(keep)])
    with pytest.raises(WeightsError, match=r"a\.pth: ") as caught:
        read(source)
    assert caught.value.status == 4


@pytest.mark.parametrize(
    "text", [b"hello", b"\x80\x02", b"PK\x03\x04" + b"x" * 99, b"\x00" * 4096, b"(" * 9999]
)
def test_what_is_no_checkpoint_at_all_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(text)
    with pytest.raises(WeightsError, match="not a readable torch checkpoint"):
        read(tmp_path / "a.pth")


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: No such file"):
        read(tmp_path / "none.pth")


def test_a_checkpoint_that_unpacks_to_too_much_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liif_cli.weights.convert.FILE_LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (2 << 20))
    assert (tmp_path / "bomb.pth").stat().st_size < 1 << 13
    with pytest.raises(WeightsError, match="more than any checkpoint"):
        read(tmp_path / "bomb.pth")


def test_the_converted_published_weights_compute_what_the_official_code_computes(
    published: Path, shared: Path
) -> None:
    # shared/parity/README.md: float32 in another order of sums agrees to about 1e-5 of raw = 5e-6 here.
    with np.load(shared / "parity" / "official_parity.npz") as data:
        picture, feat, wanted = data["lr_uint8"], data["feat"], data["raw_61x97"] * 0.5 + 0.5
    spec, tensors = store.read(published)
    model = model_of(Converted(spec=spec, tensors=tensors))
    height, width = picture.shape[:2]
    rows = ((2 * np.arange(61) + 1) * height - 61) / (2 * 61)
    columns = ((2 * np.arange(97) + 1) * width - 97) / (2 * 97)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(1, -1, 2)
    with torch.inference_mode():
        codes = model.encode(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255)
        rgb = model.query(codes, points, (height / 61, width / 97))
    assert np.abs(codes.feat[0].numpy() - feat).max() < 1e-4
    assert np.abs(rgb.view(61, 97, 3).numpy() - wanted).max() < 1e-5
