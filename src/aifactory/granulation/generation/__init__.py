"""Generation with language models: what is asked for, how answers become a tree, how flaws are mended."""
