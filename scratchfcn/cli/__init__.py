"""The command line: `scratchfcn COMMAND …`, also as `python -m scratchfcn COMMAND …`.

One small file per command, which reads the options and calls the library; whatever a command does can be
done from Python as well. What a command needs beyond NumPy (models, Pillow, matplotlib) is imported when it
runs, so that `scratchfcn --help` answers at once.
"""

import io
import sys
from typing import Annotated

import typer

from .. import __version__
from .bench import bench_command
from .check_data import check_data_command
from .data import data_command
from .demo import demo_command
from .doctor import doctor_command
from .errors import Commands
from .explain import explain_command
from .export import export_command
from .gradcheck import gradcheck_command
from .learn import learn_app
from .models import models_command
from .plot import plot_command
from .predict import predict_command
from .preview import preview_command
from .summary import summary_command
from .trace import trace_command
from .train import train_command
from .val import val_command

app = typer.Typer(
    name="scratchfcn",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a plain traceback is what people can paste into a report
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scratchfcn {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="SCRATCHFCN_DEBUG", help="Show the traceback of every error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fully convolutional networks from scratch: to read, to check and to train.

    Start with: scratchfcn demo
    """


app.command("demo")(demo_command)
app.command("preview")(preview_command)
app.command("train")(train_command)
app.command("val")(val_command)
app.command("predict")(predict_command)
app.command("plot")(plot_command)
app.command("data")(data_command)
app.command("export")(export_command)
app.command("check-data")(check_data_command)
app.command("gradcheck")(gradcheck_command)
app.add_typer(learn_app)
app.command("explain")(explain_command)
app.command("models")(models_command)
app.command("summary")(summary_command)
app.command("trace")(trace_command)
app.command("bench")(bench_command)
app.command("doctor")(doctor_command)


def main() -> None:
    """The `scratchfcn` program: runs the command and exits with its status (see errors.py)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "✓" shows "?" instead of failing
    app(prog_name="scratchfcn")
