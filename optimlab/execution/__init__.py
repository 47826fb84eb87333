"""Running: stacks of runs on worker processes; the sweep, its plan, its verification."""
