"""The ops on real ImageNet weights and photographs: a wrong padding or rounding anywhere, and the bird is no bird."""

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

import scratchfcn as sf
from scratchfcn import ops
from scratchfcn.data import normalise, read_image
from scratchfcn.weights import load

FIRES = {3: 1, 4: 1, 5: 2, 7: 2, 8: 3, 9: 3, 10: 4, 12: 4}  # torchvision's numbers of SqueezeNet 1.0's fire modules


def squeezenet(x: sf.Tensor, weights: dict[str, np.ndarray]) -> sf.Tensor:
    """SqueezeNet 1.0: x (N, 3, 227, 227) → class scores (N, 1000)."""

    def conv(x: sf.Tensor, name: str, **settings: int) -> sf.Tensor:
        return ops.relu(ops.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **settings))

    x = conv(x, "features.0", stride=2)
    for number in range(2, 13):
        if number not in FIRES:
            x = ops.max_pool2d(x, 3, 2, ceil_mode=True)
            continue
        fire = f"features.{number}"
        squeezed = conv(x, f"{fire}.squeeze")
        x = ops.concat([conv(squeezed, f"{fire}.expand1x1"), conv(squeezed, f"{fire}.expand3x3", padding=1)])
    x = conv(x, "classifier.1", padding=1)
    return ops.flatten(ops.global_avg_pool2d(x))


def centre(photo: np.ndarray) -> np.ndarray:
    """The usual preparation: shorter side 256, the middle 227x227 of it. uint8 (H, W, 3) → float32 (1, 3, 227, 227)."""
    picture = Image.fromarray(photo)
    scale = 256 / min(picture.size)
    W, H = round(picture.width * scale), round(picture.height * scale)
    left, top = (W - 227) // 2, (H - 227) // 2
    picture = picture.resize((W, H), Image.Resampling.BILINEAR).crop((left, top, left + 227, top + 227))
    return normalise(np.asarray(picture))[None]


@pytest.mark.parametrize(
    ("photo", "expected", "probability"),  # the answers of the same network written in torch
    [
        ("bird", "chickadee", 0.99),
        ("dragonfly", "dragonfly", 0.96),
        ("hot_dog", "hotdog", 0.97),
        ("cat2", "tiger cat", None),
    ],
)
def test_squeezenet_recognises_photographs(photo: str, expected: str, probability: float | None) -> None:
    weights = load(shared_data("weights", "squeezenet1_0_deepcompression_tvnorm.safetensors")).arrays
    names = shared_data("weights", "imagenet_classes.txt").read_text().splitlines()
    with sf.no_grad():
        scores = squeezenet(sf.Tensor(centre(read_image(shared_data("photos", f"{photo}.jpg")))), weights)
        probabilities = ops.softmax(scores).numpy()[0]
    best = int(probabilities.argmax())
    assert names[best].lower().startswith(expected)
    assert probability is None or probabilities[best] == pytest.approx(probability, abs=0.01)
