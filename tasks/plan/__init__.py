"""What a run needs, known before anything is written: its facts, the plan that follows, and what a stage declares."""

from tasks.plan.plan import Plan
from tasks.plan.stage import Stage

__all__ = ["Plan", "Stage"]
