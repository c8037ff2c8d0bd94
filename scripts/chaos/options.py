"""The command line of a module of this folder that has options of its own."""

import argparse


def parser(name: str, text: str | None) -> argparse.ArgumentParser:
    """Return a parser without options for `python scripts/chaos NAME`, whose help shows `text`."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=f"scripts/chaos {name}", description=text, formatter_class=form)
