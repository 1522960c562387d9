"""What the commands are made of: errors in one line, and options that a model's signature gives."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfvae import options, zoo
from tfvae.export.errors import did_you_mean
from tfvae.run_config import WEIGHTS, RunConfig

if TYPE_CHECKING:
    from rich.console import Console

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic in some versions of click

# Wide enough that nothing is folded where no terminal says how wide it is.
_WIDTH = 200
_USER_ERRORS = (ValueError, TypeError, OSError, FloatingPointError, MemoryError)


class Stopped(click.ClickException):
    """Ctrl-C."""

    exit_code = 130

    def show(self, file: Any = None) -> None:
        """Say what became of the work."""
        click.echo(f"\n{self.format_message()}", file=file, err=file is None)


class Commands(click.Group):
    """Commands whose errors are one line on standard error and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a first day's work, not of the alphabet."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, or suggest the nearest."""
        command = super().get_command(ctx, cmd_name)
        if command is None and not cmd_name.startswith("-"):
            near = did_you_mean(cmd_name, self.commands)
            raise click.UsageError(f"No such command {cmd_name!r}.{near}", ctx)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and turn what it raises into exit codes."""
        if ctx.params.get("traceback"):
            return super().invoke(ctx)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(str(error) or "Interrupted.") from error
        except BrokenPipeError:
            raise  # whoever read our output has had enough; click knows
        except _USER_ERRORS as error:
            raise click.ClickException(_message(error)) from error
        except ImportError as error:
            if error.name is not None:  # a broken installation, and no extra that is missing
                raise
            raise click.ClickException(str(error)) from error


class ModelOption(ParamType):
    """A value of a model's option, checked as :class:`tfvae.options.Option` says."""

    def __init__(self, option: options.Option) -> None:
        self.option = option
        self.name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read and check a value."""
        try:
            return self.option.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show what values look like."""
        if self.option.choices:
            return "[" + "|".join(map(str, self.option.choices)) + "]"
        noun = {int: "INTEGER", float: "NUMBER"}.get(self.option.type, "TEXT")
        return f"{noun},..." if self.option.many else noun


