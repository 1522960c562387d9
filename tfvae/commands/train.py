"""The command that trains: from options to a run's configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from tfvae.commands import support
from tfvae.commands.sweep import train_all
from tfvae.description import SLOTS
from tfvae.devices import PRECISIONS
from tfvae.run_config import OPTIMIZERS, PRIORS, SCHEDULES
from tfvae.runs import Run, RunConfig, RunError, check_target
from tfvae.runs import resume as resume_run
from tfvae.runs import train as train_run

_DEFAULTS = {each.name: each.default for each in dataclasses.fields(RunConfig)}
_COUNT = click.IntRange(min=1)
_SEED = click.IntRange(min=0)


@click.command(cls=support.ModelCommand)
@support.setting("model", support.ModelName(), "One that `tfvae models` lists.", "vae")
@support.setting(
    "data",
    str,
    "digits, grammar, oscillations, shapes (or shapes:size=64,colour=no), mnist, fashion_mnist, "
    "cifar10, or the path of a .npz, .npy or .txt file.",
    _DEFAULTS["data"],
)
@support.setting(
    "binarize",
    click.Choice(["none", "threshold", "dynamic"]),
    "Make values in [0, 1] binary: dynamic draws them afresh each epoch.",
    _DEFAULTS["binarize"],
)
@support.setting(
    "scale",
    float,
    "Divide the data by this: 1 keeps counts. Automatic for bytes and 0/1 values.",
    _DEFAULTS["scale"],
)
@click.option(
    "--skip-corrupt/--no-skip-corrupt",
    default=None,
    help="Leave out damaged records and images and too long sentences, with a warning that counts "
    "them.",
)
@support.setting(
    "validation",
    support.Number(),
    "Part of the training data to hold out: a fraction, or a number of examples.",
    _DEFAULTS["validation"],
)
@support.setting("epochs", _COUNT, "Passes over the data.", _DEFAULTS["epochs"])
@support.setting("batch-size", _COUNT, "Examples in a step.", _DEFAULTS["batch_size"])
@support.setting(
    "optimizer", click.Choice(OPTIMIZERS), "What takes the steps.", _DEFAULTS["optimizer"]
)
@support.setting("learning-rate", float, "Of the optimizer.", _DEFAULTS["learning_rate"])
@support.setting(
    "schedule",
    click.Choice(SCHEDULES),
    "How the learning rate falls to 0 over the training.",
    _DEFAULTS["schedule"],
)
@support.setting(
    "warmup",
    click.IntRange(min=0),
    "Steps in which the learning rate rises.",
    _DEFAULTS["warmup"],
)
@support.setting(
    "clip-norm", float, "Scale gradients of a larger norm down to it.", _DEFAULTS["clip_norm"]
)
@support.setting(
    "accumulate",
    _COUNT,
    "Steps whose gradients are averaged for one update.",
    _DEFAULTS["accumulate"],
)
@support.setting(
    "ema",
    float,
    "Keep moving averages of the weights, of this momentum; `--weights ema` uses them.",
    _DEFAULTS["ema"],
)
@support.setting(
    "freeze",
    support.Slots(),
    f"Slots that are not trained, of {', '.join(SLOTS)}.",
    None,
)
@support.setting(
    "slot-rates",
    support.SlotRates(),
    "Factors on the learning rate, as in prior=0.1,encoder=2.",
    None,
)
@support.setting(
    "patience",
    _COUNT,
    "Stop after so many epochs without a better validation ELBO.",
    _DEFAULTS["patience"],
)
@support.setting(
    "nonfinite",
    click.Choice(["stop", "skip"]),
    "What to do with a step whose loss or gradient is NaN or infinite.",
    _DEFAULTS["nonfinite"],
)
@support.setting(
    "precision",
    click.Choice(PRECISIONS),
    "Of the networks; distributions never fall below float32.",
    _DEFAULTS["precision"],
)
@support.setting("seed", _SEED, "Of everything random.", _DEFAULTS["seed"])
@support.setting(
    "fit-prior",
    click.Choice(PRIORS),
    "After training, fit a prior to the encoded data: a mixture of Gaussians, a flow, a normal, or "
    "a second VAE.",
    _DEFAULTS["fit_prior"],
)
@click.option("--out", help="The run folder.  [default: runs/MODEL-DATA-TIME]")
@click.option("--config", help="Repeat RUN/config.json; other options override it.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder.")
@click.option(
    "--resume",
    metavar="RUN",
    help="Go on with a run that was stopped, or that is to have more --epochs.",
)
@click.option(
    "--checkpoint-every",
    type=_COUNT,
    metavar="STEPS",
    help="Save what it takes to resume each so many steps.  [default: at the end of epochs]",
)
@click.option("--keep", type=_COUNT, default=2, show_default=True, help="Checkpoints to keep.")
@click.option("--device", help="cpu, gpu, gpu:1 or gpu:0,1.  [default: what there is]")
@click.option(
    "--strategy",
    type=click.Choice(["none", "mirrored", "multiworker"]),
    default="none",
    show_default=True,
    help="Train on all devices of this machine, or on the machines that TF_CONFIG names.",
)
@click.option("--tensorboard", is_flag=True, help="Write for TensorBoard, into the run folder.")
@click.option(
    "--pictures",
    type=_COUNT,
    metavar="EPOCHS",
    help="Save samples and reconstructions each so many epochs, and an animation, into the run "
    "folder.",
)
@click.option(
    "--sweep",
    "swept",
    multiple=True,
    metavar="OPTION=VALUE,...",
    help="Train with each value, in runs under --out; of several, every combination.",
)
@click.pass_context
def train(
    ctx: click.Context,
    /,
    out: str | None,
    config: str | None,
    overwrite: bool,
    resume: str | None,
    swept: tuple[str, ...],
    checkpoint_every: int | None,
    keep: int,
    device: str | None,
    strategy: str,
    tensorboard: bool,
    pictures: int | None,
    **_: Any,
) -> None:
    """Train a model and leave a run folder.

    The folder holds the configuration, seed, versions, history, the data's fingerprint and the
    model, and is whole at any moment: Ctrl-C keeps the last completed epoch, and --resume goes on
    from the last checkpoint as if nothing had happened.
    """
    how: dict[str, Any] = {
        "checkpoint_every": checkpoint_every,
        "keep": keep,
        "device": device,
        "strategy": strategy,
        "tensorboard": tensorboard,
        "pictures": pictures,
    }
    if resume is not None:
        for name, given in (("--out", out), ("--config", config), ("--sweep", swept)):
            if given:
                raise click.UsageError(f"{name} and --resume exclude each other.", ctx)
        run = resume_run(resume, **_resumption(ctx, resume), **how)
    elif swept:
        for name, asked in (
            ("--checkpoint-every", checkpoint_every), ("--device", device),
            ("--strategy", strategy != "none"), ("--tensorboard", tensorboard),
            ("--pictures", pictures),
        ):  # fmt: skip
            if asked:
                raise click.UsageError(f"{name} and --sweep exclude each other.", ctx)
        train_all(ctx, _configuration(ctx, config), swept, out, overwrite)
        return
    else:
        if out is not None and strategy != "multiworker":
            check_target(out, overwrite=overwrite)
        run = train_run(_configuration(ctx, config), out, overwrite=overwrite, **how)
    # Where the posterior is a point there is no ELBO, and the loss is what was trained.
    shown = "elbo" if "elbo" in run.history else "loss"
    last = {name: values[-1] for name, values in run.history.items() if name.endswith(shown)}
    figures = ", ".join(f"{name} {value:.2f}" for name, value in last.items())
    click.echo(f"{run.path}: {run.epochs} epochs" + (f", {figures} nats" if figures else ""))


def _resumption(ctx: click.Context, path: str) -> dict[str, Any]:
    """Return what may be changed of a run that is resumed; say what may not.

    Raises:
        RunError: if anything else was given a value that is not the run's.
    """
    command = ctx.command
    assert isinstance(command, support.ModelCommand)
    run = Run.load(path)
    ours = dataclasses.asdict(run.config)
    given = {name: ctx.params[name] for name in _DEFAULTS if ctx.params.get(name) is not None}
    epochs = given.pop("epochs", None)
    changed = [
        f"{name} {ours[name]!r} -> {value!r}"
        for name, value in given.items()
        if value != ours[name]
    ]
    changed += [
        f"{name} {run.config.options.get(name)!r} -> {value!r}"
        for name, value in command.model_arguments(ctx).items()
        if value != run.config.options.get(name)
    ]
    if changed:
        raise RunError(
            f"Expected the configuration of {path}: a resumed run is the same run. Received "
            f"another: {'; '.join(changed)}. Leave these options out, or train a new run."
        )
    return {} if epochs is None else {"epochs": epochs}


def _configuration(ctx: click.Context, path: str | None) -> RunConfig:
    """Put together what was given: options over a configuration file over defaults."""
    command = ctx.command
    assert isinstance(command, support.ModelCommand)
    given = {name: ctx.params[name] for name in _DEFAULTS if ctx.params.get(name) is not None}
    arguments = command.model_arguments(ctx)
    if path is None:
        return RunConfig(**given | {"model": ctx.meta["model"], "options": arguments})
    base = RunConfig.read(path)
    if ctx.meta["model"] != base.model:
        raise click.UsageError(
            f"--config is of the model {base.model}, --model says {ctx.meta['model']}: "
            "give one of them.",
            ctx,
        )
    if "data" in given:
        # Other data on purpose: the fingerprint would refuse it.
        given["fingerprint"] = None
    return dataclasses.replace(base, **given, options=base.options | arguments)
