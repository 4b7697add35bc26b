"""Checkpoints: named arrays in a file, and the one rule for reading other people's files: never unpickle.

A model's weights are a dictionary from names to arrays. Python's own way to put a dictionary into a file is
pickle, and a pickle is a *program*: loading one runs whatever its author wrote, which may be "delete
everything". Classic .pth files are pickles. So this file writes safetensors, a format of plain numbers:
eight bytes that say how long the header is, the header (JSON: name, type, shape and place of each array),
then the numbers. There is nothing to run.

.safetensors and .npz are read directly; .pth and .pt through torch's restricted reader, which knows how to
build tensors and refuses everything else; .caffemodel, which the paper's authors published, by caffe.py.

A checkpoint is also something to come back to after a crash, so saving must not destroy the old one. The
new file is written beside it under a temporary name, forced onto the disk, and then renamed: renaming is
one step of the file system, so whoever looks, and whenever the power goes, finds the old file or the new
one, never half of either.

How weights get from one net into another of a different shape is in surgery.py.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from .backend import to_numpy
from .caffe import read_net
from .files import replacing
from .surgery import transplant as transplant  # what one does with loaded weights: also found here

METADATA_KEY = "scratchfcn"  # safetensors' own metadata are strings: ours is one string, of JSON
TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".bin")  # .pth.tar is a common name for the same thing
TORCH_PIP_LINE, CAFFE_PIP_LINE = 'pip install -e ".[torch]"', 'pip install -e ".[caffe]"'


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint; the message names it, what is wrong and a way out."""


@dataclass
class Checkpoint:
    """What a file held: `arrays` by name, and `metadata`, a dictionary of plain values."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any] = field(default_factory=dict)


# --- saving -----------------------------------------------------------------------------------------------


def save(path: str | Path, arrays: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write named arrays and plain metadata (whatever JSON can say) to `path`, a .safetensors file.

    arrays: NumPy or CuPy, any shape, strided as they like: what is written is a host copy in C order.
    metadata: numbers, strings, lists, dictionaries; NumPy scalars, arrays and paths become such values. A
    kill at any instant leaves the old file or the new one. Missing folders are made.
    Errors: ValueError for another suffix, TypeError for metadata that JSON cannot express, OSError from the
    disk.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save: {path.name} must end in .safetensors, the format that is written")
    text = json.dumps(dict(metadata or {}), default=_plain)
    host = {name: np.asarray(to_numpy(x), order="C") for name, x in arrays.items()}
    content = safetensors.numpy.save(host, {METADATA_KEY: text})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _plain(value: Any) -> Any:
    """What JSON does not know, as something that it does."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"save: metadata holds a {type(value).__name__}, which JSON cannot express: {value!r}")


# --- loading ----------------------------------------------------------------------------------------------


def load(path: str | Path) -> Checkpoint:
    """Read a .safetensors, .npz, .pth, .pt or .caffemodel file. No code in it is ever run.

    Of a torch file, a state dict inside "state_dict", "model_state_dict" or "model" is found, half
    precision becomes float32, and plain numbers and strings beside the tensors become the metadata. What
    arrays and metadata a .caffemodel gives: see `caffe.read_net`.
    Errors: CheckpointError, also for a file that is missing, empty, cut short or not what its name says.
    """
    path = Path(path)
    readers = {
        ".safetensors": _load_safetensors,
        ".npz": _load_npz,
        **dict.fromkeys(TORCH_SUFFIXES, _load_torch),
        ".caffemodel": _load_caffe,
    }
    if not path.exists():
        others = ", ".join(sorted(p.name for p in path.parent.glob("*") if p.suffix in readers)[:5])
        raise CheckpointError(f"{path}: no such file" + (f"\n  beside it: {others}" if others else ""))
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder, not a checkpoint\n  fix: name the file, e.g. {path / 'best.safetensors'}"
        )
    if path.suffix not in readers:
        raise CheckpointError(
            f"{path}: {path.suffix or 'no suffix'!r} is no known kind; known are {', '.join(readers)}"
        )
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: is empty (0 bytes)\n  fix: copy or download it again")
    expected, found = ".pth" if path.suffix in TORCH_SUFFIXES else path.suffix, _kind(path)
    if found not in (None, expected):
        raise CheckpointError(
            f"{path}: is no {expected} file but looks like a {found} file\n  fix: give it that suffix"
        )
    return readers[path.suffix](path)


