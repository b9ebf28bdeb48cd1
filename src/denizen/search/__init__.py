"""Finding accounts by any part of their names: the index, how it is written, searched, checked and rebuilt."""
