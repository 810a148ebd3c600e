"""What instructors run: releasing the course and grading submissions.  Students never need it; it knows no physics."""
