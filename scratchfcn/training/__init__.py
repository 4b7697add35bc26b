"""Training: settings, the loop, validation, checkpoints and the run folder."""

from .config import Config, SettingError
from .evaluate import Evaluation, Evaluator
from .network import Network, load_network
from .patchwise import sample_loss
from .prepare import MAY_CHANGE, SHAPES, new_trainer, open_data, resumed_trainer, run_folder_of
from .recipes import with_recipe
from .run_folder import RunFolder, examples, free_run_folder, latest_run
from .trainer import Interrupted, Listener, Trainer, TrainingDiverged

__all__ = [
    "MAY_CHANGE",
    "SHAPES",
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
    "new_trainer",
    "open_data",
    "resumed_trainer",
    "run_folder_of",
    "sample_loss",
    "with_recipe",
]
