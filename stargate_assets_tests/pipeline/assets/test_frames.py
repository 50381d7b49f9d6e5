from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.rows import conversation_rows, conversations_from_rows
from stargate_assets_tests.method.people import pair, talk

ASK, TELL = "What do you like to eat?", "I like figs."


def test_conversations_come_back_as_they_were() -> None:
    said = talk((ASK, TELL), of=pair())
    conversations = [
        said,
        talk(sample=1).asked("What do you", truncated=True).answered(TELL),
        talk((ASK, TELL), sample=2).asked(ASK, truncated=False).answered(None),
        talk(sample=3).asked("", truncated=False).answered(None),
    ]
    frame = conversation_rows(Cell(0, "test"), "base", conversations)
    assert conversations_from_rows(frame, [pair()]) == conversations
    assert frame["ineligibility"].to_list() == [None, "truncated", "refused", "refused"]
