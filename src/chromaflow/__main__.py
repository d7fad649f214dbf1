"""`python -m chromaflow`: the same as the command `chromaflow`."""

from chromaflow.cli.main import main

main()
