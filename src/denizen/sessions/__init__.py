"""Sign-ins: recognises whoever holds one, shows people theirs and ends them."""
