"""What happened, who did it, to whom and from where; append-only, and without secrets."""
