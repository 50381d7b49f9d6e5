"""The page by value: what it says, what it counts, and that nothing in it runs or is fetched."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.arms import Reference
from stargate_assets.reporting import quality
from stargate_assets.reporting.comparison import compare
from stargate_assets.reporting.judges import judge_grids
from stargate_assets.reporting.page import (
    paper_values,
    pictures,
    pictures_of,
    report_page,
    script_json,
)
from stargate_assets.reporting.summary import summary
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.viewer import PAIR, choose_pairs, viewer_data
from stargate_assets_tests.reporting import frames

MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \u2028 {{ 7 * 7 }}"


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and the text of each script."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data

    def data(self) -> dict[str, list[list[object]]]:
        return json.loads(self.scripts[0])


@pytest.fixture(scope="module")
def tables() -> ExperimentTables:
    return frames.tables()


def with_win_rate(tables: ExperimentTables, arm: str, low: float, high: float) -> ExperimentTables:
    """The last policy's win rate of an arm, replaced."""
    here = (pl.col("iteration") == 2) & (pl.col("arm") == arm) & (pl.col("dimension") == "all")
    changed = tables.frame("win_rates").with_columns(
        pl.when(here).then((low + high) / 2).otherwise("win_rate").alias("win_rate"),
        pl.when(here).then(low).otherwise("low").alias("low"),
        pl.when(here).then(high).otherwise("high").alias("high"),
    )
    return replace(tables, frames={**tables.frames, "win_rates": changed})


def said(tables: ExperimentTables) -> str:
    found = summary(tables)
    return " ".join([*found.findings, *found.caveats]).replace("\u202f", " ")


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (
            0.55,
            0.81,
            "Policy 2 wins 68 % of its comparisons with the base model (55 % to 81 %; judged by "
            f"{frames.JUDGE}; 32 pairs",
        ),
        (0.55, 0.81, "The interval lies above one half"),
        (0.41, 0.67, "The interval includes one half, so these data do not tell the two apart."),
        (0.20, 0.40, "The interval lies below one half: it is worse."),
    ],
)
def test_the_summary_says_how_sure_a_gain_is(
    tables: ExperimentTables, low: float, high: float, sentence: str
) -> None:
    assert sentence in said(with_win_rate(tables, "method", low, high))


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (0.51, 0.70, "so the questions alone help"),
        (0.40, 0.60, "which does not show that the questions alone help"),
        (0.20, 0.45, "so the questions alone do harm"),
    ],
)
def test_the_summary_tells_asking_from_answering(
    tables: ExperimentTables, low: float, high: float, sentence: str
) -> None:
    assert sentence in said(with_win_rate(tables, "base_answers", low, high))


@pytest.mark.parametrize(
    ("own", "other", "sentences"),
    [
        ((2.0, 9.0), (-1.0, 3.0), ("more probable: +5.5", "is about the person.")),
        ((2.0, 9.0), (1.0, 3.0), ("more probable: +5.5", "a part of the gain is not about")),
        (
            (-9.0, -2.0),
            (-1.0, 3.0),
            ("less probable: −5.5", "(−1.0 to +3.0)."),
        ),
        ((-2.0, 9.0), (-1.0, 3.0), ("neither more nor less probable", "(−1.0 to +3.0).")),
    ],
)
def test_the_summary_claims_no_gain_that_its_interval_does_not_show(
    tables: ExperimentTables,
    own: tuple[float, float],
    other: tuple[float, float],
    sentences: tuple[str, str],
) -> None:
    report = tables.frame("report")
    for metric, (low, high) in (("experimental", own), ("random", other)):
        here = (pl.col("iteration") == 2) & (pl.col("metric") == metric)
        report = report.with_columns(
            pl.when(here).then(value).otherwise(column).alias(column)
            for column, value in (
                ("gain", (low + high) / 2),
                ("gain_low", low),
                ("gain_high", high),
            )
        )
    text = said(replace(tables, frames={**tables.frames, "report": report}))
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_the_summary_counts_and_warns(tables: ExperimentTables) -> None:
    text = said(tables)
    assert "+16.0 nats a response (+13.8 to +18.2), 16 % of what reading the whole persona" in text
    assert "changed by +2.0 nats (−0.2 to +4.2): what was gained is about the person" in text
    assert "asks in 93 % of its turns; the base model in 23 %" in text
    assert "Of its answers 80 % end by asking; of the base model's 20 %." in text
    assert "use 65 % of what the person has told it; the base model's 25 %." in text
    assert (
        f"the judge {frames.JUDGE} finds it in 91 % of pairs of gold responses (78 % to 100 %) and "
        "87 % of pairs of own text (74 % to 96 %): usable" in text
    )
    assert "32 pairs come from 8 tasks and 4 people" in text
    assert "1 verdict of policy 2 could not be read" in text
    assert "prefers the response that stands first by +7 points" in text
    assert "64 % of decided verdicts go to the longer response" in text
    assert "1 gold response of the test split is excluded from all log-probabilities" in text
    assert "The judge is the questioner's own base model" in text


