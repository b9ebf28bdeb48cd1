"""`python -m denizen`, and the `denizen` command."""

from denizen.cli import main

if __name__ == "__main__":
    main()
