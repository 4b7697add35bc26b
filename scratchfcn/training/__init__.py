"""Training: settings, the loop, validation, checkpoints and the run folder."""

from .config import Config
from .evaluate import Evaluation, Evaluator
from .network import Network, load_network
from .run_folder import RunFolder, examples, free_run_folder
from .trainer import Interrupted, Listener, Trainer, TrainingDiverged, resume_checkpoint

__all__ = [
    "Config",
    "Evaluation",
    "Evaluator",
    "Interrupted",
    "Listener",
    "Network",
    "RunFolder",
    "Trainer",
    "TrainingDiverged",
    "examples",
    "free_run_folder",
    "load_network",
    "resume_checkpoint",
]
