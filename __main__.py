"""`python -m perframe`."""

from perframe.cli import main

if __name__ == "__main__":
    main()
