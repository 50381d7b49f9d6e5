"""The report: one HTML file that needs no network."""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jinja2

from stargate_assets.reporting import curves, figures, quality
from stargate_assets.reporting.answers import answer_estimates, statement_counts
from stargate_assets.reporting.comparison import Compared, compare
from stargate_assets.reporting.comparison_grids import comparison_grids
from stargate_assets.reporting.evaluation_sets import evaluation_grids
from stargate_assets.reporting.forest import forest
from stargate_assets.reporting.judges import judge_grids
from stargate_assets.reporting.raters import rater_grids
from stargate_assets.reporting.roleplayers import roleplayer_grids
from stargate_assets.reporting.style import COLOURS, Picture
from stargate_assets.reporting.summary import summary
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.viewer import viewer_data

STAR_GATE = "star_gate"
"""The preset with the paper's models and data, with whose win rates the paper's can be compared."""

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("stargate_assets.reporting", "page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def report_page(experiments: Sequence[ExperimentTables], policy: int | None = None) -> str:
    """Write the HTML page of one experiment, or of several side by side, which are compared at
    policy number `policy` or at the latest of each.
    """
    compared = compare(experiments, policy) if len(experiments) > 1 else []
    css, script = _read_source("report.css"), _read_source("viewer.js")
    allowed = "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src {_hash(css)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    data = viewer_data(experiments)
    return _environment.get_template("report.html.j2").render(
        title=", ".join(tables.name for tables in experiments),
        policy=allowed,
        css=css,
        script=script,
        data=script_json(data),
        shared=pictures(compared) if compared else [],
        comparison=comparison_grids(compared) if compared else [],
        sections=[section(tables) for tables in experiments],
        conversations=sum(shown for shown, _ in data["totals"]),
        all_conversations=sum(there for _, there in data["totals"]),
    )


def section(tables: ExperimentTables) -> dict[str, Any]:
    """The values that the template needs for one experiment."""
    experiment = tables.experiment
    judge, others = experiment.judge, ", ".join(j.label for j in experiment.other_judges)
    roles = {
        "data set": experiment.data_set,
        "questioner": experiment.questioner.model,
        **{
            role: ", ".join(roleplayer.label for roleplayer in players)
            for role, players in (
                ("roleplayer", experiment.roleplayers),
                ("roleplayer at evaluation", experiment.evaluation.roleplayers),
            )
            if players
        },
        "judge": judge.label if judge is not None else "none",
        **({"other judges": others} if others else {}),
        "seed": str(experiment.seed),
    }
    written = tables.written["written_at"].max()
    return {
        "name": tables.name,
        "roles": roles,
        "written": f"{written:%d %B %Y, %H:%M}" if written is not None else "",
        "summary": summary(tables),
        "pictures": pictures_of(tables),
        "estimates": [
            *quality.estimates(tables),
            *roleplayer_grids(tables),
            *answer_estimates(tables.frame("report")),
            *evaluation_grids(tables),
        ],
        "decomposition": [*quality.decomposition(tables), *quality.breakdown(tables)],
        "judges": judge_grids(tables),
        "raters": rater_grids(tables),
        "quality": [*quality.data_quality(tables), *statement_counts(tables)],
        "costs": quality.costs(tables),
        "digest": experiment.digest(),
        "configuration": quality.configuration(tables),
        "provenance": quality.provenance(tables),
    }


def pictures_of(tables: ExperimentTables) -> list[Picture]:
    """Draw the figures of one experiment, in the order of the page."""
    report = tables.frame("report")
    drawn = (
        curves.win_rates_by_arm(tables.headline("win_rates"), paper_values(tables)),
        curves.log_probs(report),
        curves.question_rates({tables.name: report}),
        curves.log_probs(report, controls=True),
        figures.score_distributions(
            tables.frame("gold_log_probs"), tables.frame("best_conversations")
        ),
        figures.turns_and_lengths(tables.tested("conversations")),
        figures.training_loss(tables.frame("checkpoints")),
    )
    return [picture for picture in drawn if picture is not None]


def pictures(compared: Sequence[Compared]) -> list[Picture]:
    """Draw the figures that compare several experiments; curves only if all have a colour."""
    drawn = [forest(compared)]
    experiments = [c.tables for c in compared]
    if len(experiments) <= len(COLOURS):
        reports = {tables.name: tables.frame("report") for tables in experiments}
        win_rates = {tables.name: tables.headline("win_rates") for tables in experiments}
        drawn.append(curves.win_rates_by_experiment(win_rates))
        if len({(t.experiment.data_set, t.experiment.questioner) for t in experiments}) == 1:
            drawn.append(curves.log_probs_by_experiment(reports))
        drawn.append(curves.question_rates(reports))
    return [picture for picture in drawn if picture is not None]


def paper_values(tables: ExperimentTables) -> Sequence[float]:
    """The paper's win rates if this is the preset with the paper's models and data, else none."""
    return curves.PAPER_WIN_RATES if tables.name == STAR_GATE else ()


def script_json(data: object) -> str:
    """Write JSON for a script element: nothing in it can end the element, and it has no line
    separators.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate({ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


def _read_source(name: str) -> str:
    loader = _environment.loader
    assert loader is not None
    source, _, _ = loader.get_source(_environment, name)
    return source


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"
