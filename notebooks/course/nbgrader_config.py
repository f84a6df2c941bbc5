"""Settings of the course for nbgrader; see README.md in this folder."""

c = get_config()

c.CourseDirectory.course_id = "unlearning"
# Seconds for one cell of a submission. Ours take less than five; student machines may be slow.
c.Execute.timeout = 120
