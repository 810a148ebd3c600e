"""What instructors run: releasing the course and grading submissions.  Students never need it; it knows no physics.

The boundary of trust.  A submission is bytes from a stranger. Three kinds of processes touch it:

    grader   reads the file (submissions), gives it the release's form (cells), makes it harmless to look at (clean),
             and enters points (plugins, course). It runs no line of it, and reads no byte that its code writes.
    student  runs it: a forked session under bubblewrap, without network, rights or anything to find (sandbox,
             box.server, box.walls, box.calls, box.student), with helpers from which this exercise's answers have
             been cut (masks). Nothing it says is believed.
    judge    runs the release's check on what the student's functions return: another session under bubblewrap, which
             holds helpers whole, no gradebook and no file of the course (box.judge). Between the two only plain
             values cross, over one socket, in bounded frames, one reply for one question (box.frames,
             helpers.checks.boundary).

To review the promise "no submission earns what it did not solve, and none touches anything" read these modules and no
others: submissions, cells, clean, masks, evaluate, work, plugins, sandbox and box/, about 1,800 lines.
"""
