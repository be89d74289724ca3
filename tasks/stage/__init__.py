"""What every stage shares: the task that wraps it, its logs, metrics and progress, and how it handles memory."""
