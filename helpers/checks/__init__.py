"""One module per chapter, one check per exercise: laws with fresh random inputs, for student and grader alike.

`boundary` carries plain values between a check and the student's functions, wherever these run; `laws` turns what comes
back into points and sentences.
"""
