"""Numbers by learned networks (LPIPS, DISTS, NIQE ...): asked of the package pyiqa, not our code.

pyiqa (Chen and Mo, "IQA-PyTorch") is an extra, since it brings networks and weights of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from liif_cli.errors import UsageError, nearest
from liif_cli.evaluate.metrics import METRICS, Array, Comparison, Metric, cropped

INSTALL = 'pip install "liif-cli[metrics]"'

# Only to tell a typing error from a metric of pyiqa's when pyiqa is not there to be asked.
_WELL_KNOWN = (
    *("lpips", "lpips-vgg", "dists", "pieapp", "ahiq", "topiq_fr", "fsim", "gmsd", "vif", "vsi", "mad"),
    *("niqe", "brisque", "musiq", "maniqa", "clipiqa", "clipiqa+", "nima", "ilniqe", "pi", "topiq_nr"),
)


def find(names: Sequence[str], *, device: str = "cpu") -> tuple[Metric, ...]:
    """The metrics of these names, ours first, pyiqa's behind; each once.

    Raises UsageError for a name that neither has, and for one of pyiqa's if it is not installed.
    """
    return tuple(METRICS.get(name) or _from_pyiqa(name, device) for name in dict.fromkeys(names))


def _from_pyiqa(name: str, device: str) -> Metric:
    if find_spec("pyiqa") is None:
        if name in _WELL_KNOWN:
            raise UsageError(f"{name!r} is measured by the package pyiqa, which is not here", hint=INSTALL)
        raise UsageError(
            f"no metric is called {name!r}",
            hint=nearest(name, (*METRICS, *_WELL_KNOWN), otherwise=_choice()),
        )
    import pyiqa

    if name not in pyiqa.list_models():
        known = (*METRICS, *pyiqa.list_models())
        raise UsageError(f"no metric is called {name!r}", hint=nearest(name, known, otherwise=_choice()))
    network: Any = pyiqa.create_metric(name, device=device)
    with_truth = network.metric_mode == "FR"

    def value(it: Comparison) -> float:
        import torch

        pictures = [it.result, it.truth] if with_truth else [it.result]
        with torch.inference_mode():
            return float(
                network(*(torch.from_numpy(_planes(each, it.border)).to(device) for each in pictures))
            )

    against = "against the truth" if with_truth else "without the truth"
    return Metric(
        name=name,
        unit="",
        better="lower" if network.lower_better else "higher",
        says=f"{name} by pyiqa over RGB, inside the protocol's border, {against}",
        value=value,
    )


def _planes(picture: Array, border: tuple[int, int]) -> Array:
    """(H, W, 3) -> (1, 3, H, W) without the border."""
    return np.ascontiguousarray(cropped(picture, border).transpose(2, 0, 1)[None], dtype=np.float32)


def _choice() -> str:
    return f"choose from {', '.join(METRICS)}; others (lpips, niqe ...) come with {INSTALL}"
