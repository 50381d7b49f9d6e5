import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargate_assets.method.keys import derive_seed, normalise, text_id

KEYS = st.lists(st.integers() | st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What should I cook?", "  what SHOULD\tI\n cook? "),
        ("caf\u00e9", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("\u0390", "\u0390".upper()),  # iota with dialytika and tonos
    ],
)
def test_case_spacing_and_composition_do_not_make_another_text(one: str, other: str) -> None:
    assert text_id(one) == text_id(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("ab", "c"), ("a", "bc")), (("a", "b"), ("a b",)), (("a", "b"), ("a\x1fb",)), (("a",), ())],
)
def test_an_id_depends_on_where_one_text_ends(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert text_id(*one) != text_id(*other)


@given(st.text(st.characters(codec="utf-8")))
@example("\u017f\u0323")  # a long s with a dot below: folding makes an s that composes
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_ids_and_seeds_are_the_same_in_every_release_and_process() -> None:
    """A stored row's key and a completion's seed outlive the process that made them."""
    assert text_id("What should I cook?") == "be40df379a5f7367"
    assert derive_seed(0, "turns", 0, "train_a") == 5185360412076133192


@given(KEYS)
def test_a_seed_fits_a_signed_64_bit_column(key: list[str | int]) -> None:
    assert 0 <= derive_seed(*key) < 2**63


@given(KEYS, KEYS)
def test_different_keys_have_different_seeds(one: list[str | int], other: list[str | int]) -> None:
    assert (derive_seed(*one) == derive_seed(*other)) == (one == other)


def test_a_number_and_its_digits_are_different_keys() -> None:
    assert derive_seed(1, "a") != derive_seed("1", "a")
