"""Networks with real ImageNet weights on photographs: a wrong padding or rounding anywhere, and the bird is no bird."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from shared_data import shared_data
from torchvision_reference import torchvision

import scratchfcn as sf
from scratchfcn import ops
from scratchfcn.data import normalise, read_image
from scratchfcn.models.mobilenet import MobileNetV2Classifier
from scratchfcn.models.squeezenet import SqueezeNet, SqueezeNetClassifier
from scratchfcn.weights import load


def centre(photo: str, size: int) -> np.ndarray:
    """The usual preparation: shorter side 256, then the middle. Returns uint8 (size, size, 3)."""
    picture = Image.fromarray(read_image(shared_data("photos", f"{photo}.jpg")))
    scale = 256 / min(picture.size)
    W, H = round(picture.width * scale), round(picture.height * scale)
    left, top = (W - size) // 2, (H - size) // 2
    picture = picture.resize((W, H), Image.Resampling.BILINEAR)
    return np.asarray(picture.crop((left, top, left + size, top + size)))


def answers(model: Callable[[sf.Tensor], sf.Tensor], image: np.ndarray) -> list[tuple[str, float]]:
    """image (3, H, W) → (class name, probability), the most probable first."""
    names = shared_data("weights", "imagenet_classes.txt").read_text().splitlines()
    with sf.no_grad():
        probabilities = ops.softmax(model(sf.Tensor(image[None]))).numpy()[0]
    return [(names[k].split(",")[0], float(probabilities[k])) for k in probabilities.argsort()[::-1]]


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
    model = SqueezeNetClassifier("1_0", classifier_padding=1)
    model.load_state_dict(load(shared_data("weights", "squeezenet1_0_deepcompression_tvnorm.safetensors")).arrays)
    best, found = answers(model.eval(), normalise(centre(photo, 227)))[0]
    assert best == expected
    assert probability is None or found == pytest.approx(probability, abs=0.01)


def test_mobilenet_knows_the_cat() -> None:
    """Weights from TensorFlow, in half precision; the five best in the order of the same network written in torch."""
    model = MobileNetV2Classifier(batch_norm=False, padding="tensorflow")
    model.load_state_dict(load(shared_data("weights", "mobilenet_v2_float16.safetensors")).arrays)
    pixels = centre("cat", 224).transpose(2, 0, 1).astype(np.float32)  # (3, 224, 224), 0 to 255
    best = [name for name, _ in answers(model.eval(), (pixels - 127.5) / 127.5)[:5]]
    assert best == ["tabby", "tiger cat", "Egyptian cat", "lynx", "Persian cat"]


def test_squeezenet_1_1s_features_fit_the_backbone() -> None:
    """Strictly: all of them, and no array of the backbone is left over. The map is that of torchvision's network."""
    arrays = load(shared_data("weights", "squeezenet1_1_tvnorm.safetensors")).arrays
    image = normalise(centre("bird", 227))[None]
    model = SqueezeNet("1_1")
    model.load_state_dict(arrays)
    with sf.no_grad():
        _, map16, _ = model(sf.Tensor(image))
    theirs = torchvision.models.squeezenet1_1(weights=None)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False)
    with torch.no_grad():
        expected = theirs.features(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(map16.numpy(), expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize(("photo", "expected"), [("bird", "chickadee"), ("dragonfly", "dragonfly")])
def test_the_padding_of_the_1_0_backbone_does_no_harm(photo: str, expected: str) -> None:
    """The backbone's windows lie 2 pixels further up; what the classifier makes of its map is the same."""
    arrays = load(shared_data("weights", "squeezenet1_0_deepcompression_tvnorm.safetensors")).arrays
    model = SqueezeNet("1_0")
    model.load_state_dict({name: array for name, array in arrays.items() if name.startswith("features.")})

    def scores(x: sf.Tensor) -> sf.Tensor:
        _, map16, _ = model(x)
        heat = ops.relu(ops.conv2d(map16, arrays["classifier.1.weight"], arrays["classifier.1.bias"]))
        return ops.flatten(ops.global_avg_pool2d(heat))

    assert answers(scores, normalise(centre(photo, 224)))[0][0] == expected
