"""A tiny course without physics, and the submissions that try to fool, break or stop its grader."""
