"""What stands between a letter and the mail server: how it is written down, and how it is handed over."""
