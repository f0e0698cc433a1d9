"""The best schedule as a file asks for it: what `ckin optimise` runs.

    answer = answer_inquiry(read_inquiry("my_question.toml"))
    answer.best.plan, answer.best.utility
    write_answer(answer, Path("found"))

The optimiser itself is `ckin.schedule`. Nothing of it is a result of a trial.
"""

from ckin.optimum.answer import Answer as Answer
from ckin.optimum.answer import answer_inquiry as answer_inquiry
from ckin.optimum.inquiry import Inquiry as Inquiry
from ckin.optimum.read import parse_inquiry as parse_inquiry
from ckin.optimum.read import read_inquiry as read_inquiry
from ckin.optimum.tables import write_answer as write_answer
from ckin.optimum.who import Whom as Whom
from ckin.optimum.who import many as many
from ckin.optimum.who import one_patient as one_patient
