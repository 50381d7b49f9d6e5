import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stargate_assets.cli.terminal import console, visible
from stargate_assets.cli.win_rates_table import make_win_rates_table
from stargate_assets.pipeline.assets.rows import table_rows

ROW = {
    "split": "test",
    "reference": "base",
    "dimension": "all",
    "value": "",
    "judge": "oak[b]",
    "headline": True,
    "pairs": 32,
    "wins": 20,
    "losses": 8,
    "ties": 2,
    "unscored": 2,
    "win_rate": 0.7,
    "low": 0.5123,
    "high": 0.8399,
    "naive_low": 0.52,
    "naive_high": 0.83,
    "gold_audit": 0.97,
    "gold_audit_low": 0.81,
    "gold_audit_high": 0.995,
}
OWN_TEXT = {"own_text_audit": 0.55, "own_text_audit_low": 0.4, "own_text_audit_high": 0.7}
NOTHING = ("win_rate", "low", "high", "naive_low", "naive_high")


def printed(*rows: dict[str, object]) -> str:
    console = Console(width=110)
    with console.capture() as capture:
        console.print(
            make_win_rates_table("e", table_rows("win_rates", [ROW | row for row in rows]))
        )
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 110
    return "\n".join(" ".join(line.split()) for line in lines)


def test_a_row_for_each_arm_and_the_judge_s_accuracy_below() -> None:
    shown = printed(
        {"iteration": 0, "arm": "instructed"},
        {"iteration": 1, "arm": "no_questions"},
        {"iteration": 1, "arm": "method"},
        {"iteration": 1, "arm": "method", "dimension": "turns", "value": "1"},
    )
    assert "that oak[b] prefers" in shown
    figures = "│ 0.70 │ 0.51 to 0.84 │ 20, 2, 8 │ 2 │"
    assert [line for line in shown.splitlines() if "0.70" in line] == [
        f"│ 0 │ policy 0 │ policy 0, instructed {figures}",
        f"│ 1 │ policy 1 │ policy 1 {figures}",
        f"│ 1 │ nobody │ policy 1 {figures}",
    ]
    assert (
        "Where the truth is known, oak[b] finds it in 97% (81% to 100%) on gold responses." in shown
    )
    assert "Ties count half." in shown


def test_other_judges_have_a_column_each() -> None:
    elm = {"judge": "elm", "headline": False, "win_rate": 0.41, "agreement": 0.71} | OWN_TEXT
    shown = printed(
        *(
            {"iteration": 1, "arm": arm} | judge
            for arm in ("method", "base_asks")
            for judge in (OWN_TEXT, elm)
        )
    )
    assert "that oak[b] prefers" in shown
    assert "│ elm │" in shown.replace("┃", "│")
    figures = "│ 0.70 │ 0.51 to 0.84 │ 20, 2, 8 │ 2 │ 0.41 (71%) │"
    assert [line for line in shown.splitlines() if "0.70" in line] == [
        f"│ 1 │ policy 1 │ policy 1 {figures}",
        f"│ 1 │ policy 0 │ policy 1 {figures}",
    ]
    for judge in ("oak[b]", "elm"):
        start = f"Where the truth is known, {judge} finds it in 97% (81% to 100%) on gold"
        said = " ".join(shown.split())
        assert f"{start} responses and 55% (40% to 70%) on own text." in said
    assert "In brackets: pairs with the same verdict as the first judge's." in shown


def test_what_isolates_asking_is_marked() -> None:
    shown = printed(
        {"iteration": 1, "arm": "base_asks"},
        {"iteration": 1, "arm": "method"},
        {"iteration": 1, "arm": "method", "reference": "base_asks"},
    )
    figures = "│ 0.70 │ 0.51 to 0.84 │ 20, 2, 8 │ 2 │"
    assert [line for line in shown.splitlines() if "0.70" in line] == [
        f"│ 1 │ policy 1 │ policy 1 {figures}",
        f"│ 1 │ policy 0 │ policy 1 {figures}",
        f"│ 1 │ policy 1 │ policy 1* {figures}",
    ]
    assert "* Against the policy's answer after the base model's questions." in shown


def test_what_nobody_scored_has_no_figure() -> None:
    shown = printed(
        {"iteration": 0, "arm": "no_questions", "gold_audit": None, **dict.fromkeys(NOTHING)}
    )
    assert "│ nobody │ policy 0 │ │ │ 20, 2, 8 │ 2 │" in shown
    assert "Where the truth is known, oak[b] has no verdict." in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", "␛]0;title␇␛[2J"),
        ("\x9b31m\x7f\x00\r", "\ufffd31m␡␀␍"),
        ("half \ud83d", "half \ufffd"),
        ("a\tb\nc שלום 👩‍👧", "a\tb\nc שלום 👩‍👧"),
    ],
)
def test_what_would_command_a_terminal_is_seen(text: str, shown: str) -> None:
    assert visible(text) == shown
    with console.capture() as capture:
        console.print(text, markup=False, soft_wrap=True)
    assert not {"\x1b", "\x9b", "\x07", "\r", "\0"} & set(capture.get())


@given(st.text())
def test_nothing_that_is_shown_has_a_control_character(text: str) -> None:
    left = [letter for letter in visible(text) if ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0]
    assert set(left) <= {"\t", "\n"}
    visible(text).encode()
