"""Large networks on a GPU that teach a small one: how far letters can be read at all, and what a student keeps of it.

    python -m benchmarks.teachers.data --output DATA.npz --strokes FILE      the letters as arrays, split (here)
    python -m benchmarks.teachers.run DATA.npz OUT --seconds 570             teachers and students (there: a GPU)
    python -m benchmarks.teachers.report DATA.npz OUT                        how they compare
    python -m benchmarks.teachers.ship OUT/NAME.npz DIR                      a student as an artefact (here)

`run` and what it uses know NumPy and PyTorch alone, so that a machine without anything else of this project's can run
them; PyTorch is not among the requirements. docs/model.md has what came of it.
"""
