"""Structured answers: a type becomes a provider's schema, and an answer a value of that type. Pure."""

from aifactory.granulation.structured.answer_format import AnswerFormat, answer_format, wire
from aifactory.granulation.structured.codec import AnswerError
from aifactory.granulation.structured.limits import LimitReport, SchemaTooLarge
from aifactory.granulation.structured.reading import Fault, Reading, read_answer
from aifactory.granulation.structured.shapes import RecursiveType, UnsupportedType
from aifactory.granulation.structured.strict import check_strict

__all__ = [
    "AnswerError",
    "AnswerFormat",
    "Fault",
    "LimitReport",
    "Reading",
    "RecursiveType",
    "SchemaTooLarge",
    "UnsupportedType",
    "answer_format",
    "check_strict",
    "read_answer",
    "wire",
]
