"""Several looks at one image: against the same done by hand, with torch doing the resizing and the softmax."""

import numpy as np
import pytest
import torch
from prediction_tools import noise, tiny

from scratchfcn.data import resize_image
from scratchfcn.prediction import Predictor
from scratchfcn.prediction.averaging import mean, scaled
from scratchfcn.tensor import Tensor, no_grad
from scratchfcn.training import SettingError


def by_hand(network, image, scales, flip) -> np.ndarray:
    """Each look resized, mirrored, predicted; scores resized by torch; softmax by torch; the mean of all by NumPy."""
    H, W = image.shape[:2]
    h, w = network.size or (H, W)
    network.model.eval()
    looks = []
    for scale in scales:
        for mirrored in (False, True) if flip else (False,):
            small = resize_image(image, (round(h * scale), round(w * scale)))
            x = network.normalise(small, None)[0][None]
            with no_grad():
                scores = network.model(Tensor(x[..., ::-1].copy() if mirrored else x)).numpy()
            scores = torch.nn.functional.interpolate(torch.tensor(scores), (H, W), mode="bilinear", align_corners=False)
            p = torch.softmax(scores, dim=1)[0].numpy()
            looks.append(p[:, :, ::-1] if mirrored else p)
    return np.mean(np.array(looks, np.float64), axis=0)


@pytest.mark.parametrize("size", [None, (24, 36)])
@pytest.mark.parametrize(("scales", "flip"), [((1.0,), True), ((0.5, 1.0, 1.5), False), ((0.75, 1.25), True)])
def test_averaged_looks_are_the_mean_of_their_probabilities(size, scales, flip) -> None:
    network, image = tiny(size), noise(60, 84)
    found = Predictor(network, scales=scales, flip=flip).probabilities(image)
    np.testing.assert_allclose(found, by_hand(network, image, scales, flip), atol=2e-6)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(Predictor(network, scales=scales, flip=flip).predict(image), found.argmax(axis=0))


@pytest.mark.parametrize("size", [None, (24, 36)])
def test_one_look_is_what_the_network_says_bit_for_bit(size) -> None:
    network, image = tiny(size), noise(61, 83)
    predictor = Predictor(network)
    np.testing.assert_array_equal(predictor.probabilities(image), network.probabilities(image))
    np.testing.assert_array_equal(predictor.predict(image), network.predict(image))


@pytest.mark.parametrize("size", [None, (32, 48)])
@pytest.mark.parametrize("kwargs", [{"flip": True, "scales": (0.5, 1)}, {"window": (24, 32)}, {"mc_dropout": 3}])
def test_every_way_to_predict_on_every_device(device, size, kwargs) -> None:
    network, image = tiny(size, dropout=0.3), noise(50, 70)
    expected = Predictor(network, **kwargs).probabilities(image)
    network.model.to(device)
    found = Predictor(network, device, **kwargs).probabilities(image)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(Predictor(network, **kwargs).probabilities(image), expected, atol=1e-5)  # asks the model


def test_with_flip_a_mirrored_image_gets_the_mirrored_prediction() -> None:
    """For any network; without flip, only a network that is symmetric itself does so."""
    network, image = tiny(), noise(48, 64)
    mirror = image[:, ::-1].copy()
    averaged = Predictor(network, flip=True)
    np.testing.assert_allclose(averaged.probabilities(mirror), averaged.probabilities(image)[:, :, ::-1], atol=1e-6)
    plain = Predictor(network)
    assert abs(plain.probabilities(mirror) - plain.probabilities(image)[:, :, ::-1]).max() > 0.01


def test_a_symmetric_network_gains_nothing_from_the_mirror() -> None:
    network, image = tiny(), noise(48, 64)
    for layer in (network.model.first, network.model.second, network.model.up):
        layer.weight.data[...] = (layer.weight.data + layer.weight.data[..., ::-1]) / 2
    plain, flipped = Predictor(network), Predictor(network, flip=True)
    np.testing.assert_allclose(flipped.probabilities(image), plain.probabilities(image), atol=1e-6)


def test_probabilities_are_averaged_not_scores() -> None:
    """A look with huge scores must not outvote the others: of 0.9, 0.9 and 0.0 the mean is 0.6, whatever the scores."""
    looks = [np.array([0.9, 0.1]), np.array([0.9, 0.1]), np.array([1e-13, 1.0])]
    assert mean(iter(looks)).tolist() == pytest.approx([0.6, 0.4])
    scores = np.log(np.array(looks))  # the same looks, had scores been averaged
    product = np.exp(scores.mean(axis=0))
    assert (product / product.sum())[0] < 0.001


def test_the_mean_leaves_its_arrays_alone() -> None:
    one, two, three = np.ones(2, np.float32), np.full(2, 3, np.float32), np.full(2, 8, np.float32)
    assert mean(iter([one, two, three])).tolist() == [4, 4]
    assert (one.tolist(), two.tolist(), three.tolist()) == ([1, 1], [3, 3], [8, 8])
    assert mean(iter([one])) is one


def test_a_scaled_image_has_at_least_one_pixel() -> None:
    assert scaled((100, 50), 0.75) == (75, 38)
    assert scaled((3, 1), 0.1) == (1, 1)
    assert Predictor(tiny(), scales=(0.1, 1)).predict(noise(4, 1)).shape == (4, 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scales": ()}, "--scales"),
        ({"scales": (1, -1)}, "--scales"),
        ({"scales": (float("nan"),)}, "--scales"),
        ({"window": (0, 5)}, "--window"),
        ({"window": (5, 5), "overlap": 1.0}, "--overlap"),
    ],
)
def test_settings_that_cannot_be(wrong, words) -> None:
    with pytest.raises(SettingError, match=words):
        Predictor(tiny(), **wrong)
