"""What the tests of other programs take: people at will, an install on a database of one's own, letters caught.

Nothing here needs pytest; `denizen.testing.fixtures` is for those who have it.
"""

from denizen.core.hashers import NullHasher
from denizen.testing.clocks import Clock
from denizen.testing.fakes import FakeHome, FakePerson, faked
from denizen.testing.installs import Mailed, SignedIn, letters, make_person, make_settings

__all__ = [
    "Clock",
    "FakeHome",
    "FakePerson",
    "Mailed",
    "NullHasher",
    "SignedIn",
    "faked",
    "letters",
    "make_person",
    "make_settings",
]
