"""Requests and answers without a network: what is sent, how it is read, and when it is sent again.

`conduct` is the whole conversation about one call. It is a generator, so that the two clients differ only in how they
exchange bytes and how they sleep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, Literal, TypeVar, cast
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from denizen.client.errors import AnswerInvalid, Unreachable, error_of
from denizen.core.errors import DenizenError, Invalid, NotFound, StorageFull, TooMany, Unavailable
from denizen.core.ids import new_id

T = TypeVar("T")
Id = UUID | str

_LONGEST_PAUSE: Final = 5.0
_chance: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        headers: by names in lower case.
        content: the body; empty while it streams.
        stream: what the body is then read from, as the transport has it.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = field(default=b"", repr=False)
    stream: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        read: what the answer to a success says.
        params: of the query, in order.
        headers: beside those of every request.
        body: bytes, or for imports an iterable of such.
        again: whether it may be sent twice, so that it is sent again when nobody knows whether it was done.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Any = field(default=None, repr=False)
    again: bool = True

    @property
    def target(self) -> str:
        """The path with its query."""
        return f"{self.path}?{urlencode(self.params)}" if self.params else self.path

    def at(self, cursor: str) -> Call[T]:
        """Give the same call for the page that `cursor` names."""
        return replace(self, params=[*self.params, ("cursor", cursor)])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list.

    Attributes:
        items: in order.
        cursor: where the list goes on; `None` at its end.
        total: how many there are in all, where that was asked for.
        cut: whether a search found more than it gives.
    """

    items: list[T]
    cursor: str | None = None
    total: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is tried, and for how long.

    Attributes:
        tries: how often it is sent at most.
        within: seconds that may be spent on pauses, all together. A server that says `Retry-After` for longer is not
            waited for: its refusal is raised at once.
        pause: seconds before the second try; doubled before each further one, less up to a half by chance.
    """

    tries: int = 4
    within: float = 15.0
    pause: float = 0.2

    def after(self, refused: DenizenError, tried: int, *, again: bool) -> float | None:
        """Give the seconds to wait before the call is sent again, or `None` for not at all."""
        if tried >= self.tries or not _is_passing(refused, again=again):
            return None
        own = min(self.pause * 2 ** (tried - 1), _LONGEST_PAUSE) * _chance.uniform(0.5, 1)
        return float(max(own, refused.retry_after or 0))


def _is_passing(refused: DenizenError, *, again: bool) -> bool:
    """Tell whether the same call may succeed a little later, and does no harm when the first was done after all."""
    if isinstance(refused, Unreachable) and not refused.sent:
        return True
    passing = isinstance(refused, TooMany | Unavailable) and not isinstance(refused, StorageFull)
    return again and (passing or refused.code == "idempotency_key_in_flight")


Steps = Generator[Call[T] | float, Answer | DenizenError | None, T]


def conduct(call: Call[T], patience: Patience) -> Steps[T]:
    """Bring one call to its end: yields the call each time it is to be sent, or seconds to sleep.

    It is sent what came of that: the answer, an error of the transport, or nothing after a pause. Returns what the
    answer says.

    Raises:
        DenizenError: the class that the server raised; `Unreachable`, `AnswerInvalid`.
    """
    tried, waited = 0, 0.0
    while True:
        outcome = yield call
        tried += 1
        if isinstance(outcome, Answer) and outcome.status < 300:
            return call.read(outcome)
        refused = _refusal(outcome)
        if tried > 1 and call.method == "DELETE" and isinstance(refused, NotFound):
            return call.read(Answer(204))  # gone: an earlier try did it, and its answer was lost
        pause = patience.after(refused, tried, again=call.again)
        if pause is None or waited + pause > patience.within:
            raise refused
        waited += pause
        yield pause


def _refusal(outcome: Answer | DenizenError | None) -> DenizenError:
    if isinstance(outcome, Answer):
        return error_of(outcome.status, outcome.headers, outcome.content)
    assert outcome is not None  # noqa: S101  (what was sent is answered, or fails)
    return outcome


# -------------------------------------------------------------------------------------------------------- what is sent


def get(path: str, read: Callable[[Answer], T], **params: Any) -> Call[T]:
    """Ask for something; parameters that are `None` are left out."""
    return Call("GET", path, read, query(params))


def send(
    method: Literal["POST", "PATCH", "PUT", "DELETE"],
    path: str,
    read: Callable[[Answer], T],
    body: Any = None,
    *,
    if_version: int | None = None,
    again: bool | None = None,
    **params: Any,
) -> Call[T]:
    """Change something.

    Args:
        body: a schema, of which what was set is sent; or what JSON can be made of.
        if_version: only if the account is of this version. Such a change is not sent again by itself: the second would
            find the version that the first has made.
        again: whether it may be sent twice; by default all but POST.
    """
    headers = {} if if_version is None else {"if-match": f'"{if_version}"'}
    if body is not None:
        headers["content-type"] = "application/json"
    twice = (method != "POST" and if_version is None) if again is None else again
    return Call(method, path, read, query(params), headers, None if body is None else dump(body), twice)


def make(path: str, read: Callable[[Answer], T], body: Any, *, key: str | None) -> Call[T]:
    """Make something once, however often it is sent.

    Args:
        key: the `Idempotency-Key`; a new one by default, so that one call makes one thing. To go on after a crash of
            one's own, give the same key again.
    """
    sent = send("POST", path, read, body, again=True)
    return replace(sent, headers={**sent.headers, "idempotency-key": key or str(new_id())})


def part(name: Id) -> str:
    """Write an id or a name as one part of a path.

    Raises:
        Invalid: it is empty or only dots, which would make the path another one.
    """
    text = quote(str(name), safe="")
    if not text.strip("."):
        raise Invalid("An id or a name is needed here.")
    return text


def query(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write parameters; lists are given one by one, mappings too (`profile={"level": 7}` is `profile.level=7`), and
    `None` is left out.

    Raises:
        Invalid: `None` within a mapping: left out, it would give everyone.
    """
    return [
        (name, _word(each))
        for name, value in _flat(params)
        if value is not None
        for each in (value if isinstance(value, list | tuple | set | frozenset) else [value])
    ]


