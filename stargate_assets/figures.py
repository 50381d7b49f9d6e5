"""Figures, as Markdown that holds its own picture."""

import base64
import io

import polars as pl

WIDTH_INCHES, HEIGHT_INCHES, INCHES_A_BAR = 7.0, 2.8, 0.2
COLOURS = ("#0072b2", "#e69f00", "#999999")
"""Blue, orange and grey: told apart by every kind of colour vision."""


def lengths_and_domains(rows: pl.DataFrame) -> str:
    """How long the texts of a table are, and how many there are of each domain, by kind, if the
    table says.
    """
    from matplotlib.figure import Figure

    domains = rows["domain"].drop_nulls() if "domain" in rows.columns else pl.Series()
    height = max(HEIGHT_INCHES, INCHES_A_BAR * domains.n_unique())
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    axes = figure.subplots(1, 2 if len(domains) else 1, squeeze=False)[0]
    axes[0].hist(rows["text"].str.len_chars(), bins=20, color=COLOURS[0])
    axes[0].set(xlabel="characters", ylabel="rows")
    if len(domains):
        kinds = rows.with_columns(pl.col("kind").fill_null("not said"))
        names, left = sorted(domains.unique(), reverse=True), [0] * domains.n_unique()
        for number, (kind,) in enumerate(sorted(kinds.select("kind").unique().iter_rows())):
            counts = [kinds.filter(domain=domain, kind=kind).height for domain in names]
            colour = COLOURS[number % len(COLOURS)]
            axes[1].barh(names, counts, left=left, label=kind, color=colour)
            left = [a + b for a, b in zip(left, counts, strict=True)]
        axes[1].set(xlabel="rows")
        axes[1].tick_params(axis="y", labelsize="x-small")
        axes[1].legend(
            fontsize="x-small", frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1)
        )
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    encoded = base64.b64encode(picture.getvalue()).decode()
    return f"![lengths and domains](data:image/png;base64,{encoded})"
