"""Kinds of synthetic pictures: writing, drawings, patterns, buildings."""
