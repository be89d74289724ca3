"""What a run needs, known before anything is written: its facts, the plan that follows, and what a stage declares."""
