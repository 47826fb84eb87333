"""Slow, obvious re-statements of what optimlab computes, in another form, to compare it with."""
