"""`python -m polarlight` is the command `polarlight`."""

from polarlight.cli import main

if __name__ == "__main__":
    main()
