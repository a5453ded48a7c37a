"""What a function takes: its parameters, and how arguments are written down and read back."""
