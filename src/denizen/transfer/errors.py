"""What can be wrong with a file, and with a row of it.

A `FileRefused` stops an import before its first row; a `RowRefused` costs one row and no other. Names that are taken or
not valid, and passwords that are refused, are told by the errors that `POST /users/` tells them by.
"""

from __future__ import annotations

from denizen.core.errors import Conflict, Invalid


class FileRefused(Invalid):
    """The file cannot be imported as it is; nothing of it was."""

    code = "file_refused"
    title = "File not accepted"


class EncodingUnsupported(FileRefused):
    """The whole file is in an encoding other than UTF-8."""

    code = "encoding_unsupported"


class FormatUnknown(FileRefused):
    """It cannot be told whether the file is CSV or NDJSON, or it is neither."""

    code = "format_unknown"


class HeaderMissing(FileRefused):
    """The first line of a CSV file does not name its columns."""

    code = "header_missing"


class ColumnRepeated(FileRefused):
    """Two columns of a CSV file have one name."""

    code = "column_repeated"


class ColumnUnknown(FileRefused):
    """A column (of a CSV file's header, or a member of an NDJSON row) that accounts do not have."""

    code = "column_unknown"


class ColumnMissing(FileRefused):
    """A mapping renames a column that the CSV file does not have."""

    code = "column_missing"


class FileChanged(Conflict):
    """Somebody wrote to the file while it was read: the rows before may be of one file and those behind of another."""

    code = "file_changed"
    title = "File changed"


class MappingInvalid(Invalid):
    """A mapping is not of the form `old=new`, gives a name that is no column, or renames one column twice."""

    code = "mapping_invalid"
    title = "Mapping not valid"


class RowRefused(Invalid):
    """This row cannot be imported; the others can."""

    code = "row_refused"
    title = "Row not accepted"


class EncodingInvalid(RowRefused):
    """Bytes that are no UTF-8: a line in Latin-1, as a rule."""

    code = "encoding_invalid"


class RowTooLong(RowRefused):
    """More than a megabyte in one row."""

    code = "row_too_long"


class QuoteUnclosed(RowRefused):
    """A quoted value does not end."""

    code = "quote_unclosed"


class QuoteMisplaced(RowRefused):
    """Something stands between the end of a quoted value and the next delimiter."""

    code = "quote_misplaced"


class ColumnsMissing(RowRefused):
    """Fewer values than the header has names: the line was torn."""

    code = "columns_missing"


class ColumnsSurplus(RowRefused):
    """More values than the header has names."""

    code = "columns_surplus"


class JsonMalformed(RowRefused):
    """Not one JSON object (RFC 8259): torn, NaN, a number beyond 64 bits, not an object."""

    code = "json_malformed"


class MemberRepeated(RowRefused):
    """A JSON object has a member twice."""

    code = "member_repeated"


class MemberUnknown(RowRefused):
    """A JSON object has a member that the first row of the file did not have and that accounts do not have."""

    code = "column_unknown"


class TypeInvalid(RowRefused):
    """The value is of another type than its column: a number where text belongs, say."""

    code = "type_invalid"


class ValueTooLong(RowRefused):
    """The value has more characters than its column takes."""

    code = "value_too_long"


class TextUnacceptable(RowRefused):
    """U+0000 or half of a surrogate pair in a text."""

    code = "text_unacceptable"


class ValueEmpty(RowRefused):
    """An external id with no characters. Leave it out instead."""

    code = "value_empty"


class IdInvalid(RowRefused):
    """Not a UUID of version 7."""

    code = "id_invalid"


class TimeInvalid(RowRefused):
    """Not a time by RFC 3339, without a time zone, or before 1900 or after 2999."""

    code = "time_invalid"


class BooleanInvalid(RowRefused):
    """Neither true nor false."""

    code = "boolean_invalid"


class VersionInvalid(RowRefused):
    """Not a whole number from 1 to 2147483647."""

    code = "version_invalid"


class HashUnsupported(RowRefused):
    """A password hash that no sign-in could be checked against."""

    code = "hash_unsupported"


class PasswordAndHash(RowRefused):
    """Both a password and the hash of one."""

    code = "password_and_hash"


class RowRejected(RowRefused):
    """The database refused the row for a reason of its own."""

    code = "row_rejected"


class MatchMissing(RowRefused):
    """An upsert finds accounts by a value that this row does not have."""

    code = "match_missing"


class VersionExhausted(RowRefused):
    """`upsert`: the account has the highest version that there is."""

    code = "version_exhausted"


class AccountRepeated(RowRefused):
    """The account that this row would change was brought or changed by an earlier row of the file."""

    code = "account_repeated"


class IdMismatch(RowRefused):
    """The row has an id, and the account that it would change has another."""

    code = "id_mismatch"


class PasswordNotSettable(RowRefused):
    """A password for an account that is there: nobody but its owner chooses one."""

    code = "password_not_settable"


class RolesNotAllowed(RowRefused):
    """Roles, and the caller lacks the scope `roles:write`, or acts in somebody else's place."""

    code = "roles_not_allowed"


class HashNotAllowed(RowRefused):
    """A password hash, and the caller lacks the scope `users:hashes`."""

    code = "hash_not_allowed"
