"""Moving people in and out: import and export, row by row, in memory that does not grow with the file."""
