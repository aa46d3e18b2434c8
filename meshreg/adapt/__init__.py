"""Adapting a lifter to other people and cameras of which only 2D poses are known (PoseDA)."""
