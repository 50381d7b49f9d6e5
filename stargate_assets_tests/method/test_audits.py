from stargate_assets.method.arms import Arm, Players, Response
from stargate_assets.method.audits import (
    Audit,
    Audits,
    LeftOut,
    audit_accuracy,
    audit_pairs,
    audits_of,
    deciding_accuracy,
)
from stargate_assets.method.conversation import Pair
from stargate_assets.method.judging import Verdict
from stargate_assets_tests.method.people import grid

PAIRS = grid(3, 4)
GOLD = {p.key: f"{p.persona.name}, take boat {p.persona.name[-1]}." for p in PAIRS}


def said(pair: Pair, text: str, arm: Arm = Arm.INSTRUCTED, *, refused: bool = False) -> Response:
    return Response(pair, arm, Players(0, 0), 0, 1, text, refused=refused)


def own(pairs: list[Pair]) -> list[Response]:
    """What the base model answers each pair, told to use what was said, and otherwise."""
    return [
        said(p, f"{arm.value}: {p.persona.name} likes colour {p.persona.name[-1]}.", arm)
        for p in pairs
        for arm in (Arm.METHOD, Arm.INSTRUCTED)
    ]


def audit(pairs: list[Pair], seed: int = 0) -> Audits:
    return audit_pairs(pairs, GOLD, own(pairs), "test", seed)


def test_each_response_stands_against_another_persona_s_to_the_same_task() -> None:
    found = audit(PAIRS)
    assert not found.left_out
    start = {Audit.GOLD: "{name}, take boat", Audit.OWN_TEXT: "instructed: {name} likes colour"}
    for kind in Audit:
        of_kind = [a for a in found.audited if a.audit is kind]
        assert [a.comparison.pair for a in of_kind] == PAIRS
        for a in of_kind:
            mine = a.comparison.pair.persona
            (other,) = {p.persona for p in PAIRS if p.persona.persona_id == a.other_persona_id}
            assert other != mine
            text = start[kind].format(name=mine.name)
            assert a.comparison.response == f"{text} {mine.name[-1]}."
            assert a.comparison.reference == f"{text} {other.name[-1]}."


def test_who_the_other_is_depends_on_the_key_and_is_the_same_in_both_audits() -> None:
    found = audit(PAIRS)
    others = {(a.audit, a.comparison.pair): a.other_persona_id for a in found.audited}
    assert [others[Audit.GOLD, p] for p in PAIRS] == [others[Audit.OWN_TEXT, p] for p in PAIRS]
    again = audit(PAIRS[::-1]).audited
    assert {(a.audit, a.comparison.pair): a.other_persona_id for a in again} == others
    assert audit(PAIRS, seed=1) != found


def test_what_is_left_out_is_counted_by_reason() -> None:
    pairs = grid(2, 3)
    of_one, of_other = pairs[:3], pairs[3:]
    gold = {p.key: f"Take boat {p.persona.name[-1]}." for p in of_one[:2]}  # of one task alone
    base = [
        said(of_one[0], "", refused=True),
        said(of_one[1], " "),
        said(of_one[2], "Who are you?"),
        *(said(p, f"{p.persona.name}, row.") for p in of_other[:2]),  # but for the name the same
        said(of_other[2], "Swim.", refused=True),
    ]
    found = audit_pairs(pairs, gold, base, "test", 0)
    assert [a.comparison.pair for a in found.audited if a.audit is Audit.GOLD] == of_one[:2]
    assert all(a.audit is Audit.GOLD for a in found.audited)
    assert found.left_out == {
        (Audit.GOLD, LeftOut.NO_RESPONSE): 4,
        (Audit.OWN_TEXT, LeftOut.REFUSED): 2,
        (Audit.OWN_TEXT, LeftOut.EMPTY): 1,
        (Audit.OWN_TEXT, LeftOut.NO_OTHER): 1,
        (Audit.OWN_TEXT, LeftOut.IDENTICAL): 2,
    }


def test_without_instructed_answers_there_is_no_audit_on_own_text() -> None:
    plain = [r for r in own(PAIRS) if r.arm is Arm.METHOD]
    found = audit_pairs(PAIRS, GOLD, plain, "test", 0)
    assert {a.audit for a in found.audited} == {Audit.GOLD}
    assert not found.left_out
    assert audits_of(Arm) == [Audit.GOLD, Audit.OWN_TEXT]
    assert audits_of([Arm.METHOD, Arm.BASE_ANSWERS]) == [Audit.GOLD]


def test_the_harder_audit_decides_where_there_is_one() -> None:
    right = audit_accuracy({("t", f"p{i}"): Verdict.WIN for i in range(9)})
    blind = audit_accuracy({("t", f"p{i}"): Verdict.TIE for i in range(9)})
    assert right is not None and right.mean == 1
    assert blind is not None and blind.mean == 0.5
    assert deciding_accuracy({Audit.GOLD: right, Audit.OWN_TEXT: blind}) is blind
    assert deciding_accuracy({Audit.GOLD: right}) is right
    assert deciding_accuracy({}) is None