def test_an_experiment_without_a_judge_says_so() -> None:
    full = frames.tables()
    judged = ("judge_audit", "judgements", "win_rates")
    without = {table: frame for table, frame in full.frames.items() if table not in judged}
    tables = replace(full, experiment=frames.experiment(judge=None), frames=without)
    assert "Nothing was judged: there are no win rates." in said(tables)
    assert not re.search(">(Decomposition|Judges)</h2>", report_page([tables]))


def with_audits(tables: ExperimentTables, **audits: float | None) -> ExperimentTables:
    changed = tables.frame("win_rates").with_columns(pl.lit(v).alias(k) for k, v in audits.items())
    return replace(tables, frames={**tables.frames, "win_rates": changed})


def test_trust_goes_by_the_harder_audit(tables: ExperimentTables) -> None:
    blind = with_audits(tables, own_text_audit=0.5, own_text_audit_low=0.4, own_text_audit_high=0.6)
    assert "50 % of pairs of own text (40 % to 60 %): too few to rely on" in said(blind)
    right = with_audits(tables, own_text_audit_low=0.8, gold_audit=0.5)
    assert "own text (80 % to 96 %): good enough to rely on" in said(right)
    arms = frames.experiment(evaluation={"arms": ["method", "base_answers"]})
    nothing = dict.fromkeys(("own_text_audit", "own_text_audit_low", "own_text_audit_high"))
    easy = replace(with_audits(tables, **nothing), experiment=arms)
    missing = "There is no audit on own text, because evaluation.arms has no instructed."
    assert missing in said(easy)
    assert missing not in said(tables)
    (grid,) = judge_grids(easy)
    assert [cell.replace("\u202f", " ") for cell in grid.rows[0]] == [
        frames.JUDGE, "91 % (78 % to 100 %)", "–",
    ]  # fmt: skip
    assert missing in grid.note


def test_judges_stand_beside_the_headline_and_change_none_of_its_figures(
    tables: ExperimentTables,
) -> None:
    """The other says the same of policy 1, and the opposite of the rest."""
    turned = pl.col("verdict").replace({"win": "loss", "loss": "win"})
    first = pl.col("iteration") == 1
    both = frames.with_other_judge(tables, pl.when(first).then("verdict").otherwise(turned))
    grids, by_judge = judge_grids(both)
    assert [row[0] for row in grids.rows] == [frames.JUDGE, "oak"]
    assert grids.rows[0][3:] == ["–", "–"]
    scored = tables.tested("judgements").drop_nulls("verdict")
    means = scored.with_columns(same=first.cast(pl.Float64)).group_by("task_id", "persona_id")
    share = means.agg(pl.col("same").mean())["same"].mean()
    assert isinstance(share, float)
    assert grids.rows[1][3].startswith(f"{100 * share:.0f}\u202f% (")
    assert float(grids.rows[1][4].split()[0].replace("−", "-")) == pytest.approx(
        2 * share - 1, abs=0.08
    )
    assert by_judge.head == ["policy", "arm", "against", frames.JUDGE, "oak"]
    assert all(row[3] == row[4] != "–" for row in by_judge.rows)

    assert said(both) == said(tables)
    assert quality.decomposition(both) == quality.decomposition(tables)
    assert quality.breakdown(both) == quality.breakdown(tables)
    assert viewer_data([both]) == viewer_data([tables])
    drawn = [
        [line.get_xydata().tolist() for line in pictures_of(of)[0].figure.axes[0].lines]
        for of in (both, tables)
    ]
    assert drawn[0] == drawn[1]
    page = report_page([both])
    assert "<dt>other judges</dt><dd>oak</dd>" in page
    assert ">Judges</h2>" in page


def test_the_decomposition_is_asking_by_answering(tables: ExperimentTables) -> None:
    _, grid = quality.decomposition(tables)
    rates = {
        (i, arm): rate
        for i, arm, rate in tables.headline("win_rates")
        .filter(pl.col("dimension") == "all")
        .select("iteration", "arm", "win_rate")
        .iter_rows()
    }
    (rates[2, "asking"],) = tables.headline("win_rates", Reference.BASE_ASKS).filter(
        iteration=2, dimension="all"
    )["win_rate"]
    shown = [[cell.partition("\u202f")[0] for cell in row[1:]] for row in grid.rows]
    wanted = [
        [(0, "no_questions"), (2, "no_questions")],
        [None, (2, "base_asks")],
        [(2, "base_answers"), (2, "method")],
        [(0, "instructed"), ()],
        [(), (2, "asking")],
    ]
    assert shown == [
        ["50" if key is None else f"{100 * rates[key]:.0f}" if key else "–" for key in row]
        for row in wanted
    ]


