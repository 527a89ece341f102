"""What `liif weights verify` finds, and what it does not mind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from liif_cli.weights import catalog, store
from liif_cli.weights.verify import verify, verify_file
from tests.weights.shelf import Shelf


def test_a_sound_file_passes_and_shows_its_probe(shelf: Shelf) -> None:
    verdict = verify(catalog.card("own"), shelf.weights / "own.safetensors")
    assert verdict.fault is None
    assert len(verdict.probe) == 12


def test_other_bytes_are_a_fault(shelf: Shelf) -> None:
    path = shelf.weights / "own.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "SHA-256" in str(verify(catalog.card("own"), path).fault)


def test_values_that_this_machine_computes_otherwise_are_a_fault(shelf: Shelf) -> None:
    card = catalog.card("own")
    moved = replace(card, probe=(card.probe[0] + 0.01, *card.probe[1:]))
    fault = verify(moved, shelf.weights / "own.safetensors").fault
    assert fault is not None and "1.0e-02" in fault


def test_a_file_without_a_card_is_read_and_run(shelf: Shelf, tmp_path: Path) -> None:
    spec, tensors = store.read(shelf.weights / "own.safetensors")
    tensors["encoder.head.bias"] = torch.ones(4)
    store.write(tmp_path / "mine.safetensors", spec, tensors)
    verdict = verify_file(tmp_path / "mine.safetensors")
    assert verdict.fault is None and len(verdict.probe) == 12
    tensors["encoder.head.bias"][0] = float("nan")
    store.write(tmp_path / "mine.safetensors", spec, tensors)
    assert "not finite" in str(verify_file(tmp_path / "mine.safetensors").fault)
