"""What cameras and the web do to pictures before somebody wants them larger."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def photo(low: Tensor, scale: float, rng: np.random.Generator) -> Tensor:
    """Mild blur, noise and JPEG on a low-resolution picture (3, h, w), values 0 to 1.

    Each is drawn anew, and each is absent now and then: clean pictures are to stay clean, and sharp ones
    that were only compressed stay sharp. A large `scale` magnifies every fault, and pictures that need it
    are small and much recompressed: blur and noise grow with its square root, which is our choice.
    """
    from PIL import Image

    strength = min(scale, 8.0) ** 0.5 / 2
    if rng.random() < 0.4:
        low = _blurred(low, sigma_px=float(rng.uniform(0.1, 0.8)) * strength)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0, 6 / 255)) * strength
        # Half of the noise is common to the channels: sensors and film are grey before they are coloured.
        grey, colour = (rng.standard_normal((n, *low.shape[1:])) for n in (1, 3))
        low = low + sigma * torch.from_numpy((grey + colour) / 2**0.5).to(low)
    if rng.random() < 0.8:
        pixels = (low * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        buffer = io.BytesIO()
        quality, subsampling = int(rng.integers(50, 99)), int(rng.choice([0, 2]))
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        with Image.open(buffer) as image:
            decoded = np.array(image)
        low = torch.from_numpy(decoded).permute(2, 0, 1).to(low) / 255
    return low.clamp(0, 1)


def _blurred(image: Tensor, *, sigma_px: float) -> Tensor:
    """Gaussian blur of (C, h, w), the border repeated."""
    reach = max(1, round(3 * sigma_px))
    x = torch.arange(-reach, reach + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma_px) ** 2)
    kernel = kernel / kernel.sum()
    image = F.pad(image[:, None], (reach, reach, reach, reach), mode="replicate")
    image = F.conv2d(F.conv2d(image, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return image[:, 0]
