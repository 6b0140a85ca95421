"""The options of votes by name: in `help`, at run time and, since mypy reads this file, for it.

An unused `type: ignore` is an error of mypy's: it finds each wrong name itself.
"""

import inspect
import pydoc
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
import torch

import mdn_cupy as mdn
from mdn_cupy.problem import VoteOptions

FIELDS = torch.full((1, 2, 3), 0.5), torch.zeros(1, 2, 2, 3)
VOTES = mdn.Votes(*FIELDS, 1.0, stride=2, truncate=3)
LAYER = mdn.torch.MassDisplacement(stride=2, truncate=3)

WRONG: dict[str, Callable[[], Any]] = {
    "Votes": lambda: mdn.Votes(*FIELDS, 1.0, strid=2),  # type: ignore[call-arg]
    "Votes.replace": lambda: VOTES.replace(strid=2),  # type: ignore[call-arg]
    "noisy_or": lambda: mdn.noisy_or(*FIELDS, 1.0, strid=2),  # type: ignore[call-arg]
    "compare": lambda: mdn.compare(*FIELDS, 1.0, strid=2),  # type: ignore[call-arg]
    "MassDisplacement": lambda: mdn.torch.MassDisplacement(strid=2),  # type: ignore[call-arg]
    "MassDisplacement.votes": lambda: LAYER.votes(*FIELDS, strid=2),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("name", WRONG)
def test_a_misspelt_option_is_refused(name: str) -> None:
    message = rf"^{name}\(\): unexpected argument 'strid', did you mean 'stride'\?"
    with pytest.raises(TypeError, match=message):
        WRONG[name]()


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="deterministic must be True or False"):
        VOTES.replace(deterministic="no")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="aggregate must be an axis"):
        mdn.torch.MassDisplacement(aggregate="parts")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sigma must be"):
        VOTES.replace(sigma="wide")


def test_options_that_there_are_may_be_passed_on() -> None:
    def voted(**options: Any) -> mdn.Votes:
        return VOTES.replace(**options)

    options: mdn.VoteKwargs = {"stride": 4.0, "origin": (1.0, 2.0)}
    for votes in (VOTES.replace(**options), voted(**options), mdn.Votes(*FIELDS, 1.0, **options)):
        assert votes.stride == (4.0, 4.0)
    assert mdn.torch.MassDisplacement(**options).options.origin == (1.0, 2.0)


def test_the_options_are_written_out_as_they_are_checked() -> None:
    assert get_type_hints(mdn.VoteKwargs) == get_type_hints(VoteOptions)
    assert [*mdn.VoteKwargs.__annotations__] == [*inspect.signature(VoteOptions).parameters]


@pytest.mark.parametrize(
    "thing",
    [mdn.torch.MassDisplacement, mdn.torch.MassDisplacement.votes, mdn.Votes.replace, mdn.noisy_or],
    ids=lambda thing: thing.__qualname__,
)
def test_help_names_every_option(thing: Any) -> None:
    assert [*inspect.signature(thing).parameters][-6:] == [*mdn.VoteKwargs.__annotations__]
    head = pydoc.plain(pydoc.render_doc(thing)).partition("Parameters")[0]
    assert "stride" in head
    assert "**" not in head
