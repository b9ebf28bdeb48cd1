"""Puts an install together out of settings and features, for the application and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from denizen.core.accounts import Accounts, utc_now
from denizen.core.database import Database
from denizen.core.events import Listener
from denizen.core.feature import Feature
from denizen.core.hashers import Argon2Hasher, Hasher
from denizen.core.hashing import HashPool
from denizen.core.options import DatabaseOptions
from denizen.core.paging import CursorSigner
from denizen.core.passwords import PasswordPolicy
from denizen.core.profiles import Profile
from denizen.core.rates import LeakyRateLimiter, NullRateLimiter, RateLimiter
from denizen.core.secret import Secret, load_secret
from denizen.settings import Settings, SettingsError

A = TypeVar("A", bound=Accounts)


def assemble(settings: Settings, features: Sequence[Feature], **rest: Any) -> Accounts:
    """Put an install together. Nothing is opened yet: that happens at the first use.

    Args:
        settings: of this install.
        features: the rooms that take part.
        rest: as for `assemble_as`.
    """
    return assemble_as(Accounts, settings, features, **rest)


def assemble_as(
    kind: type[A],
    settings: Settings,
    features: Sequence[Feature],
    *,
    prefix: str = "",
    hasher: Hasher | None = None,
    clock: Callable[[], datetime] = utc_now,
    profile: type[BaseModel] | None = None,
) -> A:
    """Put an install of a kind together, as `assemble`.

    Args:
        kind: of `Accounts`.
        settings: of this install.
        features: the rooms that take part.
        prefix: where its routes are.
        hasher: instead of argon2id.
        clock: instead of the machine's.
        profile: the own fields of accounts, instead of those of `DENIZEN_PROFILE`.

    Raises:
        SettingsError: `DENIZEN_PROFILE` names nothing that can be one.
        TypeError, ValueError: `profile` can be none.
    """
    return kind(
        settings=settings,
        database=Database(settings.database_url, DatabaseOptions.of(settings)),
        hashing=HashPool(hasher or Argon2Hasher(), threads=settings.hash_threads, queue=settings.hash_queue),
        passwords=PasswordPolicy(settings.password_min_length),
        cursors=CursorSigner(lambda: load_secret(settings)),
        secret=Secret(lambda: load_secret(settings)),
        sign_up_limits=(_limit(settings.signup_rate_per_address), _limit(settings.signup_rate_total)),
        authenticators=tuple(each for feature in features for each in feature.authenticators),
        listeners=tuple(each for feature in features for each in feature.listeners),
        hooked=any(not _is_ours(each) for feature in features for each in feature.listeners),
        guards=tuple(each for feature in features for each in feature.guards),
        refusals=tuple(each for feature in features for each in feature.refusals),
        user_finder=next((feature.user_finder for feature in features if feature.user_finder is not None), None),
        sign_up=next((feature.sign_up for feature in features if feature.sign_up is not None), None),
        cleaners=tuple(each for feature in features for each in feature.cleaners),
        holdings=tuple(each for feature in features for each in feature.holdings),
        profile=find_profile(settings, profile),
        prefix=prefix,
        clock=clock,
    )


def _is_ours(listener: Listener) -> bool:
    return getattr(listener, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


def find_profile(settings: Settings, model: type[BaseModel] | None = None) -> Profile | None:
    """Give the own fields that a host, or else `DENIZEN_PROFILE`, asks for; `None` for none.

    Raises:
        SettingsError: `DENIZEN_PROFILE` names nothing that can be one.
        TypeError, ValueError: `model` can be none.
    """
    if model is None and settings.profile is None:
        return None
    from denizen.core import profile_sources as sources  # for those who have own fields

    if model is not None:
        return sources.profile_of_model(model)
    try:
        return sources.load_profile(str(settings.profile))
    except (TypeError, ValueError) as error:
        sentence = str(error)
        joint = " " if sentence[:1].islower() else ": "
        raise SettingsError(f"DENIZEN_PROFILE{joint}{sentence}") from error


def _limit(per_minute: int) -> RateLimiter:
    return LeakyRateLimiter(per_minute, 60) if per_minute else NullRateLimiter()
