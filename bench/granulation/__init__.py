"""What granulation promises in figures, measured on real documents of this machine."""
