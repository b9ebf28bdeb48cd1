"""What the room offers to the application."""

from __future__ import annotations

from denizen.core.feature import Feature, Holding
from denizen.mail.crud import describe_mails

FEATURE = Feature("mail", holdings=(Holding("mails", describe_mails),))
