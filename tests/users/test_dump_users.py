"""Rows that are written as JSON without a model between say, byte for byte, what the documented model would."""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from denizen.users.schemas import READ_FIELDS, UserRead, dump_user, dump_users

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.datetimes(timezones=st.just(UTC))
profiles: st.SearchStrategy[dict[str, object]] = st.just({}) | st.dictionaries(
    st.sampled_from(["department", "level", "tags"]), texts | st.lists(texts)
)
rows = st.tuples(
    st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)),
    texts,
    texts,
    texts,
    texts,
    st.booleans(),
    st.none() | times,
    profiles,
    st.none() | times,
    st.none() | times,
    times,
    times,
    st.integers(1, 2**31),
)


@settings(deadline=None)
@given(rows)
def test_one_is_alike(row: tuple[object, ...]) -> None:
    model = UserRead.model_validate(dict(zip(READ_FIELDS, row, strict=True)))

    assert dump_user(row) == model.model_dump_json().encode()


@settings(deadline=None, max_examples=20)
@given(st.lists(rows, max_size=5))
def test_many_are_alike(many: list[tuple[object, ...]]) -> None:
    models = [UserRead.model_validate(dict(zip(READ_FIELDS, row, strict=True))) for row in many]

    assert dump_users(many) == TypeAdapter(list[UserRead]).dump_json(models)
