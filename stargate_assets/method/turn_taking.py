"""When a policy asks and when it answers: for whoever talks with it or serves it.

Ask for the next turn, do what it says, and ask again:

    ask     the policy says something, after `Prompts.questioner_messages`
    reply   the user replies to its question
    answer  the policy does what it was asked for, after `Prompts.respondent_messages` of what was
            heard (`heard`), and that is the end
"""

from dataclasses import replace
from enum import StrEnum

from stargate_assets.method.conversation import Conversation, is_question


class Turn(StrEnum):
    ASK = "ask"
    REPLY = "reply"
    ANSWER = "answer"


def next_turn(conversation: Conversation, max_turns: int, *, answer_now: bool = False) -> Turn:
    """What comes next in a conversation. A policy answers after `max_turns` questions (K), when the
    user wants that (`answer_now`), and when what it has said does not ask: then it would answer.
    """
    if answer_now:
        return Turn.ANSWER
    if len(conversation.questions) > len(conversation.answers):
        return Turn.REPLY if is_question(conversation.questions[-1]) else Turn.ANSWER
    return Turn.ASK if len(conversation.questions) < max_turns else Turn.ANSWER


def heard(conversation: Conversation) -> Conversation:
    """The conversation without what nobody has replied to."""
    replied = len(conversation.answers)
    return replace(
        conversation,
        questions=conversation.questions[:replied],
        truncated=conversation.truncated[:replied],
    )
