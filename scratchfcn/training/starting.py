"""The weights a run starts from: --init, and for a network of two streams --init-hha.

Weights have learned from images that were prepared in some way. Where the new network is fed otherwise, they see what
they have never seen, and nobody notices but by the loss: so it is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..models import start_from, start_streams
from ..surgery import TransplantReport
from ..weights import load
from .config import Config, SettingError, flag
from .network import RUN_STATE, Network

ALIKE = 0.07  # by which the means of two data sets of photographs differ at most, in 0..1


def start_weights(config: Config, network: Network) -> TransplantReport | None:
    """Give the network the weights that --init and --init-hha name, and say what became of them; None without these.

    Errors: SettingError for weights that do not fit at all; CheckpointError for a bad file.
    """
    files = {name: getattr(config, name) for name in ("init", "init_hha") if getattr(config, name) is not None}
    given = {name: load(file) for name, file in files.items()}
    weights = {
        name: {n: a for n, a in checkpoint.arrays.items() if not n.startswith(RUN_STATE)}
        for name, checkpoint in given.items()
    }
    try:
        if "init_hha" in weights:
            report = start_streams(network.model, weights.get("init"), weights["init_hha"])
        elif weights:
            report = start_from(network.model, weights["init"])
        else:
            return None
    except ValueError as error:
        named = " ".join(f"{flag(name)} {file}" for name, file in files.items())
        raise SettingError(f"{named}: {error}") from None
    for name, file in files.items():
        first = 3 if name == "init_hha" else 0
        warnings = input_warnings(network, given[name].metadata, str(file).endswith(".caffemodel"), first)
        report.warnings += [f"{file}: {text}" for text in warnings] if len(files) > 1 else warnings
    return report


def input_warnings(network: Network, metadata: dict[str, Any], from_caffe: bool, first: int = 0) -> list[str]:
    """What to say where the weights have learned from images on another scale than they will be fed: Caffe's 0..255,
    blue first, or numbers around 0. That data sets have means of their own is no such difference.

    metadata: of the file of weights; of our own checkpoints, it says how their network was fed. first: the channel of
    the image with which the part begins that starts from them.
    """
    fed = network.normalise
    if from_caffe and not fed.bgr:
        return ["Caffe's weights expect BGR minus the mean, and this network is fed RGB: --recipe caffe feeds it so"]
    if "mean" not in metadata or "std" not in metadata:
        return []
    mean, std = fed.mean[first : first + 3], fed.std[first : first + 3]
    learned = (*metadata["std"][:3], metadata.get("bgr", False))
    if np.allclose(learned, (*std, fed.bgr)) and np.allclose(metadata["mean"][:3], mean, atol=ALIKE):
        return []
    return ["these weights have learned from images that were prepared otherwise (--recipe differs)"]
