"""Keys that sign the short access tokens which other services check by themselves, and their rotation."""
