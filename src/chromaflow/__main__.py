"""`python -m chromaflow`: the same as the command `chromaflow`."""

from chromaflow.cli import main

main()
