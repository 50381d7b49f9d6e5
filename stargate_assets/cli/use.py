"""The commands for what people do with a policy."""

import time
from pathlib import Path

import click
from rich.markup import escape

from stargate_assets.cli.declare import path_option
from stargate_assets.cli.terminal import console, print_usage, progress_bars

policy_option = click.option(
    "--policy", type=click.IntRange(0), help="Which; the latest that was trained unless stated."
)


@click.command()
@click.argument("experiment")
@policy_option
@click.option(
    "--persona", is_flag=True, help="A roleplayer replies, as somebody of the test split."
)
def chat(experiment: str, policy: int | None, persona: bool) -> None:
    """Talk with a policy of EXPERIMENT: it asks, you reply, it answers."""
    from stargate_assets.cli.chat import read_line, start_chat
    from stargate_assets.cli.driver import load

    start_chat(load(experiment), experiment, policy, read_line, plays_persona=persona).hold()


@click.command()
@click.argument("experiment")
@click.option("--on", metavar="EVALUATION...", help="Which; those that it names unless stated.")
@click.argument("others", nargs=-1, metavar="")
def evaluate(experiment: str, on: str | None, others: tuple[str, ...]) -> None:
    """Run every policy of EXPERIMENT that is there on external evaluations, whether the experiment
    names them or not, and print the figures.
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.runs import evaluate as run_on

    if others and on is None:
        raise click.UsageError("Say --on before the names of evaluations.")
    started = time.monotonic()
    project = load(experiment, evaluations=(on, *others) if on is not None else ())
    project = project.of_a_run(console.print)
    with progress_bars() as project.models.on_progress:
        run_on(project, experiment)
    print_usage(project.models.usage, time.monotonic() - started)


@click.command("compare-blind")
@click.argument("experiment")
@click.option(
    "--policies", nargs=2, type=click.IntRange(0), required=True, help="Which two, such as 0 2."
)
@click.option("--rater", help="Your name; the page asks for it unless stated.")
@click.option("--live", is_flag=True, help="Talk with both, in place of reading what they said.")
def compare_blind(
    experiment: str, policies: tuple[int, int], rater: str | None, live: bool
) -> None:
    """Let people compare what two policies of EXPERIMENT answer, on a page that does not say which
    is which, until Ctrl-C.
    """
    from stargate_assets.cli.blind.server import compare_blind as serve_page
    from stargate_assets.cli.driver import load

    serve_page(load(experiment), experiment, policies, rater, live=live)


@click.command()
@click.argument("experiment")
@policy_option
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in."
)
def serve(experiment: str, policy: int | None, port: int, host: str) -> None:
    """Serve a policy of EXPERIMENT to programs that speak OpenAI's protocol, until Ctrl-C."""
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.serve.server import serve_policy

    serve_policy(load(experiment), experiment, policy, host, port)


@click.command()
@click.argument("experiment")
@policy_option
@click.option("--to", "repository", metavar="ORG/NAME", help="Put it on the Hugging Face Hub.")
@click.option("--directory", **path_option("Where it is written; else warehouse/published/."))
@click.option("--merged", is_flag=True, help="Whole weights in place of an adapter.")
@click.option("--data", is_flag=True, help="The data set of EXPERIMENT in place of a policy.")
@click.option("--public", is_flag=True, help="Let everybody read it; it is private otherwise.")
@click.option("--dry-run", is_flag=True, help="Write the directory, and put nothing on the Hub.")
def publish(
    experiment: str,
    policy: int | None,
    repository: str | None,
    directory: Path | None,
    merged: bool,
    data: bool,
    public: bool,
    dry_run: bool,
) -> None:
    """Make a policy of EXPERIMENT ready for others: weights, prompts, an example that runs, and a
    card with every figure and its interval.
    """
    from stargate_assets.cli.driver import load
    from stargate_assets.cli.publish.hub import upload
    from stargate_assets.cli.publish.publisher import publish_data_set, publish_policy

    if not (repository or directory or dry_run):
        raise click.UsageError("Say where: --to ORG/NAME, --directory DIR, or --dry-run.")
    if data and (merged or policy is not None):
        raise click.UsageError("--data is of no policy; leave --policy and --merged out.")
    project = load(experiment)
    if data:
        written = publish_data_set(project, experiment, directory)
    else:
        written = publish_policy(project, experiment, policy, directory, merged=merged)
    console.print(f"Wrote {escape(str(written))}; README.md is its card.", soft_wrap=True)
    if repository and not dry_run:
        address = upload(written, repository, "dataset" if data else "model", public=public)
        console.print(f"Published {escape(address)}", soft_wrap=True)