def test_every_conversation_and_verdict_is_counted(tables: ExperimentTables) -> None:
    conversations, comparisons, gold = quality.data_quality(tables)
    for row in conversations.rows:
        numbers = [int(cell) for cell in row[1:] if cell.isdigit()]
        assert numbers[0] == sum(numbers[1:5])  # eligible, and three reasons why not
    for row in comparisons.rows:
        assert int(row[4]) == sum(map(int, row[5:10]))
    assert gold.head[-1] == "excluded: refused"
    assert [row[-1] for row in gold.rows] == ["0", "0", "1"]
    train_a = next(row for row in conversations.rows if row[0] == "0|train_a")
    kept, without = int(train_a[-3]), int(train_a[-2])
    assert kept + without == int(train_a[-4]) == 32


def test_an_unknown_price_is_unknown(tables: ExperimentTables) -> None:
    (grid,) = quality.costs(tables)
    assert {row[0]: row[-1] for row in grid.rows} == {
        "judge": "$1.26",
        "questioner": "unknown",
        "scorer": "unknown",
        "all": "$1.26 and unknown",
    }


def test_the_page_is_whole_and_fetches_nothing(tables: ExperimentTables) -> None:
    page = report_page([tables])
    assert page.startswith("<!doctype html>")
    found = Elements(page).found
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in found}
    for _, attributes in found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for address in (attributes.get("src"), attributes.get("href")):
            assert address is None or address.startswith(("data:image/svg+xml;base64,", "#"))
    (policy,) = [a["content"] for _, a in found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(tables: ExperimentTables, mode: int) -> None:
    """WCAG 2.2, level AA: a contrast of 4.5."""
    roots = re.findall(r":root \{(.*?)\}", report_page([tables]), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})\b", roots[mode]))
    for text in ("ink", "soft", "accent", "good", "bad"):
        for behind in ("paper", "raised", "tint"):
            lighter, darker = sorted(
                (luminance(colours[text]), luminance(colours[behind])), reverse=True
            )
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, behind)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_markup_in_a_persona_is_text() -> None:
    tables = frames.tables(persona=MARKUP, said=(MARKUP,))
    page = report_page([tables])
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "\u2028" not in page
    data = Elements(page).data()
    assert [life for name, life in data["personas"] if life == MARKUP][:1] == [MARKUP]
    assert "49" not in json.dumps(data["personas"])


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_script_json_reads_back_and_cannot_end_its_element(value: object) -> None:
    text = script_json(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)


def test_the_viewer_knows_what_was_kept(tables: ExperimentTables) -> None:
    data = viewer_data([tables])
    states: dict[tuple[object, object], list[object]] = {}
    for _, iteration, pair, _, score, state, reason, *_ in data["conversations"]:
        states.setdefault((iteration, pair), []).append(state)
        assert (state == "ineligible") == (reason is not None)
        in_test = data["pairs"][pair][2] == "test"
        assert state in (
            ("eligible", "ineligible") if in_test else ("kept", "rejected", "ineligible")
        )
        assert (score is None) == (state == "ineligible" and not in_test)
    assert all(of.count("kept") <= 1 for of in states.values())
    kept = sum(of.count("kept") for of in states.values())
    assert kept == tables.frame("best_conversations").height
    assert len(data["responses"]) == tables.frame("responses").height


@given(
    sizes=st.dictionaries(
        st.tuples(st.sampled_from(["train_a", "train_b", "test"]), st.integers(0, 20)),
        st.integers(1, 6),
        min_size=1,
    ),
    most=st.integers(1, 60),
)
def test_a_page_holds_whole_pairs_within_its_room(
    sizes: dict[tuple[str, int], int], most: int
) -> None:
    rows = [(split, str(pair), "p") for (split, pair), n in sizes.items() for _ in range(n)]
    conversations = pl.DataFrame(rows, schema=dict.fromkeys(PAIR, pl.String), orient="row")
    shown = choose_pairs(conversations, most)
    held = conversations.join(shown, on=PAIR, how="semi").height
    assert held <= most
    if sum(sizes.values()) * 3 <= most:
        assert held == conversations.height


def test_several_experiments_stand_beside_each_other(tables: ExperimentTables) -> None:
    other = frames.tables("no_regularization", seed=4)
    names = [picture.name for picture in pictures(compare([tables, other]))]
    assert names == [
        "comparison",
        "win_rates_by_experiment",
        "log_probs_by_experiment",
        "question_rates",
    ]
    elsewhere = replace(other, experiment=frames.experiment(data_set="other"))
    names = [picture.name for picture in pictures(compare([tables, elsewhere]))]
    assert names == ["comparison", "win_rates_by_experiment", "question_rates"]  # scales differ
    many = [replace(other, name=f"e{number}") for number in range(7)]
    assert [picture.name for picture in pictures(compare(many))] == ["comparison"]  # too many lines
    page = report_page([tables, other])
    assert "<caption>Against embedded</caption>" in page
    assert Elements(page).data()["experiments"] == ["embedded", "no_regularization"]


def test_the_paper_stands_beside_its_own_preset_only(tables: ExperimentTables) -> None:
    assert paper_values(tables) == ()
    assert paper_values(replace(tables, name="star_gate")) == (0.68, 0.73, 0.70)