def _load_safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: _safetensor(path, file, name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise _damaged(path, ".safetensors", error) from None
    if METADATA_KEY not in metadata:
        return Checkpoint(arrays, metadata)
    try:
        ours = json.loads(metadata[METADATA_KEY])
    except json.JSONDecodeError as error:
        raise _damaged(path, ".safetensors", error) from None
    if not isinstance(ours, dict):
        raise _damaged(path, ".safetensors", f"its metadata are {ours!r}")
    return Checkpoint(arrays, ours)


def _safetensor(path: Path, file: Any, name: str) -> np.ndarray:
    """One array of an open file; bfloat16, the upper half of a float32 and unknown to NumPy, becomes one."""
    try:
        return file.get_tensor(name)
    except (
        TypeError,
        KeyError,
        AttributeError,
    ):  # what the library stumbles into for a type that NumPy lacks
        dtype = file.get_slice(name).get_dtype()
        if dtype != "BF16":
            raise CheckpointError(f"{path}: {name} is {dtype}, a type that NumPy lacks") from None
    raw = dict(safetensors.deserialize(path.read_bytes()))[name]
    upper = np.frombuffer(raw["data"], "<u2").astype(np.uint32)
    return (upper << 16).view(np.float32).reshape(raw["shape"])


def _load_npz(path: Path) -> Checkpoint:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, ".npz", "not a zip archive")
    try:
        with np.load(path, allow_pickle=False) as file:
            return Checkpoint({name: file[name] for name in file.files})
    except Exception as error:  # the reader raises whatever a broken file makes it stumble over
        if "Object arrays" not in str(error):
            raise _damaged(path, ".npz", error) from None
        raise CheckpointError(
            f"{path}: holds pickled Python objects, and reading a pickle can run code; not read\n"
            "  fix: where it comes from, save plain arrays of numbers with np.savez"
        ) from None


def _load_torch(path: Path) -> Checkpoint:
    try:
        import torch
    except ImportError:
        raise CheckpointError(f"{path}: reading a {path.suffix} file takes torch\n  fix: {TORCH_PIP_LINE}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: the file is read or refused all the same
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever a broken file makes it stumble over
        raise _torch_refused(path, error) from None
    state, metadata = _unwrap(content)
    arrays = {str(name): _from_torch(x) for name, x in state.items() if isinstance(x, torch.Tensor)}
    if not arrays:
        keys = ", ".join(map(str, list(state)[:8])) or "none"
        raise CheckpointError(
            f"{path}: holds no tensors by name (keys: {keys})\n  fix: torch.save(model.state_dict(), …)"
        )
    return Checkpoint(arrays, metadata)


def _unwrap(content: Any) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """The state dict, out of the training checkpoint that may surround it, and the plain values there."""
    metadata: dict[str, Any] = {}
    while isinstance(content, Mapping):
        metadata |= {str(k): v for k, v in content.items() if isinstance(v, bool | int | float | str)}
        wraps = ("state_dict", "model_state_dict", "model")
        inner = next((content[key] for key in wraps if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return content, metadata
        content = inner
    return {}, metadata


def _from_torch(x: Any) -> np.ndarray:
    """A torch tensor as an array; half precision, in either flavour, as float32."""
    x = x.detach().cpu()
    return (x.float() if x.is_floating_point() and x.element_size() < 4 else x).contiguous().numpy()


def _torch_refused(path: Path, error: Exception) -> CheckpointError:
    """The library's message is a page long; this is the part that matters."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if not wanted and (_kind(path) is None or "Weights only load failed" not in str(error)):
        return _damaged(path, ".pth", error)
    what = f"it asks for {wanted[1]}" if wanted else "it asks for more than tensors"
    return CheckpointError(
        f"{path}: is a pickle that would run code ({what}); not read\n"
        "  fix: where it comes from, save tensors only: torch.save(model.state_dict(), …)"
    )


def _load_caffe(path: Path) -> Checkpoint:
    try:
        return Checkpoint(*read_net(path))
    except ImportError:
        raise CheckpointError(f"{path}: reading a .caffemodel file takes protobuf\n  fix: {CAFFE_PIP_LINE}") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except Exception as error:  # the library has exceptions of its own, and is imported only if need be
        raise _damaged(path, ".caffemodel", error) from None


def _damaged(path: Path, expected: str, error: object) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0][:120] or type(error).__name__
    return CheckpointError(
        f"{path}: is no complete {expected} file: cut short, damaged or something else ({reason})\n"
        "  fix: copy or download it again"
    )


def _kind(path: Path) -> str | None:
    """What a file is, going by its contents and not by its name; None where they do not tell."""
    with open(path, "rb") as file:
        start = file.read(9)
    if zipfile.is_zipfile(path):  # both npz and torch's files are zip archives
        try:
            with zipfile.ZipFile(path) as archive:
                return ".pth" if any(name.endswith("data.pkl") for name in archive.namelist()) else ".npz"
        except (zipfile.BadZipFile, NotImplementedError):  # damaged: whoever reads it will say so
            return None
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:  # length of a JSON header
        return ".safetensors"  # asked before the next: a length, too, may begin with that byte
    return ".pth" if start.startswith(b"\x80") else None  # how a pickle begins, which older torch files are
