"""How one description of an operation becomes a method of both clients, typed for each.

`Operation(describe)` is, on a `Client`, a function with the parameters of `describe` that returns what its call reads;
on an `AsyncClient` the same function, to be awaited. `Listing` and `Streaming` do so for iterators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from denizen.client.calls import Answer, Call, Page

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Decoder(Protocol[T_co]):
    """Reads a body that comes in pieces."""

    def feed(self, data: bytes) -> Iterable[T_co]:
        """Take the next piece; give what is complete."""

    def finish(self) -> Iterable[T_co]:
        """Give what is left at the end.

        Raises:
            Unreachable: this cannot be the end.
        """


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A call whose answer is read as it comes.

    Attributes:
        decoder: makes what reads it.
    """

    call: Call[Answer]
    decoder: Callable[[], Decoder[T]]


class Waiting(ABC):
    """A client that waits for answers."""

    @abstractmethod
    def run(self, call: Call[T]) -> T:
        """Bring a call to its end."""

    @abstractmethod
    def stream(self, stream: Stream[T]) -> Iterator[T]:
        """Bring a call to its end piece by piece."""

    def walk(self, call: Call[Page[T]]) -> Iterator[T]:
        """Give everything of a list, page by page."""
        page = self.run(call)
        yield from page.items
        while page.cursor is not None:
            page = self.run(call.at(page.cursor))
            yield from page.items


class Awaiting(ABC):
    """A client that is awaited."""

    @abstractmethod
    async def run(self, call: Call[T]) -> T:
        """Bring a call to its end."""

    @abstractmethod
    def stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Bring a call to its end piece by piece."""

    async def walk(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        """Give everything of a list, page by page."""
        page = await self.run(call)
        for each in page.items:
            yield each
        while page.cursor is not None:
            page = await self.run(call.at(page.cursor))
            for each in page.items:
                yield each


class _Method(Generic[P, T]):
    """A description that is bound to a client when it is looked up."""

    def __init__(self, describe: Callable[P, Any]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

    def _bind(self, act: Callable[[Any], Any]) -> Any:
        describe = self.describe

        @wraps(describe)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return act(describe(*args, **kwargs))

        return bound


class Operation(_Method[P, T]):
    """A method that gives what one answer says."""

    def __init__(self, describe: Callable[P, Call[T]]) -> None:
        super().__init__(describe)

    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, client: Waiting, owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: Any = None) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Waiting | Awaiting | None, owner: Any = None) -> Any:
        """Bind it to a client; asked of the class it is itself."""
        return self if client is None else self._bind(client.run)


class Listing(_Method[P, T]):
    """A method that gives everything of a list, asking for the next page when it is needed."""

    def __init__(self, describe: Callable[P, Call[Page[T]]]) -> None:
        super().__init__(describe)

    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, client: Waiting, owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Waiting | Awaiting | None, owner: Any = None) -> Any:
        """Bind it to a client; asked of the class it is itself."""
        return self if client is None else self._bind(client.walk)


class Streaming(_Method[P, T]):
    """A method that gives the parts of one answer as they come."""

    def __init__(self, describe: Callable[P, Stream[T]]) -> None:
        super().__init__(describe)

    @overload
    def __get__(self, client: None, owner: Any = None) -> Self: ...
    @overload
    def __get__(self, client: Waiting, owner: Any = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: Any = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Waiting | Awaiting | None, owner: Any = None) -> Any:
        """Bind it to a client; asked of the class it is itself."""
        return self if client is None else self._bind(client.stream)
