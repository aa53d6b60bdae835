"""What all of this process shares: forks, its end, the number of threads, and messages."""