def _flat(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if not isinstance(value, Mapping):
            yield name, value
        elif None in value.values():
            raise Invalid("Nothing is found by a value that is not there.", field=name)
        else:
            yield from ((f"{name}.{part}", each) for part, each in value.items())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def dump(body: Any) -> bytes:
    """Write a body; the same one always in the same bytes, which is what an `Idempotency-Key` is compared by."""
    return to_json(_ordered(body))


def _ordered(value: Any) -> Any:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: _ordered(each) for name, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(value)
    return [_ordered(each) for each in value] if isinstance(value, list | tuple) else value


# -------------------------------------------------------------------------------------------------------- what is read


@lru_cache(maxsize=256)
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    form: Any = kind
    return TypeAdapter(form)


def reads(kind: type[T]) -> Callable[[Answer], T]:
    """Give what reads an answer of one kind.

    Raises:
        AnswerInvalid: when called, for an answer that is not of it.
    """

    def read(answer: Answer) -> T:
        return parse(kind, answer.content)

    return read


def parse(kind: type[T], content: bytes) -> T:
    """Read JSON of one kind.

    Raises:
        AnswerInvalid: it is not of it; what was in it is not repeated, since it may be personal.
    """
    try:
        found: T = _adapter(cast("Hashable", kind)).validate_json(content)
    except ValidationError:
        raise AnswerInvalid(f"The answer is no {getattr(kind, '__name__', kind)} that this release can read.") from None
    return found


def reads_page(kind: type[T]) -> Callable[[Answer], Page[T]]:
    """Give what reads a page of one kind."""
    of_many: Any = list[kind]  # type: ignore[valid-type]  # made when this runs

    def read(answer: Answer) -> Page[T]:
        total, cut = answer.headers.get("x-total-count"), answer.headers.get("x-results-cut")
        cursor = answer.headers.get("x-next-cursor")
        items: list[T] = parse(of_many, answer.content)
        return Page(items, cursor, int(total) if total else None, cut == "true")

    return read


def nothing(_: Answer) -> None:
    """Read nothing: that it was done is all."""
