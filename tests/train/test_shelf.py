"""Room for tensors that stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from liif_cli.train import shelf
from liif_cli.train.shelf import Shelf


def test_a_copy_is_the_tensor_as_it_lies() -> None:
    room = Shelf()
    plain = torch.randn(2, 3, 5, 7)
    for tensor in (
        plain,
        plain.to(memory_format=torch.channels_last),
        plain.transpose(1, 2),
        plain[:, :, 1:4, ::2],
        plain.bfloat16(),
        torch.tensor([True]),
        torch.empty(0, 3),
        torch.tensor(2.5, dtype=torch.float64),
    ):
        copy = room.copy(tensor)
        assert copy.dtype == tensor.dtype and torch.equal(copy, tensor)
        assert copy.stride() == torch.empty_like(tensor).stride()


def test_copies_from_several_threads_stay_apart_in_few_blocks() -> None:
    room = Shelf()
    given = [torch.full((1000,), float(n)) for n in range(300)]
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(room.copy, given))
    for tensor in given:
        tensor.zero_()
    assert all(torch.equal(copy, torch.full((1000,), float(n))) for n, copy in enumerate(copies))
    assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1


def test_what_is_larger_than_a_block_gets_one_of_its_own() -> None:
    large = torch.ones(shelf._BLOCK_BYTES + 1, dtype=torch.uint8)
    assert torch.equal(Shelf().copy(large), large)
