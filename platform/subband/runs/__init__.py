"""What every job shares: exit codes and signals, flags, base settings, folders, the progress bar."""
