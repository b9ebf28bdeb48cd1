"""What else a database would do if one row were deleted: read from its own catalogue, a host's tables included."""
