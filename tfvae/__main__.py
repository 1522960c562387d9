"""``python -m tfvae``: the command line, where its script is not on the path."""

from tfvae.cli import main

if __name__ == "__main__":
    main()
