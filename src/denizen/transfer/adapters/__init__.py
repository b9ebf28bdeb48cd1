"""The forms of files: each adapter reads one form, piece by piece, and writes it."""
