"""Segment files, index, pins and quota: where content lies on disk."""