class ModelName(ParamType):
    """The name of a model of the zoo."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name."""
        try:
            options.find(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class Number(ParamType):
    """A number that stays whole where it is written so."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a number."""
        try:
            return _number(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number.", param, ctx)


class Temperatures(ParamType):
    """One number that is not negative, or several, separated by commas."""

    name = "number,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Read them."""
        each: ParamType = click.FloatRange(min=0)
        return tuple(each.convert(part, param, ctx) for part in str(value).split(","))


class Slots(ParamType):
    """Names of slots, separated by commas."""

    name = "slots"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read them; the run's configuration checks them."""
        return tuple(part.strip() for part in value.split(",") if part.strip())


class SlotRates(ParamType):
    """Factors by slot, as in ``prior=0.1,encoder=2``."""

    name = "slot=factor"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        """Read them; the run's configuration checks them."""
        rates = {}
        for part in value.split(","):
            slot, _, factor = part.partition("=")
            try:
                rates[slot.strip()] = float(factor)
            except ValueError:
                self.fail(f"{part!r} is not SLOT=FACTOR, as in prior=0.1.", param, ctx)
        return rates


class ModelCommand(click.Command):
    """A command with ``--model``, whose other options are that model's arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the model, then read its options."""
        name = _last_value(args, "--model")
        file = _last_value(args, "--resume") or _last_value(args, "--config")
        asks = {"-h", "--help"}.intersection(args)
        if name is None and file is not None and not asks:
            name = RunConfig.read(file).model
        name = "vae" if name is None else name
        parameter = next(each for each in self.params if each.name == "model")
        ctx.meta["model"] = parameter.type.convert(name, parameter, ctx)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            option = error.option_name.lstrip("-").replace("-", "_")
            if not options.owners(option):
                raise  # click suggests the nearest
            text = options.unknown(option, name, lambda each: f"--{each.replace('_', '-')}")
            raise click.UsageError(text, ctx) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own options, then the model's."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_model_options(ctx.meta.get("model", "vae")), help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the model's options apart."""
        name = ctx.meta.get("model", "vae")
        *own, help_option = super().get_params(ctx)
        sections = {"Options": [*own, help_option], f"Options of {name}": _model_options(name)}
        for title, parameters in sections.items():
            records = [parameter.get_help_record(ctx) for parameter in parameters]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])
        others = [other for other in zoo.models() if other != name]
        if others:
            formatter.write_paragraph()
            formatter.write_text(f"For the options of {', '.join(others)}: --model NAME --help")

    def model_arguments(self, ctx: click.Context) -> dict[str, Any]:
        """Take the model's arguments out of the parsed options: those that were given."""
        names = options.options(ctx.meta["model"])
        found = {name: ctx.params.get(_PREFIX + name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


_PREFIX = "model_option_"


def _model_options(model: str) -> list[click.Parameter]:
    return [_model_option(option) for option in options.options(model).values()]


def _model_option(option: options.Option) -> click.Option:
    text = option.help[:1].upper() + option.help[1:]
    if option.required:
        text += "  [required]"
    elif option.default is not None and option.default != ():
        text += f"  [default: {_written(option.default)}]"
    name, flag = _PREFIX + option.name, option.flag
    if option.type is bool and not option.many:
        return click.Option([name, f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    return click.Option([name, flag], type=ModelOption(option), default=None, help=text)


def setting(name: str, kind: Any, text: str, default: Any) -> Callable[[Any], Any]:
    """Return a ``click.option`` that is None unless given, with its default in the help."""
    if default is not None:
        text = f"{text}  [default: {_written(default)}]"
    return click.option(f"--{name}", type=kind, metavar=_metavar(kind), help=text)


def weights(command: Any) -> Any:
    """Add the option that says which weights of a run to use."""
    option = click.option(
        "--weights",
        type=click.Choice(WEIGHTS),
        default="last",
        show_default=True,
        help="Those of the run to use: the last, of the best epoch, or moving averages.",
    )
    return option(command)


def _metavar(kind: Any) -> str | None:
    return "INTEGER" if isinstance(kind, click.IntRange) else None


def console() -> Console:
    """Return where tables go: standard output, never folded where it is no terminal.

    Text is shown as it is: names of folders, and shapes, have brackets and colons of their own.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def picture(path: str) -> str:
    """Check that a picture or data file can be written later, before the work.

    Raises:
        OSError: if the place is no folder that can be written.
    """
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(f"Expected a file to write. Received: {path}, which is a folder.")
    above = next(each for each in place.absolute().parents if each.exists())
    if not above.is_dir():
        raise NotADirectoryError(f"Expected a file to write. Received: {path}, under a file.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"Expected a file that can be written. Received: {path}.")
    return path


def record(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file into a run folder, or warn that it cannot be."""
    from tfvae import files

    try:
        files.replace_json(path, document)
    except OSError as error:  # someone else's run may be read-only: the figures still matter
        click.echo(f"Warning: could not write {path}: {error.strerror}", err=True)


def condition(text: str | None, classes: Sequence[str] = ()) -> Any:
    """Read a condition for all rows: a class by its name or number, or numbers with commas.

    Example:
        >>> condition("shoe", ["shirt", "shoe"]), condition("3"), condition("0.5,-1")
        ('shoe', 3, [0.5, -1])
    """
    if text is None or text in classes:
        return text
    try:
        numbers = [_number(part) for part in text.split(",")]
    except ValueError:
        return text  # the export says which classes there are
    return numbers if "," in text else numbers[0]


def _number(text: str) -> int | float:
    """Read a number that stays whole where it is written so."""
    return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _last_value(args: list[str], flag: str) -> str | None:
    """Return the value of an option, before there is a parser to read it."""
    found = None
    for index, arg in enumerate(args):
        if arg == "--":
            break
        if arg == flag and index + 1 < len(args):
            found = args[index + 1]
        elif arg.startswith(flag + "="):
            found = arg[len(flag) + 1 :]
    return found


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    # Of what libraries say to programmers, nothing; of what we say to users, one line.
    if issubclass(category, UserWarning):
        click.echo(f"Warning: {message}", err=True)
