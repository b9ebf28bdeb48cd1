"""What other programs ask a Denizen with: `Client`, and `AsyncClient` for asyncio.

This wants httpx: `pip install "denizen[client]"`. Every operation of the API is a method of both clients, under the
name that OpenAPI gives it. What goes in and comes out are the schemas that the server itself uses, and what is refused
is raised as the class that the server raised.
"""

from denizen.account.schemas import PasswordReset, Proof
from denizen.batch.schemas import BatchDone, BatchResult, BatchUser, CreateOperation, DeleteOperation, PatchOperation
from denizen.client.calls import Page, Patience
from denizen.client.clients import AsyncClient, Client
from denizen.client.errors import AnswerInvalid, ServerFailed, Unreachable
from denizen.client.files import ExportedUser, ImportSummary
from denizen.client.people import UserFilters
from denizen.invitations.schemas import InvitationAccept, InvitationCreate
from denizen.keys.schemas import KeyCreate
from denizen.roles.schemas import RoleCreate, RoleUpdate
from denizen.signup.schemas import Registration, SignUpConfirm
from denizen.users.schemas import OwnUpdate, SignUpAsked, UserCreate, UserRead, UserUpdate

__all__ = [
    "AnswerInvalid",
    "AsyncClient",
    "BatchDone",
    "BatchResult",
    "BatchUser",
    "Client",
    "CreateOperation",
    "DeleteOperation",
    "ExportedUser",
    "ImportSummary",
    "InvitationAccept",
    "InvitationCreate",
    "KeyCreate",
    "OwnUpdate",
    "Page",
    "PasswordReset",
    "PatchOperation",
    "Patience",
    "Proof",
    "Registration",
    "RoleCreate",
    "RoleUpdate",
    "ServerFailed",
    "SignUpAsked",
    "SignUpConfirm",
    "Unreachable",
    "UserCreate",
    "UserFilters",
    "UserRead",
    "UserUpdate",
]
