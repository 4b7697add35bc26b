"""Training: settings, the loop, validation, checkpoints and the run folder."""

from .config import Config, SettingError
from .evaluate import Evaluation, Evaluator
from .network import Network, load_network
from .run_folder import RunFolder, examples, free_run_folder, latest_run
from .trainer import Interrupted, Listener, Trainer, TrainingDiverged, resume_checkpoint

__all__ = [
    "Config",
    "Evaluation",
    "Evaluator",
    "Interrupted",
    "Listener",
    "Network",
    "RunFolder",
    "SettingError",
    "Trainer",
    "TrainingDiverged",
    "examples",
    "free_run_folder",
    "latest_run",
    "load_network",
    "resume_checkpoint",
]
