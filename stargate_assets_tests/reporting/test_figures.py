"""Figures by what they draw, and by what they leave behind: nothing."""

import subprocess
import sys
from collections.abc import Callable

import matplotlib as mpl
import polars as pl
import pytest

from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import TESTED
from stargate_assets.reporting import curves, figures
from stargate_assets.reporting.metrics import metric_labels
from stargate_assets.reporting.style import COLOURS, DARK, INK, Picture
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets_tests.reporting import frames


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def lines(picture: Picture | None) -> dict[str, list[float]]:
    """The heights of each named line."""
    assert picture is not None
    containers = picture.figure.axes[0].containers
    return {str(c.get_label()): list(c.lines[0].get_ydata()) for c in containers}


def test_a_line_has_the_values_of_its_arm(tables: ExperimentTables) -> None:
    drawn = lines(curves.win_rates_by_arm(tables.headline("win_rates")))
    assert set(drawn) == {arm.label for arm in Arm}
    wanted = (
        tables.headline("win_rates").filter(arm="base_answers", dimension="all").sort("iteration")
    )
    assert drawn[Arm.BASE_ANSWERS.label] == wanted["win_rate"].to_list()


def test_a_domain_is_drawn_as_it_is_written() -> None:
    rows = pl.DataFrame({"text": ["A?"], "domain": ["$x^ <b>$"], "kind": [None]})
    picture = figures.lengths_and_domains(rows.cast({"kind": pl.String}))
    assert "$x^ &lt;b&gt;$" in picture.svg()
    assert "<b>" not in picture.markdown()


def test_controls_are_drawn_where_they_are_asked_for(tables: ExperimentTables) -> None:
    report = tables.frame("report")
    assert set(lines(curves.log_probs(report))) == {"Q-experimental", "Q-random"}
    assert set(lines(curves.log_probs(report, controls=True))) == {
        metric_labels()[c] for c in TESTED
    }


def test_kept_conversations_lie_above_the_mean_of_their_pair(tables: ExperimentTables) -> None:
    picture = figures.score_distributions(
        tables.frame("gold_log_probs"), tables.frame("best_conversations")
    )
    assert picture is not None
    rejected, kept = picture.figure.axes[0].containers
    assert all(not bar.get_height() for bar in kept if bar.get_x() + bar.get_width() < 0)
    assert sum(bar.get_height() for bar in kept) == sum(bar.get_height() for bar in rejected) > 0


def test_every_step_of_every_training_is_drawn(tables: ExperimentTables) -> None:
    checkpoints = tables.frame("checkpoints").sort("iteration")
    picture = figures.training_loss(checkpoints)
    assert picture is not None
    examples, preferences = picture.figure.axes
    for axes, column in ((examples, "losses"), (preferences, "preference_losses")):
        drawn = {str(line.get_label()): list(line.get_ydata()) for line in axes.lines}
        assert drawn == dict(
            zip(("0|train_a", "1|train_b"), checkpoints[column].to_list(), strict=True)
        )
    plain = checkpoints.with_columns(preference_losses=pl.lit([], pl.List(pl.Float64)))
    picture = figures.training_loss(plain)
    assert picture is not None
    assert len(picture.figure.axes) == 1


@pytest.mark.parametrize(
    ("draw", "table"),
    [
        (curves.win_rates_by_arm, "win_rates"),
        (curves.log_probs, "report"),
        (figures.turns_and_lengths, "conversations"),
        (figures.training_loss, "checkpoints"),
    ],
)
def test_nothing_is_drawn_of_nothing(
    tables: ExperimentTables, draw: Callable[[pl.DataFrame], Picture | None], table: str
) -> None:
    assert draw(tables.frame(table).clear()) is None


def test_a_figure_is_the_same_file_each_time_and_leaves_no_setting(
    tables: ExperimentTables,
) -> None:
    before = dict(mpl.rcParams)
    one, two = (curves.log_probs(tables.frame("report")) for _ in range(2))
    assert one is not None
    assert two is not None
    assert one.svg() == two.svg()
    assert one.markdown().startswith("![Gold response after a conversation](data:image/png;base64,")
    assert dict(mpl.rcParams) == before
    for colour in DARK:
        assert colour not in one.svg().partition("</style>")[2]
    assert {INK, COLOURS[0]} <= set(DARK)


def test_definitions_load_without_matplotlib() -> None:
    code = "from stargate_assets.definitions import defs; defs()"
    code += "; import sys; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0
